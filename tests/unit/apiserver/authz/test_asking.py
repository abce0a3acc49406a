import pytest

from hypernetes.apiserver import routing
from hypernetes.apiserver.authz.asking import attributes
from tests.unit.apiserver.authz.policies import Cluster, binding, named, role, rule, user

JANE = user("jane")
SECRETS = "/api/v1/namespaces/web/secrets"


def asked(method: str, path: str, selector: str = "", **query: str):
    route = routing.parse(method, path, query)
    return attributes(JANE, route, route.name, selector)


def test_a_namespace_lies_in_itself():
    assert asked("GET", "/api/v1/namespaces/web").namespace == "web"
    assert asked("PUT", "/api/v1/namespaces/web/finalize").namespace == "web"
    assert asked("GET", "/api/v1/namespaces").namespace == ""
    assert asked("GET", "/api/v1/namespaces", "metadata.name=web").namespace == ""


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        ("metadata.name=a", "a"), ("type=Opaque,metadata.name==a", "a"), ("metadata.name!=a", ""), ("", ""),
        ("metadata.namespace=a", ""), ("metadata.name=", ""), ("=,=", ""),
    ],
)  # fmt: skip
def test_a_list_of_one_name_asks_for_that_name(selector: str, name: str):
    assert asked("GET", SECRETS, selector).name == name
    assert asked("GET", SECRETS, selector, watch="true").name == name
    assert asked("DELETE", SECRETS, selector).name == name


def test_a_name_in_the_path_is_the_name():
    assert asked("GET", f"{SECRETS}/b", "metadata.name=a").name == "b"
    assert asked("POST", SECRETS, "metadata.name=a").name == ""


def test_who_may_see_one_object_may_list_and_watch_it():
    cluster = Cluster()
    cluster.put("acme", role("r", rule("list watch", "secrets", "", "a"), namespace="web"))
    cluster.put("acme", binding("b", "r", named("jane"), namespace="web"))
    assert cluster.allows(JANE, asked("GET", SECRETS, "metadata.name=a"))
    assert not cluster.allows(JANE, asked("GET", SECRETS, "metadata.name=b"))
    assert not cluster.allows(JANE, asked("GET", SECRETS))
