"""What a decision costs: RBAC in a tenant with many bindings, the agent of a full node, and a token whose key is known.

    python -m benchmarks.authorization [--json FILE]

No server is started: a decision is a function of the mirror, and these are the functions that every request calls. The
times are of the processor, so that what else the machine does counts little.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import orjson
from joserfc.jwk import ECKey

from benchmarks.report import Figure, report
from hypernetes.api import scheme, times
from hypernetes.apiserver.authn import Authenticator, User
from hypernetes.apiserver.authn.serviceaccounts import API_AUDIENCE, BoundObject, ServiceAccountToken, sign
from hypernetes.apiserver.authn.tokenkeys import Ring, TokenKey
from hypernetes.apiserver.authz import Attributes, Authorizer, NodeGraph, Rbac, defaultroles
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Item

BINDINGS, NAMESPACES, PODS_OF_NODE = 1000, 50, 110
_ROUNDS = 20_000
_KEYS = Keys("bench")
_RBAC = defaultroles.API_VERSION
_TENANT, _TENANT_UID = "acme", "uid"


def items() -> list[Item]:
    """A tenant with roles and bindings, each subject bound in each namespace; and a node full of its pods."""
    found = [_item(_RBAC, resource, "system", obj) for resource, obj in defaultroles.objects()]
    for number in range(BINDINGS):
        namespace = f"ns{number % NAMESPACES}"
        rules = [{"verbs": ["get", "list", "watch"], "apiGroups": ["apps"], "resources": [f"kind{number}", "pods"]}]
        metadata = {"name": f"r{number}", "namespace": namespace}
        found.append(_item(_RBAC, "roles", _TENANT, {"metadata": metadata, "rules": rules}))
        binding = {
            "metadata": metadata, "roleRef": {"kind": "Role", "name": f"r{number}"},
            "subjects": [{"kind": "User", "name": f"user{number % 200}"}, {"kind": "Group", "name": "dev"}],
        }  # fmt: skip
        found.append(_item(_RBAC, "rolebindings", _TENANT, binding))
    for number in range(PODS_OF_NODE):
        spec = {"nodeName": "n1", "containers": [], "volumes": [{"name": "v", "secret": {"secretName": f"s{number}"}}]}
        pod = {"metadata": {"name": f"p{number}", "namespace": "ns0"}, "spec": spec}
        found.append(_item("v1", "pods", _TENANT, pod))
    return found


def _item(api_version: str, resource: str, tenant: str, obj: dict[str, Any]) -> Item:
    metadata = obj["metadata"]
    key = _KEYS.of(scheme.by_name(api_version, resource), tenant, metadata.get("namespace", ""), metadata["name"])
    return Item(key, orjson.dumps(obj), 1)


def measure_decisions() -> list[Figure]:
    mirror = Mirror(_KEYS)
    mirror.load(items(), 1)
    authorizer = Authorizer(Rbac(mirror), NodeGraph(mirror))
    user = User("user7", ("dev", "ops", "system:authenticated"), _TENANT, _TENANT_UID)
    node = User("system:node:n1", ("system:nodes", "system:authenticated"), "system", "uid", component=True)

    def ask(verb: str, name: str) -> Attributes:
        return Attributes(_TENANT, verb, "apps", "kind7", namespace="ns7", name=name)

    def decide(who: User, asked: Attributes, allowed: bool) -> None:
        assert authorizer.authorize(who, asked).allowed is allowed

    def secret(number: int) -> None:
        name = f"s{number % PODS_OF_NODE}"
        decide(node, Attributes(_TENANT, "get", "", "secrets", namespace="ns0", name=name), True)

    decide(user, ask("get", "x"), True)
    same = ask("get", "same")
    measured: list[tuple[str, Callable[[int], None], float | None]] = [
        ("RBAC decision, asked before", lambda n: decide(user, same, True), 10),
        ("RBAC decision, allowed", lambda n: decide(user, ask("get", f"n{n}"), True), 20),
        ("RBAC decision, refused", lambda n: decide(user, ask("delete", f"n{n}"), False), 20),
        ("a secret of a full node's agent", secret, None),
    ]
    return [Figure(name, _microseconds(once), "µs", goal, lower_is_better=True) for name, once, goal in measured]


class _Living:
    """Everything that a token is bound to lives."""

    def tenant_uid(self, tenant: str) -> str | None:
        return _TENANT_UID

    def service_account_uid(self, tenant: str, namespace: str, name: str) -> str | None:
        return "account"


class _Keys:
    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256")

    async def ring(self, tenant: str, tenant_uid: str) -> Ring:
        return Ring((TokenKey(self.key, None),), 1)


async def measure_tokens() -> list[Figure]:
    keys: Any = _Keys()
    living: Any = _Living()
    authenticator = Authenticator("bench", living, keys)
    now = times.now()
    token = ServiceAccountToken(
        _TENANT, _TENANT_UID, "web", BoundObject("robot", "account"), None, (API_AUDIENCE,), now,
        now + timedelta(hours=1), "id",
    )  # fmt: skip
    header = f"Bearer {sign(token, keys.key)}"
    started = time.process_time()
    for _ in range(_ROUNDS):
        await authenticator.authenticate(None, header)
    return [Figure("tokens checked from the cache", _ROUNDS / (time.process_time() - started), "tokens/s", 5000)]


def _microseconds(once: Callable[[int], None]) -> float:
    started = time.process_time()
    for number in range(_ROUNDS):
        once(number)
    return (time.process_time() - started) / _ROUNDS * 1e6


@click.command(help=__doc__)
@click.option("--json", "path", type=click.Path(path_type=Path), default=None)
def main(path: Path | None) -> None:
    report([*measure_decisions(), *asyncio.run(measure_tokens())], path)


if __name__ == "__main__":
    main()
