"""Who a request comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
MASTERS_GROUP = "system:masters"  # of one tenant: it administers that tenant only
NODES_GROUP = "system:nodes"
NODE_USER_PREFIX = "system:node:"
SERVICE_ACCOUNTS_GROUP = "system:serviceaccounts"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
ANONYMOUS_NAME = "system:anonymous"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. Name and groups mean something inside `tenant` only.

    `component` says that the credential may be one of our own processes': a certificate of the tenant `system`. Nobody
    becomes a component by a name alone: no token, no impersonation and no review leads there.
    """

    name: str
    groups: tuple[str, ...]
    tenant: str
    tenant_uid: str
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    uid: str = ""
    component: bool = False

    def to_dict(self) -> dict[str, object]:
        """As a UserInfo of authentication.k8s.io; what is empty is left out."""
        info: dict[str, object] = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in sorted(self.extra.items())}
        return info


# Who shows no credential. The tenant is none, so that it can be in none.
ANONYMOUS = User(ANONYMOUS_NAME, (UNAUTHENTICATED_GROUP,), "", "")


def with_authenticated(groups: tuple[str, ...]) -> tuple[str, ...]:
    """The groups a credential names, and the one that everybody who has shown a credential is in."""
    return groups if AUTHENTICATED_GROUP in groups else (*groups, AUTHENTICATED_GROUP)


def service_account_name(namespace: str, name: str) -> str:
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return SERVICE_ACCOUNTS_GROUP, f"{SERVICE_ACCOUNTS_GROUP}:{namespace}"


def split_service_account(user_name: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's user name; None for any other."""
    if not user_name.startswith(SERVICE_ACCOUNT_PREFIX):
        return None
    namespace, colon, name = user_name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
    return (namespace, name) if colon and namespace and name and ":" not in name else None
