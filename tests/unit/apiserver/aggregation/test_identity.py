"""Who a server of a tenant's is told that asks."""

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver.aggregation import identity
from hypernetes.apiserver.authn import User


def told(user: User) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in identity.headers(user, "acme"):
        found.setdefault(name, []).append(value)
    return found


def test_the_tenants_own_are_told_by_name() -> None:
    jane = User("jané", ("staff", "system:authenticated"), "acme", "u", {"example.com/Team": ("a", "b")}, uid="7")
    assert told(jane) == {
        "X-Remote-User": ["jané"], "X-Remote-Uid": ["7"], "X-Remote-Group": ["staff", "system:authenticated"],
        "X-Remote-Extra-example.com%2FTeam": ["a", "b"],
    }  # fmt: skip


def test_the_providers_people_are_told_as_the_provider() -> None:
    admin = User("admin", ("system:masters", "secret-group"), "system", "u", component=True)
    assert told(admin) == {
        "X-Remote-User": ["system:hypernetes:provider"],
        "X-Remote-Group": ["system:masters", "system:authenticated"],
    }


def test_the_autoscaler_is_who_charts_take_it_for_and_nobody_is_by_a_name() -> None:
    controllers = User("system:hn-controllers", (), "system", "u", component=True)
    assert told(controllers)["X-Remote-User"] == ["system:serviceaccount:kube-system:horizontal-pod-autoscaler"]
    pretender = User("system:hn-controllers", (), "acme", "u")
    assert told(pretender)["X-Remote-User"] == ["system:hn-controllers"]


@pytest.mark.parametrize("name", ["a\r\nX-Remote-User: root", "a\nb", "a\x00b"])
def test_a_name_that_would_be_another_header_is_refused(name: str) -> None:
    with pytest.raises(StatusError) as raised:
        identity.headers(User(name, (), "acme", "u"), "acme")
    assert raised.value.code == 400
