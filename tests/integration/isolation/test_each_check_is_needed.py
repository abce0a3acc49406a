"""The suite sees each check: without it, what the suite asserts no longer holds.

Where two checks cover for each other (a token's tenant is compared by UID and signed with that tenant's key) one alone
can be missed: those pairs are in docs/security.md.
"""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import app, dialer, discovery, keys, lookups, mirror, sharing, signing, watchers
from hypernetes.apiserver.admission.request import Seen
from hypernetes.apiserver.aggregation import registered
from hypernetes.apiserver.authn import Authenticator, impersonation, localusers, serviceaccounts, x509
from hypernetes.apiserver.authz import authorizer, nodegraph, rbac
from hypernetes.apiserver.authz import nodes as authz_nodes
from hypernetes.apiserver.handlers import claims, reading, usage
from hypernetes.apiserver.registry import nodes
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.nodeagent import agent
from hypernetes.nodeagent import server as agent_server
from tests.integration.api import test_authorization_attacks, test_isolation
from tests.integration.api.servers import User, serving
from tests.integration.isolation import agents, attacks, comparing, speaking
from tests.integration.isolation.canaries import Leak
from tests.integration.isolation.twins import Twins, twins
from tests.integration.isolation.worlds import World, world

Patch = pytest.MonkeyPatch


def _no_border(patch: Patch) -> None:
    inside = authorizer.Authorizer._in_tenant
    patch.setattr(
        authorizer.Authorizer,
        "_in_tenant",
        lambda self, user, asked: inside(self, user, asked._replace(tenant=user.tenant)),
    )


def _nothing_is_the_providers(patch: Patch) -> None:
    patch.setattr(authorizer, "may_ever", lambda *_: True)


def _shared_objects_are_anybodys(patch: Patch) -> None:
    patch.setattr(authorizer, "_is_shared", lambda _: False)
    patch.setattr(sharing, "check_own", lambda *_: None)


def _every_path_is_discovery(patch: Patch) -> None:
    patch.setattr(authorizer, "_is_discovery", lambda _: True)


def _a_request_is_about_all_tenants(patch: Patch) -> None:
    patch.setattr(app, "_tenant", lambda *_: None)


def _ranges_span_tenants(patch: Patch) -> None:
    of_all = keys.Keys.range

    def of_one(self: keys.Keys, resource: Any, tenant: str, namespace: str, name: str) -> str:
        return f"{of_all(self, resource, tenant, namespace or '-')}{name}"

    patch.setattr(keys.Keys, "range", lambda self, resource, tenant=None, namespace=None: of_all(self, resource))
    patch.setattr(keys.Keys, "of", of_one)


def _objects_are_found_in_any_tenant(patch: Patch) -> None:
    own = mirror.Mirror.object

    def found(self: mirror.Mirror, resource: Any, tenant: str, namespace: str, name: str) -> Any:
        return own(self, resource, tenant, namespace, name) or own(self, resource, "globex", namespace, name)

    patch.setattr(mirror.Mirror, "object", found)


def _labels_are_found_in_any_tenant(patch: Patch) -> None:
    def labelled(self: mirror.Mirror, prefix: str, start: str, having: Any) -> Any:
        resource = "/".join(prefix.split("/")[:5]) + "/"
        every = (self._entries[key] for key in self._entries.irange(resource, keys.range_end(resource)))
        return (entry for entry in every if entry.name is not None and entry.labels.get(having.key) in having.values)

    patch.setattr(mirror.Mirror, "_labelled", labelled)


def _a_watch_hears_all_tenants(patch: Patch) -> None:
    """Of what happens from now on."""

    def bucket(self: watchers.Scope) -> watchers.Bucket:
        return (self.group, self.resource, "*")

    patch.setattr(watchers.Scope, "bucket", property(bucket))


def _a_watch_is_told_all_tenants_past(patch: Patch) -> None:
    """Of what the log has, when a watch is resumed."""
    own = watchers.Scope.holds
    patch.setattr(watchers.Scope, "holds", lambda self, event: own(replace(self, tenant=None), event))


