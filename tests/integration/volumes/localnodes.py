"""Nodes that keep volumes, without an API: what an API server and two agents do about NodeVolumes."""

import uuid
from pathlib import Path

from hypernetes.api import quantity, times
from hypernetes.api.models.hypernetes_v1 import NodeVolume, NodeVolumeStatus
from hypernetes.nodeagent.nodevolumes import decide
from hypernetes.providers.volume.base import Unavailable, VolumeError
from hypernetes.providers.volume.local import LocalFiles


class LocalNodes:
    """A base.NodeVolumeObjects. `settled` does at once what the volume's node would do."""

    def __init__(self, directory: Path, *nodes: str) -> None:
        self.files = {node: LocalFiles(directory / node) for node in nodes}
        self.objects: dict[tuple[str, str], NodeVolume] = {}
        self._revision = 0

    async def get(self, tenant: str, name: str) -> NodeVolume | None:
        found = self.objects.get((tenant, name))
        return None if found is None else found.model_copy(deep=True)

    async def create(self, tenant: str, volume: NodeVolume) -> NodeVolume:
        key = tenant, volume.metadata.name or ""
        if key not in self.objects:
            metadata = volume.metadata.model_copy(update={"uid": str(uuid.uuid4()), "generation": 1})
            self.objects[key] = volume.model_copy(
                update={"metadata": metadata, "status": NodeVolumeStatus(phase="Pending")}, deep=True
            )
            self._touch(key)
        return self.objects[key].model_copy(deep=True)

    async def update(self, tenant: str, volume: NodeVolume) -> NodeVolume:
        key = tenant, volume.metadata.name or ""
        there = self.objects[key]
        if there.metadata.resource_version != volume.metadata.resource_version:
            raise Unavailable("Conflict", "it has changed")
        generation = (there.metadata.generation or 0) + (there.spec != volume.spec)
        self.objects[key] = volume.model_copy(deep=True)
        self.objects[key].metadata.generation = generation
        self._touch(key)
        return self.objects[key].model_copy(deep=True)

    async def delete(self, tenant: str, name: str) -> None:
        gone = self.objects.pop((tenant, name), None)
        if gone is not None:
            await self.files[gone.spec.node_name].remove(gone.metadata.uid or "")

    async def settled(self, tenant: str, name: str, seconds: float) -> NodeVolume | None:
        known = self.objects.get((tenant, name))
        if known is None:
            return None
        files, uid, source = self.files[known.spec.node_name], known.metadata.uid or "", known.spec.source
        origin = self.objects.get((tenant, source.volume or source.snapshot or "")) if source else None
        wanted = decide(known, await files.size(uid))
        status = NodeVolumeStatus(phase="Ready", created_at=known.status.created_at or times.format_time(times.now()))
        try:
            if wanted.make:
                size = quantity.whole(known.spec.size) if known.spec.size else None
                await files.make(uid, size, origin.metadata.uid if origin else None)
            elif wanted.grow_to is not None:
                await files.grow(uid, wanted.grow_to)
        except VolumeError as error:
            status = NodeVolumeStatus(phase="Failed", reason=error.reason, message=error.message)
        there = await files.size(uid)
        status.size = None if there is None else str(there)
        status.observed_generation = known.metadata.generation
        known.status = status
        return known.model_copy(deep=True)

    async def free_bytes(self, node: str) -> int | None:
        return await self.files[node].free_bytes()

    async def zone(self, node: str) -> str | None:
        return None

    def _touch(self, key: tuple[str, str]) -> None:
        self._revision += 1
        self.objects[key].metadata.resource_version = str(self._revision)
