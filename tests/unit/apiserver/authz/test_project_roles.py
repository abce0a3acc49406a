"""What a role in a Keystone project gives in its tenant: by the default bindings, without a policy of the tenant's."""

import pytest

from hypernetes.api import scheme
from hypernetes.apiserver.authz.components import TENANT_NEVER
from hypernetes.apiserver.authz.rules import any_matches
from tests.unit.apiserver.authz.policies import Cluster, ask, role, rule, user

ADMIN, READER = user("a", "keystone:role:admin"), user("r", "keystone:role:reader")
MEMBERS = [user("m", f"keystone:role:{name}") for name in ("member", "_member_", "manager")]
NETWORKS = {"group": "hypernetes.io"}
ROLES = {"group": "rbac.authorization.k8s.io"}


def test_an_admin_administers_the_tenant_and_no_other() -> None:
    cluster = Cluster()
    assert cluster.allows(ADMIN, ask("acme", "create", "clusterroles", **ROLES))
    assert cluster.allows(ADMIN, ask("acme", "delete", "namespaces", name="x"))
    assert not cluster.allows(ADMIN, ask("globex", "get", "pods", namespace="x"))
    assert not cluster.allows(ADMIN, ask("acme", "create", "nodes"))


@pytest.mark.parametrize("member", MEMBERS, ids=lambda each: each.groups[0])
def test_a_member_may_everything_in_namespaces_and_make_them_and_networks(member: object) -> None:
    cluster = Cluster()
    for each in scheme.served():
        if not each.namespaced:
            continue
        for verb in each.verbs:
            asked = ask("acme", verb, each.name, group=each.group, namespace="x", name="n")
            assert cluster.allows(member, asked) is not any_matches(TENANT_NEVER, asked), asked
    assert cluster.allows(member, ask("acme", "create", "pods/exec", namespace="x", name="p"))
    assert cluster.allows(member, ask("acme", "create", "namespaces"))
    assert cluster.allows(member, ask("acme", "create", "networks", **NETWORKS))
    assert cluster.allows(member, ask("acme", "list", "nodes"))
    for asked in (
        ask("acme", "create", "clusterroles", **ROLES), ask("acme", "bind", "clusterroles", **ROLES),
        ask("acme", "escalate", "roles", namespace="x", **ROLES), ask("acme", "impersonate", "users", name="u"),
        ask("acme", "create", "persistentvolumes"), ask("globex", "get", "pods", namespace="x"),
        ask("acme", "get", "tenants", group="hypernetes.io", name="acme"),
    ):  # fmt: skip
        assert not cluster.allows(member, asked), asked


def test_a_reader_sees_everything_but_secrets_and_changes_nothing() -> None:
    cluster = Cluster()
    for what in ("pods", "pods/log", "configmaps", "namespaces", "nodes", "services", "persistentvolumes"):
        assert cluster.allows(READER, ask("acme", "get", what, namespace="x", name="n")), what
    assert cluster.allows(READER, ask("acme", "watch", "networks", **NETWORKS))
    for asked in (
        ask("acme", "get", "secrets", namespace="x", name="s"), ask("acme", "create", "pods", namespace="x"),
        ask("acme", "create", "pods/exec", namespace="x", name="p"), ask("acme", "list", "roles", **ROLES),
    ):  # fmt: skip
        assert not cluster.allows(READER, asked), asked


def test_what_a_tenant_adds_to_admin_or_view_its_members_and_readers_get() -> None:
    cluster = Cluster()
    backups = ask("acme", "get", "backups", group="example.com", namespace="x", name="b")
    part = role("backups", rule("get", "backups", "example.com"))
    part["metadata"]["labels"] = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    cluster.put("acme", part)
    assert cluster.allows(READER, backups)
    assert all(cluster.allows(each, backups) for each in MEMBERS)


def test_roles_of_other_names_give_nothing() -> None:
    cluster = Cluster()
    for group in ("keystone:role:Admin", "keystone:role:heat_stack_owner", "keystone:system-role:reader"):
        assert not cluster.allows(user("o", group), ask("acme", "get", "pods", namespace="x"))