def _all_of_system_is_shared(patch: Patch) -> None:
    patch.setattr(sharing, "is_shared", lambda key: key.tenant == SYSTEM_TENANT)


def _any_continue_token_is_good(patch: Patch) -> None:
    own = reading.Continue.decode.__func__  # type: ignore[attr-defined]

    def decode(cls: type[reading.Continue], token: str, tenant_uid: str) -> reading.Continue:
        uid = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))[2]
        found: reading.Continue = own(cls, token, uid)
        return found

    patch.setattr(reading.Continue, "decode", classmethod(decode))


def _nodes_are_shown_whole(patch: Patch) -> None:
    patch.setattr(nodes, "project", lambda node: node)


def _a_pod_names_secrets_of_any_tenant(patch: Patch) -> None:
    def named(self: nodegraph.NodeGraph, node: str, tenant: str, namespace: str) -> Any:
        return (pod.references for key, pod in self._of(node).items() if key.namespace == namespace)

    patch.setattr(nodegraph.NodeGraph, "_references", named)


def _a_node_has_all_tenants(patch: Patch) -> None:
    patch.setattr(nodegraph.NodeGraph, "has_tenant", lambda *_: True)


def _a_node_has_pods_of_any_tenant(patch: Patch) -> None:
    def found(self: nodegraph.NodeGraph, node: str, tenant: str, namespace: str, name: str) -> Any:
        return next(
            (pod.entry for key, pod in self._of(node).items() if (key.namespace, key.name) == (namespace, name)), None
        )

    patch.setattr(nodegraph.NodeGraph, "pod", found)


def _admission_finds_objects_of_any_tenant(patch: Patch) -> None:
    own = Seen.entry

    def entry(self: Seen, resource: Any, namespace: str, name: str) -> Any:
        return own(self, resource, namespace, name) or own(Seen(self._mirror, "globex"), resource, namespace, name)

    patch.setattr(Seen, "entry", entry)


def _all_is_discovered(patch: Patch) -> None:
    everything = discovery.for_tenant
    patch.setattr(discovery, "for_tenant", lambda _: everything(SYSTEM_TENANT))


def _tokens_of_all_are_reviewed(patch: Patch) -> None:
    own = Authenticator.review

    async def review(self: Authenticator, token: str, tenant: str, audiences: Any) -> Any:
        return await own(self, token, serviceaccounts.claimed_tenant(token) or tenant, audiences)

    patch.setattr(Authenticator, "review", review)


def _impersonation_leaves_the_tenant(patch: Patch) -> None:
    own = impersonation.Impersonation.of
    patch.setattr(impersonation.Impersonation, "of", lambda self, user: replace(own(self, user), tenant=SYSTEM_TENANT))


def _claims_are_of_all_tenants(patch: Patch) -> None:
    own, of = claims.address_claim, claims.ADDRESSES
    patch.setattr(claims, "address_claim", lambda keys, tenant, *rest: own(keys, "all", *rest))
    patch.setattr(claims, "_address_key", lambda call, address: call.parts.keys.of(of, "all", "", address))


def _counts_are_of_all_tenants(patch: Patch) -> None:
    patch.setattr(mirror.Mirror, "_count", lambda self, prefix, start, undone: len(self._entries))


def _a_certificate_outlives_its_tenant(patch: Patch) -> None:
    own = x509.user_of

    def user_of(identity: Any, cluster_id: str, tenant_uid: str | None, now: Any) -> Any:
        return own(identity, cluster_id, identity.san.tenant_uid if tenant_uid else None, now)

    patch.setattr(x509, "user_of", user_of)


def _history_outlives_its_tenant(patch: Patch) -> None:
    patch.setattr(lookups.Lookups, "tenant_existed", lambda *_: True)


def _roles_of_any_tenant_count(patch: Patch) -> None:
    own = rbac.Rbac.of
    patch.setattr(rbac.Rbac, "of", lambda self, tenant: own(self, "globex" if tenant == "acme" else tenant))


