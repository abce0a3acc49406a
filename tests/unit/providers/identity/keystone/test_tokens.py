"""What Keystone says of a token, taken for what it is and no more."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hypernetes.providers.identity.base import TenantReference
from hypernetes.providers.identity.keystone import tokens

DOMAIN, CUSTOMERS = {"id": "default", "name": "Default"}, {"id": "d1", "name": "customers"}


def token(*roles: str, user: str = "jane", of: str = "Default", **scope: Any) -> dict[str, Any]:
    return {
        "user": {"id": "u1", "name": user, "domain": {"id": "d", "name": of}, "password_expires_at": None},
        "roles": [{"id": f"r-{name}", "name": name} for name in roles], "methods": ["password"], "is_domain": False,
        "expires_at": "2026-11-30T13:00:00.000000Z", "issued_at": "2026-11-30T12:00:00.000000Z", **scope,
    }  # fmt: skip


PROJECT = {"project": {"id": "p1", "name": "system", "domain": DOMAIN}}


def test_a_token_of_a_project_is_of_that_projects_tenant_by_id_whatever_its_name() -> None:
    found = tokens.identity(token("Member", "reader", **PROJECT))
    assert found is not None
    assert (found.user, found.uid, found.tenant) == ("keystone:jane@Default", "u1", TenantReference(id="p1"))
    assert found.groups == ("keystone:role:member", "keystone:role:reader")
    assert found.expires_at is not None
    assert found.expires_at.isoformat() == "2026-11-30T13:00:00+00:00"


def test_an_admin_of_the_system_administers_the_providers_tenant_and_nobody_else_does() -> None:
    system = {"system": {"all": True}}
    admin, reader = tokens.identity(token("admin", "reader", **system)), tokens.identity(token("reader", **system))
    assert admin is not None
    assert reader is not None
    assert admin.tenant == reader.tenant == TenantReference(name="system")
    assert "system:masters" in admin.groups
    assert reader.groups == ("keystone:system-role:reader",)
    in_project = tokens.identity(token("admin", **PROJECT))
    assert in_project is not None
    assert in_project.groups == ("keystone:role:admin",)


def test_an_admin_of_a_domain_is_marked_with_it_and_has_no_role_of_a_project() -> None:
    found = tokens.identity(token("admin", domain=CUSTOMERS))
    assert found is not None
    assert found.tenant == TenantReference(name="system")
    assert found.extra == {tokens.DOMAIN_EXTRA: ("d1",)}
    assert found.groups == ("keystone:domain-role:admin",)


@pytest.mark.parametrize(
    "described",
    [
        token("admin"),
        token("member", domain=CUSTOMERS),
        token("admin", system={}),
        token("admin", system={"all": False}),
        token("member", bind={"x509": "abc"}, **PROJECT),
    ],
    ids=["unscoped", "domain without admin", "no system", "not the whole system", "bound"],
)
def test_what_opens_nothing_is_nobody(described: dict[str, Any]) -> None:
    assert tokens.identity(described) is None


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_two_users_never_have_one_name(user: str, domain: str, other: str, others_domain: str) -> None:
    one, two = (
        tokens.identity(token("member", user=name, of=of, **PROJECT))
        for name, of in ((user, domain), (other, others_domain))
    )
    assert one is not None
    assert two is not None
    assert (one.user == two.user) is ((user, domain) == (other, others_domain))
    assert one.user.startswith("keystone:")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@example("roles", 5)
@example("roles", "member")
@given(st.sampled_from(["user", "roles", "project", "expires_at", "issued_at", "bind"]), json_values)
def test_a_description_that_is_none_is_refused_and_breaks_nothing(key: str, value: Any) -> None:
    with suppress(ValueError):
        tokens.identity({**token("member", **PROJECT), key: value})
    with pytest.raises(ValueError):
        tokens.identity(value if not isinstance(value, dict) else [value])
