"""NodeVolumes for providers that keep volumes on nodes (base.NodeVolumeObjects)."""

import asyncio

from hypernetes.api.models.core_v1 import Node
from hypernetes.api.models.hypernetes_v1 import NodeVolume
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import REQUEST_ERRORS, Client, is_reason
from hypernetes.providers.volume.base import Unavailable

FREE_BYTES = "hypernetes.io/volume-bytes-free"  # annotation that hn-agent keeps on its Node
ZONE = "topology.kubernetes.io/zone"
# Between two looks at a volume in the making: a file is there within milliseconds, a copy takes its time.
FIRST_LOOK_SECONDS = 0.02
LAST_LOOK_SECONDS = 1.0


class NodeVolumeObjects:
    """Raises Unavailable where the API doesn't answer."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, tenant: str, name: str) -> NodeVolume | None:
        try:
            return await self._client.get(NodeVolume, name, tenant=tenant)
        except REQUEST_ERRORS as error:
            if is_reason(error, "NotFound"):
                return None
            raise _unavailable(error) from error

    async def create(self, tenant: str, volume: NodeVolume) -> NodeVolume:
        try:
            return await self._client.create(volume, tenant=tenant)
        except REQUEST_ERRORS as error:
            there = await self.get(tenant, volume.metadata.name or "")
            if there is None:
                raise _unavailable(error) from error
            return there

    async def update(self, tenant: str, volume: NodeVolume) -> NodeVolume:
        try:
            return await self._client.update(volume, tenant=tenant)
        except REQUEST_ERRORS as error:
            raise _unavailable(error) from error

    async def delete(self, tenant: str, name: str) -> None:
        try:
            await self._client.delete(NodeVolume, name, tenant=tenant)
        except REQUEST_ERRORS as error:
            if not is_reason(error, "NotFound"):
                raise _unavailable(error) from error

    async def settled(self, tenant: str, name: str, seconds: float) -> NodeVolume | None:
        deadline = asyncio.get_running_loop().time() + seconds
        pause = FIRST_LOOK_SECONDS
        while True:
            found = await self.get(tenant, name)
            if found is None or asyncio.get_running_loop().time() > deadline:
                return found
            done = found.status.phase != "Pending" and found.status.observed_generation == found.metadata.generation
            if done and found.metadata.deletion_timestamp is None:
                return found
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_LOOK_SECONDS)

    async def free_bytes(self, node: str) -> int | None:
        found = await self._node(node)
        said = found.metadata.annotations.get(FREE_BYTES, "") if found is not None else ""
        return int(said) if said.isascii() and said.isdigit() else None

    async def zone(self, node: str) -> str | None:
        found = await self._node(node)
        return found.metadata.labels.get(ZONE) if found is not None else None

    async def _node(self, name: str) -> Node | None:
        try:
            return await self._client.get(Node, name, tenant=SYSTEM_TENANT)
        except REQUEST_ERRORS as error:
            if is_reason(error, "NotFound"):
                return None
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable("APIError", f"the API server doesn't do it now: {error}")