def _users_are_of_all_tenants(patch: Patch) -> None:
    own, found = localusers.LocalUsers.key, mirror.Mirror.object
    patch.setattr(localusers.LocalUsers, "key", lambda self, tenant, name: own(self, "globex", name))
    patch.setattr(
        mirror.Mirror, "object",
        lambda self, resource, tenant, *rest: found(
            self, resource, "globex" if resource.name == "users" else tenant, *rest
        ),
    )  # fmt: skip


def _accounts_are_of_all_tenants(patch: Patch) -> None:
    own = lookups.Lookups.service_account_uid
    patch.setattr(
        lookups.Lookups, "service_account_uid",
        lambda self, tenant, *name: own(self, tenant, *name) or own(self, "globex", *name),
    )  # fmt: skip


def _a_node_keeps_what_any_tenant_has_there(patch: Patch) -> None:
    """Ports, volumes and attachments are taken for those of their names in the node's own tenant."""
    own = nodegraph.NodeGraph._node_name
    patch.setattr(
        nodegraph.NodeGraph, "_node_name", lambda self, resource, tenant, name: own(self, resource, "acme", name)
    )


def _a_pods_volumes_are_those_of_any_tenant(patch: Patch) -> None:
    own = nodegraph.NodeGraph.names_volume
    patch.setattr(nodegraph.NodeGraph, "names_volume", lambda self, node, tenant, name: own(self, node, "acme", name))


def _a_pods_namespace_is_that_of_any_tenant(patch: Patch) -> None:
    def has(self: nodegraph.NodeGraph, node: str, tenant: str, namespace: str) -> bool:
        return any(key.namespace == namespace for key in self._of(node))

    patch.setattr(nodegraph.NodeGraph, "has_namespace", has)


def _a_node_lists_all_of_all_tenants(patch: Patch) -> None:
    patch.setattr(authz_nodes, "_selects", lambda *_: True)


def _streams_lead_to_any_tenant(patch: Patch) -> None:
    get, websocket = dialer.Dialer.get, dialer.Dialer.websocket

    def astray(parts: Any, query: Any) -> tuple[list[str], dialer.Query]:
        verb, _, *rest = parts
        return [verb, "globex", *rest], [each for each in query if each[0] != "uid"]

    def asked(self: dialer.Dialer, agent: Any, parts: Any, query: Any, **how: Any) -> Any:
        if len(parts) > 2:
            parts, query = astray(parts, query)
        return get(self, agent, parts, query, **how)

    def opened(self: dialer.Dialer, agent: Any, parts: Any, query: Any, protocol: str) -> Any:
        return websocket(self, agent, *astray(parts, query), protocol)

    patch.setattr(dialer.Dialer, "get", asked)
    patch.setattr(dialer.Dialer, "websocket", opened)


def _an_agent_finds_pods_of_any_tenant(patch: Patch) -> None:
    def worker(self: agent.Agent, key: Any, uid: str | None = None) -> Any:
        named = [each for each in self.workers() if each.record.name == key.name]
        return next((each for each in named if each.record.tenant == "globex"), None)

    patch.setattr(agent.Agent, "worker", worker)


def _an_agent_is_believed_of_all_pods(patch: Patch) -> None:
    def report(pod: Any, reports: Any) -> Any:
        uid = orjson.loads(pod.data)["metadata"]["uid"]
        found = [each.pods[uid] for each in reports.values() if uid in each.pods]
        return max(found, key=lambda each: each.total.nanocores, default=None)

    patch.setattr(usage, "_report", report)


def _what_nodes_use_is_shown_whole(patch: Patch) -> None:
    patch.setattr(usage, "_is_guest", lambda _: False)


def _apis_of_all_tenants_are_extended(patch: Patch) -> None:
    own = registered.Registrations.of
    patch.setattr(registered.Registrations, "of", lambda self, tenant: own(self, "globex"))


