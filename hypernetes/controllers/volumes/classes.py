"""Classes by name: a tenant's own, or else the provider's, which all tenants share."""

from typing import Any, TypeVar

from hypernetes.api.object import tenant_of
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Informer, Key

T = TypeVar("T", bound=Any)


def find(classes: Informer[T], tenant: str, name: str | None) -> T | None:
    if not name:
        return None
    return classes.get(Key(tenant, "", name)) or classes.get(Key(SYSTEM_TENANT, "", name))


def visible(classes: Informer[T], tenant: str) -> list[T]:
    """All that a tenant sees, its own ones first."""
    own = [found for key, found in classes.items() if key.tenant == tenant]
    if tenant == SYSTEM_TENANT:
        return own
    hidden = {each.metadata.name for each in own}
    shared = [found for key, found in classes.items() if key.tenant == SYSTEM_TENANT and key.name not in hidden]
    return [*own, *shared]


def is_providers(found: Any) -> bool:
    """Whether the provider wrote it, so that it may say anything."""
    return tenant_of(found) == SYSTEM_TENANT
