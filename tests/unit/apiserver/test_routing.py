"""What a URL and a method mean."""

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver import routing


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", None, "pods", "", "", "")),
        ("GET", "/tenants/acme/api/v1/namespaces/web/pods/p", ("get", "acme", "pods", "", "web", "p")),
        ("GET", "/api/v1/namespaces/web", ("get", None, "namespaces", "", "", "web")),
        ("PUT", "/api/v1/namespaces/web/finalize", ("update", None, "namespaces", "finalize", "", "web")),
        ("GET", "/api/v1/namespaces/web/pods", ("list", None, "pods", "", "web", "")),
        ("DELETE", "/apis/apps/v1/namespaces/w/deployments", ("deletecollection", None, "deployments", "", "w", "")),
        ("PATCH", "/apis/apps/v1/namespaces/w/deployments/d/scale", ("patch", None, "deployments", "scale", "w", "d")),
        ("GET", "/api/v1/watch/namespaces/web/pods", ("watch", None, "pods", "", "web", "")),
        ("GET", "/api/v1/watch/namespaces/web/pods/p", ("watch", None, "pods", "", "web", "p")),
        ("GET", "/api/v1/watch/namespaces/web", ("watch", None, "namespaces", "", "", "web")),
        ("GET", "/tenants/*/api/v1/pods/", ("list", "*", "pods", "", "", "")),
    ],
)
def test_paths_of_resources(method: str, path: str, expected: tuple[str | None, ...]) -> None:
    route = routing.parse(method, path, {})
    assert route.resource is not None
    assert (route.verb, route.tenant, route.resource.name, route.subresource, route.namespace, route.name) == expected


def test_a_list_with_the_watch_flag_is_a_watch_and_an_object_is_not() -> None:
    assert routing.parse("GET", "/api/v1/pods", {"watch": "1"}).verb == "watch"
    assert routing.parse("GET", "/api/v1/pods", {"watch": "false"}).verb == "list"
    assert routing.parse("GET", "/api/v1/namespaces/w/pods/p", {"watch": "1"}).verb == "get"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_is_written_below_watch(method: str) -> None:
    with pytest.raises(StatusError) as raised:
        routing.parse(method, "/api/v1/watch/namespaces/w/pods/p", {})
    assert raised.value.code == 405


@pytest.mark.parametrize("path", ["/", "/api", "/apis", "/apis/apps/v1", "/version", "/tenants/acme/openapi/v3"])
def test_what_is_no_resource_is_left_to_others(path: str) -> None:
    assert routing.parse("GET", path, {}).resource is None


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/gadgets", "/apis/apps/v9/pods", "/api/v1/namespaces/w/nodes", "/api/v1/namespaces/w/pods/p/shell",
        "/api/v1/namespaces//pods", "/api/v1/namespaces/w/pods/a%2Fb", "/api/v1/namespaces/w/pods/p/log/x",
        "/api/v1/pods/p",
    ],
)  # fmt: skip
def test_paths_that_lead_nowhere(path: str) -> None:
    with pytest.raises(StatusError) as raised:
        routing.parse("GET", path, {})
    assert raised.value.code == 404


@pytest.mark.parametrize(
    ("path", "query", "found"),
    [
        ("/apis/x.io/v1/cars", {}, ("list", "cars", "", "", "")),
        ("/apis/x.io/v1/cars", {"watch": "1"}, ("watch", "cars", "", "", "")),
        ("/apis/x.io/v1/namespaces/w/cars/c/doors/left", {}, ("get", "cars", "w", "c", "doors")),
        ("/apis/x.io/v1/namespaces/w/pods/*/requests", {}, ("get", "pods", "w", "*", "requests")),
        ("/tenants/acme/apis/x.io/v1/namespaces/w", {}, ("get", "namespaces", "", "w", "")),
    ],
)
def test_other_groups_are_read_by_convention(path: str, query: dict[str, str], found: tuple[str, ...]) -> None:
    route = routing.parse("GET", path, query)
    assert route.resource is not None
    assert (route.verb, route.resource.name, route.namespace, route.name, route.subresource) == found
    assert (route.foreign, route.resource.group, route.resource.version) == (True, "x.io", "v1")


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "a%2Fb", "50%25"])
def test_paths_of_other_groups_that_their_server_might_read_otherwise_are_refused(name: str) -> None:
    with pytest.raises(StatusError) as raised:
        routing.parse("GET", f"/apis/x.io/v1/namespaces/w/cars/{name}/doors", {})
    assert raised.value.code == 400


@pytest.mark.parametrize("name", ["..", ".", "50%25"])
def test_names_that_no_object_can_have(name: str) -> None:
    with pytest.raises(StatusError) as raised:
        routing.parse("GET", f"/api/v1/namespaces/w/pods/{name}", {})
    assert raised.value.code == 400