def _anybody_may_ask_an_agent(patch: Patch) -> None:
    class Anybody:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = object.__hash__

    patch.setattr(agent_server, "ALLOWED_USER", Anybody())


@dataclass(frozen=True, slots=True)
class Case:
    remove: Callable[[Patch], None]
    notice: Callable[[World], Awaitable[None]]
    says: str = ""  # of the failure; "": it is a leak
    filled: bool = True


_CASES = (
    Case(_no_border, attacks.by_path, "'/tenants/globex', 200"),
    Case(_nothing_is_the_providers, attacks.by_path, "'POST'.*'/api/v1/nodes'.*, 201"),
    Case(_shared_objects_are_anybodys, attacks.at_the_server, "clusterroles/view"),
    Case(_every_path_is_discovery, attacks.at_the_server, "/metrics"),
    Case(_a_request_is_about_all_tenants, attacks.by_list),
    Case(_ranges_span_tenants, attacks.by_list),
    Case(_objects_are_found_in_any_tenant, attacks.by_path),
    Case(_labels_are_found_in_any_tenant, attacks.by_list),
    Case(_a_watch_hears_all_tenants, attacks.by_watch),
    Case(_a_watch_is_told_all_tenants_past, attacks.by_watch),
    Case(_all_of_system_is_shared, attacks.by_list),
    Case(_any_continue_token_is_good, attacks.by_continuing, "ConfigMapList"),
    Case(_nodes_are_shown_whole, attacks.by_list),
    Case(_admission_finds_objects_of_any_tenant, attacks.by_reference, "admission"),
    Case(_all_is_discovered, attacks.at_the_server, "discovery"),
    Case(_a_pod_names_secrets_of_any_tenant, attacks.by_reference),
    Case(_a_node_has_all_tenants, attacks.by_reference),
    Case(_a_node_has_pods_of_any_tenant, attacks.by_reference, "names-it"),
    Case(_tokens_of_all_are_reviewed, attacks.by_reference, "globex's token"),
    Case(_impersonation_leaves_the_tenant, attacks.by_reference),
    Case(_claims_are_of_all_tenants, comparing.comparison, "already allocated", filled=False),
    Case(_accounts_are_of_all_tenants, attacks.by_secret, "a token"),
    Case(_roles_of_any_tenant_count, attacks.by_reference, "role"),
    Case(_users_are_of_all_tenants, attacks.by_reference, "login"),
    Case(_a_node_keeps_what_any_tenant_has_there, agents.by_agent),
    Case(_a_pods_volumes_are_those_of_any_tenant, agents.by_agent),
    Case(_a_pods_namespace_is_that_of_any_tenant, agents.by_agent, "namespaces/default"),
    Case(_a_node_lists_all_of_all_tenants, agents.by_agent),
    Case(_counts_are_of_all_tenants, comparing.comparison, "remainingItemCount", filled=False),
)


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.remove.__name__.strip("_"))
async def test_without_the_check_the_suite_fails(case: Case, tmp_path: Path, monkeypatch: Patch) -> None:
    async with world(tmp_path, filled=case.filled) as found:
        case.remove(monkeypatch)
        with pytest.raises(AssertionError if case.says else Leak, match=f"(?s){case.says}"):
            await case.notice(found)


@dataclass(frozen=True, slots=True)
class SpokenCase:
    """Of what pods say, serve and use."""

    remove: Callable[[Patch], None]
    notice: Callable[[Twins], Awaitable[None]]
    says: str = ""  # as in Case


_SPOKEN_CASES = (
    SpokenCase(_streams_lead_to_any_tenant, speaking.by_log),
    SpokenCase(_streams_lead_to_any_tenant, speaking.by_stream),
    SpokenCase(_streams_lead_to_any_tenant, speaking.by_proxy),
    SpokenCase(_an_agent_finds_pods_of_any_tenant, speaking.by_log),
    SpokenCase(_an_agent_finds_pods_of_any_tenant, speaking.by_stream),
    SpokenCase(_an_agent_finds_pods_of_any_tenant, speaking.by_proxy),
    SpokenCase(_an_agent_is_believed_of_all_pods, speaking.by_usage, "lies"),
    SpokenCase(_what_nodes_use_is_shown_whole, speaking.by_usage, "a node as a whole"),
    SpokenCase(_apis_of_all_tenants_are_extended, speaking.by_extension, "discovery"),
    SpokenCase(_anybody_may_ask_an_agent, speaking.at_the_nodes, "metrics"),
)


