import pytest

from hypernetes.apiserver.authn import User
from hypernetes.apiserver.authn.users import ANONYMOUS
from hypernetes.apiserver.authz import Attributes, Decision, forbidden
from tests.unit.apiserver.authz.policies import Cluster, ask

HYPERNETES = "hypernetes.io"
CLUSTER = Cluster()


def user(name: str, *groups: str, tenant: str = "system", component: bool = True) -> User:
    return User(name, (*groups, "system:authenticated"), tenant, "uid", component=component and tenant == "system")


def authorize(who: User, asked: Attributes) -> Decision:
    return CLUSTER.authorizer.authorize(who, asked)


PROVIDER = user("admin", "system:masters")
ACME = user("acme-admin", "system:masters", tenant="acme")
ACCOUNT = user("system:serviceaccount:web:default", "system:serviceaccounts", tenant="acme")
NODE = user("system:node:n1", "system:nodes")
SCHEDULER = user("system:hn-scheduler")
CONTROLLERS = user("system:hn-controllers")
KUBELET_CLIENT = user("system:hn-apiserver")


@pytest.mark.parametrize(
    "asked",
    [
        ask("system", "create", "tenants", group=HYPERNETES),
        ask("*", "list", "pods"),
        ask("acme", "delete", "pods", namespace="web", name="p"),
        ask("acme", "create", "tenants/certificate", group=HYPERNETES, name="acme"),
        ask("system", "get", "/metrics"),
    ],
)
def test_the_providers_administrator_may_do_everything_everywhere(asked: Attributes):
    assert authorize(PROVIDER, asked).allowed


@pytest.mark.parametrize(
    "asked",
    [
        ask("acme", "create", "namespaces"),
        ask("acme", "deletecollection", "pods", namespace="web"),
        ask("acme", "create", "pods/exec", namespace="web", name="p"),
        ask("acme", "get", "pods/log", namespace="web", name="p"),
        ask("acme", "get", "pods/status", namespace="web", name="p"),
        ask("acme", "list", "nodes"),
        ask("acme", "create", "networks", group=HYPERNETES),
        ask("acme", "update", "networks", name="default"),
        ask("acme", "list", "ports", group=HYPERNETES),
        ask("acme", "list", "csinodes", group="storage.k8s.io"),
        ask("acme", "create", "csidrivers", group="storage.k8s.io"),
        ask("acme", "create", "runtimeclasses", group="node.k8s.io"),
        ask("acme", "create", "serviceaccounts/token", namespace="web", name="default"),
        ask("acme", "get", "/apis"),
        ask("acme", "get", "/openapi/v3/api/v1"),
    ],
)
def test_a_tenants_administrator_rules_the_tenant(asked: Attributes):
    assert authorize(ACME, asked).allowed


@pytest.mark.parametrize(
    "asked",
    [
        ask("acme", "create", "nodes"),
        ask("acme", "patch", "nodes", name="n1"),
        ask("acme", "update", "nodes/status", name="n1"),
        ask("acme", "delete", "nodes", name="n1"),
        ask("acme", "create", "pods/binding", namespace="web", name="p"),
        ask("acme", "create", "bindings", namespace="web"),
        ask("acme", "patch", "pods/status", namespace="web", name="p"),
        ask("acme", "create", "ports", group=HYPERNETES),
        ask("acme", "delete", "ports", group=HYPERNETES, name="default.10.0.0.5"),
        ask("acme", "create", "csinodes", group="storage.k8s.io"),
        ask("acme", "patch", "volumeattachments", group="storage.k8s.io", name="a"),
        ask("acme", "update", "volumeattachments/status", group="storage.k8s.io", name="a"),
        ask("acme", "update", "networks/status", group=HYPERNETES, name="default"),
        ask("acme", "create", "tenants", group=HYPERNETES),
        ask("acme", "list", "tenants", group=HYPERNETES),
        ask("acme", "create", "tenants/certificate", group=HYPERNETES, name="acme"),
        ask("acme", "get", "/metrics"),
        ask("acme", "list", "/metadata"),
    ],
)
def test_what_is_the_providers_stays_the_providers(asked: Attributes):
    assert not authorize(ACME, asked).allowed


@pytest.mark.parametrize("who", [ACME, ACCOUNT])
@pytest.mark.parametrize("tenant", ["globex", "nosuch", "system", "*"])
def test_nobody_crosses_the_border_of_the_own_tenant_nor_learns_what_is_behind_it(who: User, tenant: str):
    for verb, what in (("list", "pods"), ("get", "/api")):
        asked, elsewhere = ask(tenant, verb, what), ask("some-other", verb, what)
        decision = authorize(who, asked)
        assert not decision.allowed
        assert str(forbidden(who, asked, decision)) == str(forbidden(who, elsewhere, authorize(who, elsewhere)))


