"""Whatever the decoder lets through, the rules have an answer to: causes or none, never an exception."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api import scheme
from hypernetes.apiserver import schema
from hypernetes.apiserver.registry import metadata
from hypernetes.apiserver.schema import Type, scalars
from tests.unit.apiserver.registry.changes import NOW, Object, strategy_of

_PODS_AND_WORKLOADS = (
    "Pod", "PodTemplate", "ReplicationController", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet",
    "ControllerRevision", "Job", "CronJob",
)  # fmt: skip
KINDS = [
    (resource.api_version, resource.kind)
    for resource in scheme.served()
    if {"create", "get"} <= set(resource.verbs) and resource.stored is resource
]
# Words that mean something somewhere, and words that look like them.
STRINGS = (
    "", "a", "b", "A_b", "x/y", "/x", "..", "../x", "1", "-1", "10.0.0.1", "::1", "x" * 300, " ", "a b", "é", "\0", "*",
    "Always", "Never", "OnFailure", "In", "NotIn", "Exists", "Equal", "Gt", "Localhost", "None", "True", "linux",
    "windows", "Guaranteed", "RollingUpdate", "OnDelete", "Recreate", "Indexed", "FailIndex", "cpu", "memory",
    "hugepages-2Mi", "hugepages-", "example.com/gpu", "metadata.labels['a']", "limits.cpu", "TCP", "Bidirectional",
    "ReadWriteOnce", "* * * * *", "TZ=a b", "@every 1s", "Europe/Zurich", "0-3,5", "5-0", "50%", "900%", "x%",
    "iqn.2001-04.com.example:x", "eui.x", "A\\b", "http", "2026-01-01T00:00:00Z", "kubernetes.io/config.mirror",
    "controller.kubernetes.io/pod-deletion-cost",
    "IPv4", "IPv6", "FQDN", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "10.0.0.0/8", "10.0.0.1/8",
    "fd00::/8", "127.0.0.1", "ServiceAccount", "User", "Role", "ClusterRole", "Resource", "Pods", "Object", "External",
    "Utilization", "AverageValue", "Max", "BestEffort", "Terminating", "PriorityClass", "requests.cpu", "pods",
    "count/x", "system-node-critical", "Block", "Ingress", "Prefix", "*.a.b", "a.example.com", "Retain",
    "container.apparmor.security.beta.kubernetes.io/a",
)  # fmt: skip
NUMBERS = (-(2**31), -1, 0, 1, 2, 5, 80, 100, 65535, 70000, 2**31 - 1)
AMOUNTS = ("0", "1", "-1", "100m", "1Gi", "1e400", "3Mi", "-5Gi", "1n")
TIMES = ("2026-01-01T00:00:00Z", "2020-01-01T00:00:00Z")
MICRO_TIMES = ("2026-01-01T00:00:00.000001Z", "2020-01-01T00:00:00.999999Z")
BYTES = ("", "YQ==", "LS0tLS1CRUdJTg==")


def anything(kind: Type, chance: random.Random, depth: int) -> Any:
    """A value of a type; the deeper, the fewer of its fields."""
    if kind.kind == "object":
        share = 0.5 if depth < 3 else 0.35 if depth < 7 else 0.1
        return {
            name: anything(field, chance, depth + 1) for name, field in kind.fields.items() if chance.random() < share
        }
    if kind.kind in ("list", "map") and kind.item is not None:
        size = chance.choice((0, 1, 1, 2, 3)) if depth < 9 else 0
        values = [anything(kind.item, chance, depth + 1) for _ in range(size)]
        return values if kind.kind == "list" else {chance.choice(STRINGS): value for value in values}
    if kind.kind == "string":
        return chance.choice(BYTES if kind.decode is scalars.base64_bytes else STRINGS)
    if kind.decode is scalars.micro_timestamp:
        return chance.choice(MICRO_TIMES)
    if kind.kind == "any":
        return {"a": 1}
    if kind.kind == "boolean":
        return chance.random() < 0.5
    return chance.choice(
        {"quantity": AMOUNTS, "time": TIMES, "int-or-string": (*NUMBERS, *STRINGS)}.get(kind.kind, NUMBERS)
    )


def made(api_version: str, name: str, seed: int) -> Object:
    kind = schema.for_kind(api_version, name)
    drawn = anything(kind.root, random.Random(seed), 0)
    drawn |= {"apiVersion": api_version, "kind": name}
    drawn["metadata"] = {
        "name": "a",
        "namespace": "b",
        **{k: v for k, v in drawn.get("metadata", {}).items() if k in ("labels", "annotations")},
    }
    decoded, _ = kind.decode(drawn, "Ignore")
    metadata.fill_new(decoded["metadata"], NOW, generation=True)
    kind.default(decoded)
    return decoded


@pytest.mark.parametrize(("api_version", "name"), KINDS)
@settings(max_examples=150, deadline=None)
@given(seeds=st.tuples(st.integers(0, 2**32), st.integers(0, 2**32)))
def test_the_rules_have_an_answer(api_version: str, name: str, seeds: tuple[int, int]) -> None:
    new, old = (made(api_version, name, seed) for seed in seeds)
    strategy = strategy_of(new)
    strategy.prepare_create(old)
    for subresource in ("", "status", "ephemeralcontainers", "resize"):
        rules = strategy_of(new, subresource)
        changed = made(api_version, name, seeds[0])
        if subresource == "status":
            rules.prepare_status(changed, old)
            causes = rules.validate_status(changed, old)
        else:
            rules.prepare_update(changed, old)
            causes = rules.validate(changed) + rules.validate_update(changed, old)
        assert all(each["field"] is not None and each["reason"] and each["message"] for each in causes)
    strategy.prepare_create(new)
    strategy.asked_by(new, {"username": "anna"})
    causes = strategy.validate_create(new) + strategy.validate(new)
    schema.for_kind(api_version, name).validate(new, causes)
    assert all(isinstance(each, str) for each in strategy.warnings(new, None) + strategy.warnings(new, old))


@pytest.mark.parametrize(("api_version", "name"), [kind for kind in KINDS if kind[1] in _PODS_AND_WORKLOADS])
def test_what_is_drawn_reaches_deep(api_version: str, name: str) -> None:
    """Else the test above would be of no use."""
    fields = {
        each["field"]
        for seed in range(40)
        for each in strategy_of({"apiVersion": api_version, "kind": name}).validate(made(api_version, name, seed))
    }
    assert len(fields) >= (2 if name == "ControllerRevision" else 40)
