"""A control plane with scheduler and controllers, and nodes without machines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hypernetes.client import Client
from hypernetes.nodeagent import hollow
from tests.integration.control_plane import ControlPlane, running

TENANT = "acme"


@asynccontextmanager
async def hollow_cluster(directory: Path, nodes: int = 2) -> AsyncIterator[tuple[ControlPlane, Client]]:
    """The client is the provider's administrator; kubectl is the tenant's."""
    async with (
        running(directory / "plane", "scheduler", "controllers", tenant=TENANT) as (plane, client),
        asyncio.TaskGroup() as tasks,
    ):
        fleet = tasks.create_task(hollow.run(directory / "nodes", "hollow", nodes, client))
        yield plane, client
        fleet.cancel()
