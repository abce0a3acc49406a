"""A control plane with scheduler and controllers, and nodes without machines."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hypernetes.api import times
from hypernetes.client import Client
from hypernetes.nodeagent import hollow
from hypernetes.pki import node_role
from hypernetes.pki.contexts import server_context
from tests.integration.control_plane import ControlPlane, running

TENANT = "acme"


@asynccontextmanager
async def hollow_cluster(directory: Path, nodes: int = 2) -> AsyncIterator[tuple[ControlPlane, Client]]:
    """The client is the provider's administrator; kubectl is the tenant's."""
    async with (
        running(directory / "plane", "scheduler", "controllers", tenant=TENANT) as (plane, client),
        asyncio.TaskGroup() as tasks,
    ):
        pki = plane.layout.pki_directory(plane.layout.load_or_create(bind="127.0.0.1", port=plane.port))

        def tls(name: str) -> ssl.SSLContext:
            role = node_role(name)
            pki.ensure(role, times.now(), addresses=["127.0.0.1"])
            return server_context(pki.certificate(role), pki.key(role), pki.ca_certificate, require_client=True)

        fleet = tasks.create_task(hollow.run(directory / "nodes", "hollow", nodes, client, tls))
        yield plane, client
        fleet.cancel()
