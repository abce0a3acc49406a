"""Who a request comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

AUTHENTICATED_GROUP = "system:authenticated"
MASTERS_GROUP = "system:masters"  # of one tenant: it administers that tenant only
NODES_GROUP = "system:nodes"
NODE_USER_PREFIX = "system:node:"
SERVICE_ACCOUNTS_GROUP = "system:serviceaccounts"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user. Name and groups mean something inside `tenant` only."""

    name: str
    groups: tuple[str, ...]
    tenant: str
    tenant_uid: str
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def with_authenticated(groups: tuple[str, ...]) -> tuple[str, ...]:
    """The groups a credential names, and the one that everybody who has shown a credential is in."""
    return groups if AUTHENTICATED_GROUP in groups else (*groups, AUTHENTICATED_GROUP)


def service_account_name(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"
