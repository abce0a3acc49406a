"""Cinder's attachments: one for each volume and node of ours, and those that others have."""

import uuid
from typing import Any

from hypernetes.providers.volume.base import Handle, Refused, Unavailable
from hypernetes.providers.volume.cinder.api import API, Missing
from hypernetes.providers.volume.cinder.volumes import Json, Volumes

_NAMESPACE = uuid.UUID("3f0fb1ac-5a6e-4c63-9d3c-1d0c0c5f9a51")  # for names of nodes; Cinder wants the id of a server
_USABLE = frozenset({"available", "reserved", "attaching", "in-use"})
_BROKEN = frozenset({"error_attaching", "error_detaching"})


class Attachments:
    def __init__(self, api: API, volumes: Volumes, cluster_id: str) -> None:
        self._api, self._volumes, self._cluster_id = api, volumes, cluster_id

    def instance(self, node: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{self._cluster_id}/{node}"))

    async def all(self, volume: Handle) -> list[Json]:
        path = f"/attachments?volume_id={volume.id}"
        listed: list[Json] = (await self._api.get(self._volumes.project(volume.owner), path))["attachments"]
        return listed

    async def of_node(self, volume: Handle, node: str) -> list[Json]:
        """Several where a call that timed out went through; the first one counts."""
        own = [each for each in await self.all(volume) if each.get("instance") == self.instance(node)]
        return sorted(own, key=lambda each: str(each["id"]))

    async def ensure(self, volume: Handle, node: str, *, read_only: bool) -> Json:
        """The node's, with its connection_info. Raises Refused where another has the volume, Unavailable."""
        project, found = self._volumes.project(volume.owner), await self._volumes.get(volume)
        if found["status"] not in _USABLE:
            raise Unavailable("VolumeBusy", f"volume {volume.id} is {found['status']}")
        if found.get("encrypted"):
            raise Refused("EncryptionUnsupported", "the volume's type is encrypted, which can't be honoured")
        present = await self.all(volume)
        if len({each.get("instance") for each in present} - {self.instance(node)}) and not found.get("multiattach"):
            raise Refused("InUse", f"volume {volume.id} is attached elsewhere")
        own = await self.of_node(volume, node)
        for broken in [each for each in own if each["status"] in _BROKEN]:
            await self.end(volume, broken["id"])
        id = next((each["id"] for each in own if each["status"] not in _BROKEN), None)
        if id is None:
            wanted = {"volume_uuid": volume.id, "instance_uuid": self.instance(node), "mode": _mode(read_only)}
            made = {"attachment": {**wanted, "connector": _connector(node)}}
            try:
                id = (await self._api.post(project, "/attachments", made))["attachment"]["id"]
            except Refused as error:
                raise await self._refusal(volume, node, error) from error
        return await self._connected(project, id, node)

    async def complete(self, volume: Handle, attachment: Json) -> None:
        """The volume counts as in use."""
        if attachment["status"] != "attached":
            path = f"/attachments/{attachment['id']}/action"
            await self._api.post(self._volumes.project(volume.owner), path, {"os-complete": {}})

    async def end(self, volume: Handle, id: str) -> None:
        await self._api.delete(self._volumes.project(volume.owner), f"/attachments/{id}")

    async def get(self, volume: Handle, id: str) -> Json | None:
        try:
            return await self._get(self._volumes.project(volume.owner), id)
        except Missing:
            return None

    async def _connected(self, project: str, id: str, node: str) -> Json:
        try:
            attachment = await self._get(project, id)
            if not attachment.get("connection_info"):
                wanted = {"attachment": {"connector": _connector(node)}}
                await self._api.put(project, f"/attachments/{id}", wanted)
                attachment = await self._get(project, id)
        except Missing as error:
            raise Unavailable("AttachmentEnded", "the attachment has been ended meanwhile") from error
        return attachment

    async def _get(self, project: str, id: str) -> Json:
        found: Json = (await self._api.get(project, f"/attachments/{id}"))["attachment"]
        return found

    async def _refusal(self, volume: Handle, node: str, error: Refused) -> Exception:
        """Why Cinder took no attachment: another has come first, or the volume is between two states."""
        others = {each.get("instance") for each in await self.all(volume)} - {self.instance(node)}
        if others:
            return Refused("InUse", f"volume {volume.id} is attached elsewhere")
        return Unavailable("VolumeBusy", error.message)


def _mode(read_only: bool) -> str:
    return "ro" if read_only else "rw"


def _connector(node: str) -> dict[str, Any]:
    """What Cinder is told of the node."""
    return {"host": node, "platform": "x86_64", "os_type": "linux", "multipath": False}
