"""Roles and bindings of a tenant, as they are written and changed."""

import pytest

from hypernetes.apiserver.authz import Attributes, defaultroles
from hypernetes.apiserver.authz.policyrules import RuleSet
from tests.unit.apiserver.authz.policies import Cluster, ask, binding, named, role, rule, user

JANE = user("jane", "dev")
GET_PODS = role("reader", rule("get list", "pods"), namespace="web")


def test_who_is_bound_to_nothing_may_ask_about_themselves_and_look_around() -> None:
    cluster = Cluster()
    assert cluster.allows(JANE, ask("acme", "create", "selfsubjectaccessreviews", group="authorization.k8s.io"))
    assert cluster.allows(JANE, ask("acme", "get", "/apis/apps/v1"))
    for asked in (
        ask("acme", "list", "pods", namespace="web"), ask("acme", "get", "/metrics"), ask("acme", "post", "/api"),
        ask("acme", "create", "subjectaccessreviews", group="authorization.k8s.io"),
    ):  # fmt: skip
        assert not cluster.allows(JANE, asked), asked


def test_a_role_counts_in_its_namespace_from_its_binding_until_that_goes() -> None:
    cluster = Cluster()
    bound = binding("b", "reader", named("jane"), namespace="web")
    web, other = ask("acme", "get", "pods", namespace="web", name="p"), ask("acme", "get", "pods", namespace="x")
    cluster.put("acme", GET_PODS)
    assert not cluster.allows(JANE, web)
    cluster.put("acme", bound)
    assert cluster.allows(JANE, web)
    assert not cluster.allows(JANE, other)
    assert not cluster.allows(user("john"), web)
    assert not cluster.allows(JANE, ask("acme", "delete", "pods", namespace="web", name="p"))
    cluster.put("acme", role("reader", rule("get", "secrets"), namespace="web"))
    assert not cluster.allows(JANE, web)
    cluster.put("acme", GET_PODS)
    assert cluster.allows(JANE, web)
    cluster.remove("acme", bound)
    assert not cluster.allows(JANE, web)


def test_a_binding_of_one_tenant_means_nothing_in_another() -> None:
    cluster = Cluster()
    cluster.put("acme", binding("b", "cluster-admin", named("jane")))
    assert cluster.allows(JANE, ask("acme", "list", "secrets"))
    assert not cluster.allows(JANE, ask("globex", "list", "secrets"))
    assert not cluster.allows(user("jane", tenant="globex"), ask("globex", "list", "secrets"))
    cluster.put("system", binding("everybody", "cluster-admin", named("jane")))
    assert not cluster.allows(user("jane", tenant="globex"), ask("globex", "list", "secrets"))


def test_what_is_the_providers_no_wildcard_reaches() -> None:
    cluster = Cluster()
    cluster.put("acme", binding("b", "cluster-admin", named("jane")))
    for asked in (
        ask("acme", "create", "nodes"), ask("acme", "patch", "pods/status", namespace="web", name="p"),
        ask("acme", "create", "pods/binding", namespace="web", name="p"), ask("acme", "get", "/metrics"),
        ask("acme", "list", "tenants", group="hypernetes.io"), ask("acme", "delete", "ports", group="hypernetes.io"),
    ):  # fmt: skip
        assert not cluster.allows(JANE, asked), asked


def test_groups_and_service_accounts_are_subjects_too() -> None:
    cluster = Cluster()
    account = user("system:serviceaccount:ci:robot", "system:serviceaccounts", "system:serviceaccounts:ci")
    asked = ask("acme", "get", "pods", namespace="web")
    cluster.put("acme", GET_PODS, binding("g", "reader", named("dev", "Group"), namespace="web"))
    assert cluster.allows(JANE, asked)
    assert not cluster.allows(account, asked)
    cluster.put("acme", binding("sa", "reader", named("robot", "ServiceAccount", "ci"), namespace="web"))
    assert cluster.allows(account, asked)
    assert not cluster.allows(user("system:serviceaccount:web:robot"), asked)
    assert not cluster.allows(user("dev"), asked)  # the group's name is no user's


def test_the_default_roles_are_every_tenants() -> None:
    cluster = Cluster()
    cluster.put("acme", binding("b", "edit", named("jane"), namespace="web", cluster_role=True))
    assert cluster.allows(JANE, ask("acme", "create", "deployments", group="apps", namespace="web"))
    assert cluster.allows(JANE, ask("acme", "get", "pods/log", namespace="web", name="p"))
    assert cluster.allows(JANE, ask("acme", "get", "namespaces", namespace="web", name="web"))
    assert not cluster.allows(JANE, ask("acme", "create", "roles", group="rbac.authorization.k8s.io", namespace="web"))
    assert not cluster.allows(JANE, ask("acme", "list", "namespaces"))