@pytest.mark.parametrize(
    "case", _SPOKEN_CASES, ids=lambda case: f"{case.remove.__name__.strip('_')}-{case.notice.__name__}"
)
async def test_without_the_check_the_suite_hears_it(case: SpokenCase, tmp_path: Path, monkeypatch: Patch) -> None:
    async with twins(tmp_path, monkeypatch) as made:
        case.remove(monkeypatch)
        with pytest.raises(AssertionError if case.says else Leak, match=f"(?s){case.says}"):
            await case.notice(made)


@pytest.mark.parametrize("case", [_CASES[0], _CASES[8]], ids=lambda case: case.remove.__name__.strip("_"))
async def test_without_the_check_the_suite_fails_over_http2(case: Case, tmp_path: Path, monkeypatch: Patch) -> None:
    async with world(tmp_path, over_http2=True) as found:
        case.remove(monkeypatch)
        with pytest.raises(AssertionError if case.says else Leak, match=f"(?s){case.says}"):
            await case.notice(found)


@pytest.mark.parametrize("remove", [_a_certificate_outlives_its_tenant, _history_outlives_its_tenant])
async def test_without_the_check_a_tenant_made_again_is_its_predecessor(
    remove: Callable[[Patch], None], tmp_path: Path, monkeypatch: Patch
) -> None:
    store = await open_store(str(tmp_path / "state.db"))
    async with serving(store, tmp_path, "again") as provider:
        remove(monkeypatch)
        with pytest.raises(AssertionError, match="200 =="):
            await test_isolation.test_a_tenant_made_again_takes_no_old_credential_and_shows_no_old_revision(
                provider, tmp_path
            )
    await store.close()


def _requests_are_signed_for_another_tenant(patch: Patch) -> None:
    own = signing.TenantSAN
    uids = lookups.Lookups.tenant_uid
    seen: list[lookups.Lookups] = []

    def tenant_uid(self: lookups.Lookups, tenant: str) -> str | None:
        seen[:] = [self]
        return uids(self, tenant)

    patch.setattr(lookups.Lookups, "tenant_uid", tenant_uid)
    patch.setattr(
        signing, "TenantSAN", lambda cluster, tenant, uid: own(cluster, "globex", uids(seen[0], "globex") or "")
    )


def _users_of_reviews_are_of_another_tenant(patch: Patch) -> None:
    own = rbac.Rbac.of
    patch.setattr(rbac.Rbac, "of", lambda self, tenant: own(self, "globex" if tenant == "acme" else tenant))


@pytest.mark.parametrize(
    ("remove", "attack", "says"),
    [
        (
            _requests_are_signed_for_another_tenant,
            test_authorization_attacks.test_a_certificate_request_makes_a_user_of_the_own_tenant_and_nothing_more,
            "200",
        ),
        (
            _users_of_reviews_are_of_another_tenant,
            test_authorization_attacks.test_a_review_tells_nothing_of_another_tenant,
            "True is False",
        ),
    ],
    ids=["requests_are_signed_for_another_tenant", "users_of_reviews_are_of_another_tenant"],
)
async def test_without_the_check_the_attack_succeeds(
    remove: Callable[[Patch], None], attack: Callable[[User], Awaitable[None]], says: str, tmp_path: Path,
    monkeypatch: Patch,
) -> None:  # fmt: skip
    store = await open_store(str(tmp_path / "state.db"))
    async with serving(store, tmp_path, "attacks") as provider:
        remove(monkeypatch)
        with pytest.raises(AssertionError, match=f"(?s){says}"):
            await attack(provider)
    await store.close()
