"""The volume drivers that there are, and in whose name they are asked."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from hypernetes.api.models.hypernetes_v1 import Tenant
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Informer, Key
from hypernetes.providers.volume.base import Owner, Unavailable, VolumeProvider

T = TypeVar("T")

_DEADLINE_SECONDS = 300.0  # of one call; a provider that can say so says Unavailable long before


class Providers:
    def __init__(self, providers: Iterable[VolumeProvider]) -> None:
        self._providers = {each.driver: each for each in providers}

    def get(self, driver: str | None) -> VolumeProvider | None:
        return self._providers.get(driver or "")


def owner_of(tenants: Informer[Tenant], tenant: str) -> Owner:
    """Raises Unavailable for a tenant that isn't known (yet, or any more)."""
    if tenant == SYSTEM_TENANT:
        return Owner(tenant, tenant)
    found = tenants.get(Key(SYSTEM_TENANT, "", tenant))
    if found is None:
        raise Unavailable("NoTenant", f"the tenant {tenant} is not known")
    keystone = found.spec.identity.keystone if found.spec.identity is not None else None
    return Owner(tenant, found.metadata.uid or "", keystone.project_id if keystone is not None else None)


async def answer(call: Awaitable[T]) -> T:
    """What a provider answers. Raises VolumeError."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            return await call
    except TimeoutError as error:
        raise Unavailable("Timeout", f"no answer from the storage in {_DEADLINE_SECONDS:.0f} s") from error