def test_a_group_of_masters_counts_in_its_own_tenant_only():
    assert not authorize(user("x", "system:masters", tenant="globex"), ask("acme", "list", "pods")).allowed
    assert not authorize(user("x", "system:nodes", tenant="globex"), ask("*", "list", "pods")).allowed
    imposter = user("system:hn-controllers", tenant="globex")
    assert not authorize(imposter, ask("globex", "list", "secrets")).allowed


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (ask("acme", "get", "/api/v1"), True),
        (ask("acme", "get", "/version"), True),
        (ask("acme", "create", "selfsubjectreviews", group="authentication.k8s.io"), True),
        (ask("acme", "create", "selfsubjectaccessreviews", group="authorization.k8s.io"), True),
        (ask("acme", "create", "subjectaccessreviews", group="authorization.k8s.io"), False),
        (ask("acme", "get", "pods", namespace="web", name="p"), False),
        (ask("acme", "list", "secrets", namespace="web"), False),
        (ask("acme", "get", "/metrics"), False),
    ],
)
def test_a_service_account_may_look_around_and_ask_about_itself(asked: Attributes, allowed: bool):
    assert authorize(ACCOUNT, asked).allowed is allowed


def test_a_name_alone_makes_no_component():
    own_pods = ask("*", "list", "pods", fields="spec.nodeName=n1")
    assert authorize(NODE, own_pods).allowed
    assert not authorize(user("system:node:n1"), own_pods).allowed
    assert not authorize(user("somebody", "system:nodes"), own_pods).allowed
    for impostor in (
        user("system:node:n1", "system:nodes", component=False), user("system:hn-scheduler", component=False),
        user("system:hn-controllers", component=False),
    ):  # fmt: skip
        for asked in (own_pods, ask("*", "list", "pods"), ask("acme", "get", "namespaces", name="x")):
            assert not authorize(impostor, asked).allowed


def test_who_shows_no_credential_may_ask_for_health_and_version_and_nothing_of_any_tenant():
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert authorize(ANONYMOUS, ask("", "get", path)).allowed
        assert not authorize(ANONYMOUS, ask("", "post", path)).allowed
        for tenant in ("acme", "nosuch", "system", "*"):
            assert not authorize(ANONYMOUS, ask(tenant, "get", path)).allowed
    for asked in (ask("", "get", "/api"), ask("", "get", "/metrics"), ask("", "list", "pods"), ask("", "get", "nodes")):
        assert not authorize(ANONYMOUS, asked).allowed


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (ask("*", "watch", "pods"), True),
        (ask("*", "list", "nodes"), True),
        (ask("acme", "create", "pods/binding", namespace="web", name="p"), True),
        (ask("acme", "patch", "pods/status", namespace="web", name="p"), True),
        (ask("acme", "create", "events", namespace="web"), True),
        (ask("system", "update", "leases", group="coordination.k8s.io", namespace="kube-system", name="s"), True),
        (ask("*", "list", "secrets"), False),
        (ask("acme", "delete", "pods", namespace="web", name="p"), True),  # what gives way to another
        (ask("acme", "deletecollection", "pods", namespace="web"), False),
        (ask("acme", "delete", "secrets", namespace="web", name="s"), False),
        (ask("acme", "create", "pods", namespace="web"), False),
        (ask("acme", "update", "leases", group="coordination.k8s.io", namespace="kube-system", name="s"), False),
    ],
)
def test_the_scheduler_reads_and_binds(asked: Attributes, allowed: bool):
    assert authorize(SCHEDULER, asked).allowed is allowed


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (ask("*", "watch", "replicasets", group="apps"), True),
        (ask("acme", "create", "pods", namespace="web"), True),
        (ask("acme", "delete", "secrets", namespace="web", name="s"), True),
        (ask("acme", "update", "namespaces/finalize", name="web"), True),
        (ask("system", "delete", "tenants", group=HYPERNETES, name="acme"), True),
        (ask("*", "watch", "/metadata"), True),
        (ask("acme", "get", "/apis"), True),
        (ask("acme", "create", "pods/exec", namespace="web", name="p"), False),
        (ask("acme", "create", "serviceaccounts/token", namespace="web", name="default"), False),
        (ask("system", "create", "tenants", group=HYPERNETES), False),
        (ask("acme", "create", "tenants/certificate", group=HYPERNETES, name="acme"), False),
        (ask("*", "get", "/metrics"), False),
    ],
)
def test_controllers_reconcile_every_kind_and_mint_no_credential(asked: Attributes, allowed: bool):
    assert authorize(CONTROLLERS, asked).allowed is allowed


def test_the_certificate_that_opens_agents_opens_nothing_here():
    assert not authorize(KUBELET_CLIENT, ask("*", "list", "pods")).allowed


def test_a_refusal_reads_like_upstreams():
    asked = ask("acme", "list", "deployments", group="apps", namespace="web")
    error = forbidden(ACCOUNT, asked, authorize(ACCOUNT, asked))
    assert error.code == 403
    assert error.message == (
        'deployments.apps is forbidden: User "system:serviceaccount:web:default" cannot list resource "deployments" '
        'in API group "apps" in the namespace "web"'
    )
    path = ask("acme", "get", "/metrics")
    assert forbidden(ACCOUNT, path, authorize(ACCOUNT, path)).message == (
        'forbidden: User "system:serviceaccount:web:default" cannot get path "/metrics": only the provider may do this'
    )


def test_the_metadata_of_all_tenants_is_for_the_controllers_alone():
    asked = ask("*", "watch", "/metadata")
    assert authorize(PROVIDER, asked).allowed
    assert authorize(CONTROLLERS, asked).allowed
    for who in (ACME, ACCOUNT, NODE, SCHEDULER, user("somebody", component=False)):
        assert not authorize(who, asked).allowed
