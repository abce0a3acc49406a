"""Which tenants' services an agent follows: those of its pods, while they are here."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from hypernetes.nodeagent.tenantview import TenantViews


class Api:
    """Lists one service of each tenant, and watches for ever; remembers who was asked about."""

    def __init__(self) -> None:
        self.watching: set[tuple[str, str]] = set()

    async def pages(self, selection: Any) -> AsyncIterator[Any]:
        metadata = {"name": f"of-{selection.tenant}", "namespace": "web", "resourceVersion": "1"}
        items = [{"metadata": metadata}] if selection.resource.name == "services" else []
        yield SimpleNamespace(items=items, resource_version="1", first=True)

    async def watch_raw(self, selection: Any, revision: str) -> AsyncIterator[Any]:
        followed = (selection.tenant, selection.resource.name)
        self.watching.add(followed)
        try:
            await asyncio.Event().wait()
            yield
        finally:
            self.watching.remove(followed)


async def settled(api: Api, expected: set[str]) -> None:
    async with asyncio.timeout(10):
        while {tenant for tenant, _ in api.watching} != expected:
            await asyncio.sleep(0)


async def test_a_tenant_is_followed_from_its_first_pod_to_its_last() -> None:
    api = Api()
    views = TenantViews(api)  # type: ignore[arg-type]
    views.follow("acme")  # before it runs: pods that are adopted
    running = asyncio.create_task(views.run())
    await views.wait_synced("acme")
    await settled(api, {"acme"})
    views.follow("globex")
    views.follow("acme")
    await views.wait_synced("globex")
    assert [service.metadata.name for service in views.services("globex")] == ["of-globex"]
    await settled(api, {"acme", "globex"})
    views.leave("globex")
    views.leave("acme")
    await settled(api, {"acme"})
    assert views.services("globex") == []
    assert [service.metadata.name for service in views.services("acme")] == ["of-acme"]
    views.leave("acme")
    await settled(api, set())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
