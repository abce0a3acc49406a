"""Which tenants an administrator of a Keystone domain is shown."""

import orjson
import pytest

from hypernetes.apiserver import routing
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.handlers import domains
from hypernetes.apiserver.mirror import Entry

PATH = "/apis/hypernetes.io/v1/tenants"
EXTRA = {domains.DOMAIN_EXTRA: ("d1",)}
RESELLER = User("keystone:jane@Default", ("keystone:domain-role:admin",), "system", "u", EXTRA)


def entry(**identity: str) -> Entry:
    spec = {"identity": {"keystone": identity}} if identity else {}
    return Entry("key", 1, orjson.dumps({"metadata": {"name": "t"}, "spec": spec}))


def test_the_tenants_of_the_domain_and_no_others() -> None:
    for query in ({}, {"watch": "true"}):
        shows = domains.visible(RESELLER, routing.parse("GET", PATH, query))
        assert shows is not None
        assert shows(entry(projectID="p", domainID="d1"))
        for other in (entry(projectID="p", domainID="d2"), entry(projectID="d1"), entry()):
            assert not shows(other)


@pytest.mark.parametrize(
    ("user", "method", "path"),
    [
        (RESELLER, "GET", f"{PATH}/acme"), (RESELLER, "DELETE", PATH), (RESELLER, "POST", PATH),
        (RESELLER, "GET", "/api/v1/namespaces"), (RESELLER, "GET", "/tenants/acme/api/v1/namespaces"),
        (RESELLER, "GET", f"/tenants/*{PATH}"), (User("x", (), "system", "u"), "GET", PATH),
        (User("x", (), "acme", "u", EXTRA), "GET", PATH),
        (User("x", (), "acme", "u", EXTRA), "GET", f"/tenants/system{PATH}"),
    ],
)  # fmt: skip
def test_nothing_else_and_nobody_else(user: User, method: str, path: str) -> None:
    assert domains.visible(user, routing.parse(method, path, {})) is None
