"""What Keystone says of a token, as an identity. Pure.

Form: https://docs.openstack.org/api-ref/identity/v3/#validate-and-show-information-for-token
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypernetes.providers.identity.base import Identity, TenantReference

PREFIX = "keystone:"
DOMAIN_EXTRA = "keystone.hypernetes.io/domain"  # of who administers a domain: its id
PROJECT_EXTRA = "keystone.hypernetes.io/project"
MASTERS_GROUP = "system:masters"
_PROVIDER = TenantReference(name="system")
_ADMIN = "admin"


def identity(token: Any) -> Identity | None:
    """Whose it is; None for one that opens nothing: without a scope, bound, or of a domain without its `admin`.

    Raises ValueError for what is no token's description.
    """
    if not isinstance(token, Mapping):
        raise ValueError("it is no object")
    if token.get("bind"):
        return None  # good only together with something else that we don't see
    user = _mapping(token, "user")
    name = f"{PREFIX}{_text(user, 'name')}@{_escaped(_text(_mapping(user, 'domain'), 'name'))}"
    roles = tuple(sorted({_text(role, "name").lower() for role in _list(token, "roles")}))
    scope = _scope(token, roles)
    if scope is None:
        return None
    tenant, groups, extra = scope
    return Identity(
        user=name, tenant=tenant, groups=groups, uid=_text(user, "id"), extra=extra,
        issued_at=_time(token, "issued_at"), expires_at=_time(token, "expires_at"),
    )  # fmt: skip


_Scope = tuple[TenantReference, tuple[str, ...], dict[str, tuple[str, ...]]]


def _scope(token: Mapping[str, Any], roles: tuple[str, ...]) -> _Scope | None:
    """The tenant, groups and extra values that a token's scope and roles come to."""
    if token.get("project"):
        project = _text(_mapping(token, "project"), "id")
        return TenantReference(id=project), _groups("role", roles), {PROJECT_EXTRA: (project,)}
    if token.get("system"):
        if not _mapping(token, "system").get("all"):
            return None
        groups = _groups("system-role", roles)
        return _PROVIDER, (MASTERS_GROUP, *groups) if _ADMIN in roles else groups, {}
    if token.get("domain") and _ADMIN in roles:
        domain = _text(_mapping(token, "domain"), "id")
        return _PROVIDER, _groups("domain-role", roles), {DOMAIN_EXTRA: (domain,)}
    return None


def _groups(kind: str, roles: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{PREFIX}{kind}:{role}" for role in roles)


def _escaped(domain: str) -> str:
    """With the last `@` of a user's name a domain begins, whatever people call their users and domains."""
    return domain.replace("%", "%25").replace("@", "%40")


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    if not isinstance(found, Mapping):
        raise ValueError(f"its {key} is no object")
    return found


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key) or []
    if not isinstance(found, list):
        raise ValueError(f"its {key} are no list")
    return found


def _text(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(found, str) or not found:
        raise ValueError(f"a {key} is missing")
    return found


def _time(token: Mapping[str, Any], key: str) -> datetime:
    found = datetime.fromisoformat(_text(token, key))  # `Z` too, from Python 3.11 on
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
