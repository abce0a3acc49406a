"""`Impersonate-*` headers: somebody asks to be taken for somebody else, of the own tenant.

What they need is a permission to `impersonate` each thing they name, as upstream: users, groups, serviceaccounts (in
the core group), uids and userextras/KEY (in authentication.k8s.io). Who is impersonated is never a component: the names
of our own processes give nothing by themselves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn.users import (
    ANONYMOUS_NAME,
    UNAUTHENTICATED_GROUP,
    User,
    service_account_groups,
    split_service_account,
    with_authenticated,
)

_USER, _GROUP, _UID, _EXTRA = "Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-"
_PREFIX = "impersonate-"
_AUTHENTICATION = "authentication.k8s.io"


@dataclass(frozen=True, slots=True)
class Needed:
    """One permission that an impersonation needs."""

    group: str
    resource: str
    name: str
    namespace: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Impersonation:
    """Whom a request names."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def needed(self) -> Iterator[Needed]:
        """What the one who asks must be allowed to impersonate."""
        account = split_service_account(self.user)
        if account is not None:
            yield Needed("", "serviceaccounts", account[1], namespace=account[0])
        else:
            yield Needed("", "users", self.user)
        for group in self.groups:
            yield Needed("", "groups", group)
        if self.uid:
            yield Needed(_AUTHENTICATION, "uids", self.uid)
        for key, values in self.extra:
            for value in values:
                yield Needed(_AUTHENTICATION, "userextras", value, subresource=key)

    def of(self, user: User) -> User:
        """Who is impersonated, in the tenant of the one who asks."""
        groups = self.groups
        account = split_service_account(self.user)
        if account is not None and not groups:
            groups = service_account_groups(account[0])
        if self.user == ANONYMOUS_NAME:
            groups = groups if UNAUTHENTICATED_GROUP in groups else (*groups, UNAUTHENTICATED_GROUP)
        elif UNAUTHENTICATED_GROUP not in groups:
            groups = with_authenticated(groups)
        return User(self.user, groups, user.tenant, user.tenant_uid, dict(self.extra), self.uid)


def asked(headers: "CIMultiDictProxy[str]") -> Impersonation | None:
    """Whom the headers name; None where they name nobody. Raises StatusError 400 for groups, … without a user."""
    extra: dict[str, tuple[str, ...]] = {}
    found = False
    for header in headers:
        if header[: len(_PREFIX)].lower() != _PREFIX:
            continue
        found = True
        if header[: len(_EXTRA)].lower() == _EXTRA.lower():
            extra[unquote(header[len(_EXTRA) :].lower())] = tuple(headers.getall(header))
    if not found:
        return None
    user = headers.get(_USER, "")
    groups = tuple(group for group in headers.getall(_GROUP, ()) if group)
    uid = headers.get(_UID, "")
    if not user:
        if groups or uid or extra:
            message = "requested impersonation of groups, a uid or extra without a user"
            raise StatusError("BadRequest", message)
        return None
    return Impersonation(user, groups, uid, tuple(extra.items()))
