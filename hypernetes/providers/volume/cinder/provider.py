"""The cluster-wide half: see hypernetes/providers/volume/base.py, which has the promises."""

from hypernetes.providers.volume.base import (
    ControlContext,
    Exhausted,
    Handle,
    Refused,
    Snapshot,
    SnapshotRequest,
    Topology,
    Unavailable,
    Volume,
    VolumeRequest,
)
from hypernetes.providers.volume.cinder import ceph, configuration, connections, fencing
from hypernetes.providers.volume.cinder.api import API
from hypernetes.providers.volume.cinder.attachments import Attachments
from hypernetes.providers.volume.cinder.snapshots import Snapshots
from hypernetes.providers.volume.cinder.volumes import GIB, TYPE, ZONE, Json, Volumes, check


class CinderVolumeProvider:
    driver = configuration.DRIVER
    permitted_parameters = frozenset({TYPE, ZONE})

    def __init__(self, context: ControlContext) -> None:
        """Raises ConfigurationError."""
        self._configuration = configuration.of_control(context.configuration)
        self._api = API(self._configuration)
        self._volumes = Volumes(self._api, context.cluster_id, self._configuration.project)
        self._snapshots = Snapshots(self._api, self._volumes, context.cluster_id)
        self._attachments = Attachments(self._api, self._volumes, context.cluster_id)

    async def create(self, request: VolumeRequest) -> Volume:
        check(request, self._configuration.types)
        clone = f"clone-{request.name}"

        async def snapshot_of(volume: str) -> str:
            return (await self._snapshots.create(SnapshotRequest(clone, Handle(request.owner, volume)))).id

        # Cinder clones volumes too, but of RBD's it then keeps the source as an image `….deleted` for good.
        from_volume = bool(request.source and request.source.volume)
        try:
            made = await self._volumes.create(request, snapshot_of)
        except (Refused, Exhausted):
            if from_volume:
                await self._snapshots.discard(request.owner, clone)
            raise
        if from_volume:
            await self._snapshots.discard(request.owner, clone)
        zoned = request.parameters.get(ZONE) or request.topology.zone
        return Volume(made["id"], int(made["size"]) * GIB, Topology(zone=made["availability_zone"] if zoned else None))

    async def delete(self, volume: Handle) -> None:
        await self._volumes.delete(volume)

    async def extend(self, volume: Handle, size_bytes: int) -> int:
        return await self._volumes.extend(volume, size_bytes)

    async def snapshot(self, request: SnapshotRequest) -> Snapshot:
        return await self._snapshots.create(request)

    async def delete_snapshot(self, snapshot: Handle) -> None:
        await self._snapshots.delete(snapshot)

    async def attach(self, volume: Handle, node: str, *, read_only: bool) -> dict[str, str]:
        attachment = await self._attachments.ensure(volume, node, read_only=read_only)
        try:
            image = connections.image(attachment["id"], attachment["connection_info"])
            credential = ceph.credential_of(image, self._configuration.ceph)
        except Refused:
            await self._attachments.end(volume, attachment["id"])
            raise
        present = {str(each["id"]) for each in await self._attachments.all(volume)}
        try:
            await fencing.permit(image, credential, node, present)
        except ceph.Absent as error:
            raise Unavailable("VolumeGone", f"the image of volume {volume.id} is gone from Ceph") from error
        await self._attachments.complete(volume, attachment)
        return connections.metadata(image, attachment["connection_info"])

    async def detach(self, volume: Handle, node: str) -> None:
        """A client that is still put down is blocked too: where the node has closed the volume, there is none."""
        await self.fence(volume, node)
        for attachment in await self._of_node(volume, node):
            await self._attachments.end(volume, attachment["id"])

    async def fence(self, volume: Handle, node: str) -> None:
        for listed in await self._of_node(volume, node):
            attachment = await self._attachments.get(volume, listed["id"])
            if attachment is None or not attachment.get("connection_info"):
                continue  # never told to a node
            image = connections.image(attachment["id"], attachment["connection_info"])
            await fencing.fence(image, ceph.credential_of(image, self._configuration.ceph))

    async def capacity(self, topology: Topology) -> int | None:
        return None  # Cinder tells its administrators only, and overcommits

    async def adopt(self, volume: Handle) -> Volume:
        found = await self._volumes.get(volume)
        if found.get("encrypted"):
            raise Refused("EncryptionUnsupported", "the volume's type is encrypted, which can't be honoured")
        return Volume(found["id"], int(found["size"]) * GIB)

    async def close(self) -> None:
        self._api.close()

    async def _of_node(self, volume: Handle, node: str) -> list[Json]:
        if await self._volumes.find(volume) is None:
            return []
        return await self._attachments.of_node(volume, node)
