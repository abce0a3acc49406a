import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn.impersonation import Impersonation, Needed, asked
from hypernetes.apiserver.authn.users import User

ADMIN = User("admin", ("system:masters", "system:authenticated"), "system", "uid", component=True)


def headers(*pairs: tuple[str, str]) -> Impersonation | None:
    return asked(CIMultiDictProxy(CIMultiDict(pairs)))


def test_a_request_without_such_headers_is_its_senders() -> None:
    assert headers(("Accept", "*/*"), ("Impersonator", "x")) is None


def test_everything_that_is_named_must_be_allowed() -> None:
    named = headers(
        ("Impersonate-User", "jane"), ("Impersonate-Group", "dev"), ("impersonate-group", "ops"),
        ("Impersonate-Uid", "7"), ("Impersonate-Extra-Acme.com%2FScopes", "a"), ("impersonate-extra-x", "b"),
    )  # fmt: skip
    assert named is not None
    group = "authentication.k8s.io"
    assert set(named.needed()) == {
        Needed("", "users", "jane"), Needed("", "groups", "dev"), Needed("", "groups", "ops"),
        Needed(group, "uids", "7"), Needed(group, "userextras", "a", subresource="acme.com/scopes"),
        Needed(group, "userextras", "b", subresource="x"),
    }  # fmt: skip
    user = named.of(ADMIN)
    assert (user.name, user.uid) == ("jane", "7")
    assert user.groups == ("dev", "ops", "system:authenticated")
    assert user.extra == {"acme.com/scopes": ("a",), "x": ("b",)}


def test_a_service_account_has_the_groups_of_one() -> None:
    named = headers(("Impersonate-User", "system:serviceaccount:web:robot"))
    assert named is not None
    assert list(named.needed()) == [Needed("", "serviceaccounts", "robot", namespace="web")]
    assert named.of(ADMIN).groups == (
        "system:serviceaccounts", "system:serviceaccounts:web", "system:authenticated",
    )  # fmt: skip


def test_who_is_impersonated_is_of_the_senders_tenant_and_no_component() -> None:
    named = headers(("Impersonate-User", "system:hn-controllers"), ("Impersonate-Group", "system:nodes"))
    assert named is not None
    user = named.of(ADMIN)
    assert (user.tenant, user.tenant_uid, user.component) == ("system", "uid", False)


def test_nobody_is_not_authenticated() -> None:
    named = headers(("Impersonate-User", "system:anonymous"))
    assert named is not None
    assert named.of(ADMIN).groups == ("system:unauthenticated",)


@pytest.mark.parametrize("header", ["Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-a"])
def test_groups_without_a_user_are_a_bad_request(header: str) -> None:
    with pytest.raises(StatusError) as caught:
        headers((header, "x"))
    assert caught.value.code == 400
