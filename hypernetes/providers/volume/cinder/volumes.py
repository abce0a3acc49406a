"""Volumes of projects: made once for each request, found again, grown, deleted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

from hypernetes.providers.volume.base import (
    IO_LIMITS,
    Exhausted,
    Handle,
    Owner,
    Refused,
    Source,
    Unavailable,
    VolumeRequest,
)
from hypernetes.providers.volume.cinder import marks
from hypernetes.providers.volume.cinder.api import API, Missing
from hypernetes.providers.volume.cinder.waiting import settled

GIB = 1 << 30
TYPE, ZONE = "type", "availability"
_KNOWN = IO_LIMITS | {TYPE, ZONE}
_OTHERS = "csi.storage.k8s.io/"  # what begins so is about the file system, and not for us
_SHARED = frozenset({"ReadOnlyMany", "ReadWriteMany"})
_MAKING = frozenset({"creating", "downloading"})
_GROWING = frozenset({"extending"})
_ENDING = frozenset({"deleting"})
_DELETABLE = frozenset({"available", "error", "error_restoring", "error_extending", "error_managing"})

Json = dict[str, Any]


def gibibytes(size_bytes: int) -> int:
    """Cinder's unit, rounded up."""
    return max(1, -(-size_bytes // GIB))


def check(request: VolumeRequest, types: frozenset[str] | None) -> None:
    """Whether the parameters can be honoured; `types` are those permitted. Pure. Raises Refused."""
    unknown = sorted(each for each in request.parameters if each not in _KNOWN and not each.startswith(_OTHERS))
    if unknown:
        raise Refused("ParameterUnknown", f"the StorageClass's parameter {unknown[0]!r} is not known")
    if mutable := sorted(set(request.mutable_parameters) - IO_LIMITS):
        raise Refused("ParameterUnknown", f"the VolumeAttributesClass's parameter {mutable[0]!r} is not known")
    wanted = request.parameters.get(TYPE)
    if types is not None and wanted is not None and wanted not in types:
        raise Refused("TypeForbidden", f"the volume type {wanted!r} is not among those that are offered")
    zone = request.parameters.get(ZONE)
    if zone and request.topology.zone and zone != request.topology.zone:
        raise Refused("ZoneConflict", f"the StorageClass is for {zone!r}, the pod for {request.topology.zone!r}")


def body(request: VolumeRequest, cluster_id: str, clone: str | None = None) -> Json:
    """What is posted for a request; `clone` is a snapshot of the volume that is its source. Pure."""
    source = request.source or Source()
    given = {
        "name": request.name, "size": gibibytes(request.size_bytes), "volume_type": request.parameters.get(TYPE),
        "availability_zone": request.parameters.get(ZONE) or request.topology.zone, "imageRef": source.image,
        "snapshot_id": source.snapshot or clone, "metadata": marks.of_volume(cluster_id, request),
    }  # fmt: skip
    return {"volume": {name: value for name, value in given.items() if value is not None}}


def first(made: Sequence[Json]) -> Json | None:
    """Of several for one request (a call that timed out and went through) the one that everybody takes. Pure."""
    return min(made, key=lambda each: (str(each.get("created_at")), str(each.get("id"))), default=None)


class Volumes:
    def __init__(self, api: API, cluster_id: str, shared_project: str | None) -> None:
        self._api, self._cluster_id, self._shared_project = api, cluster_id, shared_project

    def project(self, owner: Owner) -> str:
        """Where an owner's volumes lie. Raises Refused."""
        project = owner.project_id or self._shared_project
        if project is None:
            raise Refused("NoProject", "the tenant is no Keystone project, so it has no volumes in Cinder")
        return project

    async def find(self, volume: Handle) -> Json | None:
        """None for one that isn't there, or isn't the owner's."""
        return await self._one(volume, "volumes", "volume")

    async def get(self, volume: Handle) -> Json:
        """Raises Refused, the same for one that isn't there and another's."""
        if found := await self.find(volume):
            return found
        raise Refused("NotFound", f"there is no volume {volume.id}")

    async def snapshot(self, snapshot: Handle) -> Json | None:
        return await self._one(snapshot, "snapshots", "snapshot")

    async def create(self, request: VolumeRequest, snapshot_of: Callable[[str], Awaitable[str]]) -> Json:
        """The volume, ready; `snapshot_of` makes a snapshot of a volume that is its source. Raises VolumeError."""
        made = await self._made(request)
        if not made:
            await self._check_type(request)
            await self._check_source(request)
            clone = await snapshot_of(request.source.volume) if request.source and request.source.volume else None
            await self._api.post(self.project(request.owner), "/volumes", body(request, self._cluster_id, clone))
            made = await self._made(request)
        volume = first(made)
        if volume is None:
            raise Unavailable("Creating", "Cinder doesn't list the volume yet")
        for other in made:
            if other is not volume and other["status"] in _DELETABLE:
                await self._api.delete(self.project(request.owner), f"/volumes/{other['id']}")
        if not marks.same_request(volume, request):
            raise Refused("AlreadyExists", f"{request.name} exists already, with another size or source")
        return await self._ready(request, volume)

    async def delete(self, volume: Handle) -> None:
        """Only what we made. Raises VolumeError."""
        found = await self.find(volume)
        if found is None:
            return
        if not marks.is_ours(found, self._cluster_id):
            raise Refused("NotOurs", f"volume {volume.id} was made by others; it is left as it is")
        found = await settled(lambda: self.find(volume), _MAKING)
        if found is None:
            return
        if found["status"] not in _DELETABLE | _ENDING:
            raise Unavailable("InUse", f"volume {volume.id} is {found['status']}{_remedy(found['status'])}")
        await self._end(self.project(volume.owner), volume.id)

    async def extend(self, volume: Handle, size_bytes: int) -> int:
        found, wanted = await self.get(volume), gibibytes(size_bytes)
        if found["status"] not in _GROWING and found["size"] < wanted:
            action = {"os-extend": {"new_size": wanted}}
            await self._api.post(self.project(volume.owner), f"/volumes/{volume.id}/action", action)
        grown = await settled(lambda: self.find(volume), _GROWING)
        if grown is None:
            raise Refused("NotFound", f"there is no volume {volume.id}")
        if grown["size"] < wanted:
            raise Unavailable("Extending", f"volume {volume.id} is {grown['status']} with {grown['size']} GiB")
        return int(grown["size"]) * GIB

    async def _one(self, handle: Handle, path: str, kind: str) -> Json | None:
        try:
            found = (await self._api.get(self.project(handle.owner), f"/{path}/{quote(handle.id, safe='')}"))[kind]
        except Missing:
            return None
        own = handle.owner.project_id is not None or marks.belongs(found, handle.owner)
        return found if own else None

    async def _made(self, request: VolumeRequest) -> list[Json]:
        """What earlier calls have made for it."""
        path = f"/volumes/detail?name={quote(request.name)}"
        listed = (await self._api.get(self.project(request.owner), path))["volumes"]
        return [each for each in listed if marks.answers(each, self._cluster_id, request.owner, request.name)]

    async def _check_type(self, request: VolumeRequest) -> None:
        wanted = request.parameters.get(TYPE)
        if wanted is None:
            return
        types = (await self._api.get(self.project(request.owner), "/types"))["volume_types"]
        found = next((each for each in types if wanted in (each["name"], each["id"])), None)
        if found is None:
            raise Refused("TypeUnknown", f"there is no volume type {wanted!r} for this project")
        shares = "true" in str((found.get("extra_specs") or {}).get("multiattach", "")).lower()
        if _SHARED & set(request.access_modes) and not shares:
            raise Refused("NotShareable", f"volumes of type {wanted!r} can't be attached to several nodes")

    async def _check_source(self, request: VolumeRequest) -> None:
        source, owner = request.source, request.owner
        if source is None or source.image is not None:
            return
        found = (
            await self.find(Handle(owner, source.volume)) if source.volume
            else await self.snapshot(Handle(owner, source.snapshot or ""))
        )  # fmt: skip
        if found is None:
            raise Refused("NotFound", f"there is no {marks.described(source)}")
        if found["size"] > gibibytes(request.size_bytes):
            raise Refused("TooSmall", f"the source has {found['size']} GiB")

    async def _ready(self, request: VolumeRequest, volume: Json) -> Json:
        handle = Handle(request.owner, volume["id"])
        found = await settled(lambda: self.find(handle), _MAKING)
        if found is None:
            raise Unavailable("Creating", f"volume {handle.id} is gone again")
        if found["status"] in _MAKING:
            raise Unavailable("Creating", f"volume {handle.id} is {found['status']}")
        project = self.project(request.owner)
        if found["status"] == "error":
            why = await self._reason(project, handle.id)
            await self._end(project, handle.id)
            raise (Exhausted if "weighted backend" in why or "space" in why else Unavailable)("CreateFailed", why)
        if found.get("encrypted"):
            await self._end(project, handle.id)
            raise Refused("EncryptionUnsupported", "the volume type encrypts, which can't be honoured")
        if _SHARED & set(request.access_modes) and not found.get("multiattach"):
            await self._end(project, handle.id)
            raise Refused("NotShareable", "volumes of this type can't be attached to several nodes")
        return found

    async def _reason(self, project: str, id: str) -> str:
        """What Cinder tells the project's people about a volume that failed."""
        said = (await self._api.get(project, f"/messages?resource_uuid={id}")).get("messages") or []
        texts = [str(each.get("user_message")) for each in said]
        return f"Cinder couldn't make the volume: {texts[0] if texts else 'it says no reason'}"

    async def _end(self, project: str, id: str) -> None:
        """Deletes it and looks until it is gone."""
        try:
            await self._api.delete(project, f"/volumes/{id}")
        except Refused as error:  # it has snapshots, or somebody has just attached it
            raise Unavailable("InUse", error.message) from error

        async def look() -> Json | None:
            try:
                return dict((await self._api.get(project, f"/volumes/{id}"))["volume"])
            except Missing:
                return None

        found = await settled(look, _ENDING)
        if found is not None:
            raise Unavailable("Deleting", f"volume {id} is {found['status']}{_remedy(found['status'])}")


def _remedy(status: str) -> str:
    """What people can do about a status that Cinder doesn't leave by itself."""
    if status in ("detaching", "attaching", "error_deleting", "maintenance"):
        return "; if it stays so, Cinder's administrator resets it (`openstack volume set --state`)"
    return ""