def test_nobody_of_a_tenant_changes_a_shared_object() -> None:
    cluster = Cluster()
    master = user("root", "system:masters")
    group = "rbac.authorization.k8s.io"
    for verb in ("update", "patch", "delete"):
        assert not cluster.allows(master, ask("acme", verb, "clusterroles", group=group, name="view"))
        assert cluster.allows(master, ask("acme", verb, "clusterroles", group=group, name="own"))
    assert cluster.allows(master, ask("acme", "get", "clusterroles", group=group, name="view"))


def test_a_tenants_own_roles_aggregate_into_the_shared_ones_in_that_tenant_alone() -> None:
    cluster = Cluster()
    wanted = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    widgets = role("widgets", rule("get", "widgets", "example.com"), **wanted)
    asked = ask("acme", "get", "widgets", group="example.com", namespace="web")
    for tenant in ("acme", "globex"):
        cluster.put(tenant, binding("v", "view", named("jane"), namespace="web", cluster_role=True))
        cluster.put(tenant, binding("a", "admin", named("ann"), namespace="web", cluster_role=True))
    assert not cluster.allows(JANE, asked)
    cluster.put("acme", widgets)
    assert cluster.allows(JANE, asked)
    assert cluster.allows(user("ann"), asked)  # admin has what edit has, edit what view has
    elsewhere = ask("globex", "get", "widgets", group="example.com", namespace="web")
    assert not cluster.allows(user("jane", tenant="globex"), elsewhere)
    cluster.remove("acme", widgets)
    assert not cluster.allows(JANE, asked)


def test_a_change_of_a_shared_role_reaches_every_tenant() -> None:
    cluster = Cluster()
    asked = ask("acme", "get", "secrets", namespace="web")
    cluster.put("acme", binding("b", "system:heapster", named("jane")))
    assert not cluster.allows(JANE, asked)
    cluster.put("system", role("system:heapster", rule("get", "secrets")))
    assert cluster.allows(JANE, asked)


def test_a_binding_to_a_role_that_is_not_there_gives_nothing_until_it_is() -> None:
    cluster = Cluster()
    cluster.put("acme", binding("b", "later", named("jane")))
    assert not cluster.allows(JANE, ask("acme", "get", "pods"))
    cluster.put("acme", role("later", rule("get", "pods")))
    assert cluster.allows(JANE, ask("acme", "get", "pods"))


def test_a_decision_looks_at_no_more_with_a_thousand_bindings_than_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Attributes] = []
    allows = RuleSet.allows

    def counted(self: RuleSet, asked: Attributes) -> bool:
        looked.append(asked)
        return allows(self, asked)

    monkeypatch.setattr(RuleSet, "allows", counted)

    def cost(bindings: int) -> int:
        cluster = Cluster()
        for number in range(bindings):
            cluster.put("acme", role(f"r{number}", rule("get", f"kind{number}"), namespace="web"))
            cluster.put("acme", binding(f"b{number}", f"r{number}", named("jane"), namespace="web"))
        looked.clear()
        assert cluster.allows(JANE, ask("acme", "get", "kind0", namespace="web", name="x"))
        assert not cluster.allows(JANE, ask("acme", "delete", "kind0", namespace="web", name="x"))
        return len(looked)

    assert cost(1000) == cost(1)


def test_a_decision_is_remembered_until_a_role_or_binding_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    asked = ask("acme", "get", "pods", namespace="web")
    cluster.put("acme", GET_PODS, binding("b", "reader", named("jane"), namespace="web"))
    assert cluster.allows(JANE, asked)
    monkeypatch.setattr(RuleSet, "allows", lambda self, asked: False)
    assert cluster.allows(JANE, asked)
    cluster.put("acme", role("another", namespace="web"))
    assert not cluster.allows(JANE, asked)


def test_every_default_binding_is_to_a_default_role() -> None:
    assert defaultroles.NAMES["clusterrolebindings"] <= defaultroles.NAMES["clusterroles"]
    for resource, obj in defaultroles.objects():
        if resource == "clusterrolebindings":
            assert obj["roleRef"]["name"] in defaultroles.NAMES["clusterroles"]
