"""Snapshots of projects: made once for each request, found again, deleted."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from hypernetes.providers.volume.base import Handle, Owner, Refused, Snapshot, SnapshotRequest, Unavailable
from hypernetes.providers.volume.cinder import marks
from hypernetes.providers.volume.cinder.api import API
from hypernetes.providers.volume.cinder.volumes import GIB, Json, Volumes, first
from hypernetes.providers.volume.cinder.waiting import settled

_MAKING, _ENDING = frozenset({"creating"}), frozenset({"deleting"})


class Snapshots:
    def __init__(self, api: API, volumes: Volumes, cluster_id: str) -> None:
        self._api, self._volumes, self._cluster_id = api, volumes, cluster_id

    async def create(self, request: SnapshotRequest) -> Snapshot:
        owner = request.source.owner
        if request.parameters:
            raise Refused("ParameterUnknown", f"the parameter {sorted(request.parameters)[0]!r} is not known")
        made = await self._made(owner, request.name)
        if not made:
            await self._volumes.get(request.source)
            wanted = {
                "volume_id": request.source.id, "name": request.name,
                "metadata": marks.of_snapshot(self._cluster_id, request.name, owner),
            }  # fmt: skip
            await self._api.post(self._volumes.project(owner), "/snapshots", {"snapshot": wanted})
            made = await self._made(owner, request.name)
        snapshot = first(made)
        if snapshot is None:
            raise Unavailable("Creating", "Cinder doesn't list the snapshot yet")
        if snapshot["volume_id"] != request.source.id:
            raise Refused("AlreadyExists", f"{request.name} exists already, of another volume")
        for other in made:
            if other is not snapshot:
                await self._end(Handle(owner, other["id"]))
        return await self._ready(Handle(owner, snapshot["id"]))

    async def discard(self, owner: Owner, name: str) -> None:
        """Deletes what was made for a request of this name, if anything was."""
        for each in await self._made(owner, name):
            await self._end(Handle(owner, each["id"]))

    async def delete(self, snapshot: Handle) -> None:
        found = await self._volumes.snapshot(snapshot)
        if found is None:
            return
        if not marks.is_ours(found, self._cluster_id):
            raise Refused("NotOurs", f"snapshot {snapshot.id} was made by others; it is left as it is")
        await self._end(snapshot)

    async def _made(self, owner: Owner, name: str) -> list[Json]:
        path = f"/snapshots/detail?name={quote(name)}"
        listed = (await self._api.get(self._volumes.project(owner), path))["snapshots"]
        return [each for each in listed if marks.answers(each, self._cluster_id, owner, name)]

    async def _ready(self, snapshot: Handle) -> Snapshot:
        found = await settled(lambda: self._volumes.snapshot(snapshot), _MAKING)
        if found is None or found["status"] in _MAKING:
            raise Unavailable("Creating", f"snapshot {snapshot.id} is not ready yet")
        if found["status"] != "available":
            await self._end(snapshot)
            raise Unavailable("CreateFailed", f"Cinder couldn't make the snapshot: it is {found['status']}")
        return Snapshot(snapshot.id, int(found["size"]) * GIB, _seconds(found))

    async def _end(self, snapshot: Handle) -> None:
        try:
            await self._api.delete(self._volumes.project(snapshot.owner), f"/snapshots/{snapshot.id}")
        except Refused as error:  # busy
            raise Unavailable("InUse", error.message) from error
        found = await settled(lambda: self._volumes.snapshot(snapshot), _ENDING)
        if found is not None:
            raise Unavailable("Deleting", f"snapshot {snapshot.id} is {found['status']}")


def _seconds(found: dict[str, Any]) -> float:
    created = datetime.fromisoformat(str(found["created_at"]))
    return (created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp()
