"""Cinder's REST API in memory, as far as volumes and attachments go. A test says what goes wrong."""

from collections import deque
from collections.abc import Callable
from typing import Any

from hypernetes.providers.volume.base import Unavailable
from hypernetes.providers.volume.cinder.api import Missing

Json = dict[str, Any]


class FakeAPI:
    def __init__(self) -> None:
        self.volumes: dict[str, Json] = {}
        self.messages: list[str] = []
        self.types: list[Json] = []
        self.attachments: dict[str, Json] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: deque[Exception] = deque()  # of the next calls that change something
        self.lost_answers = 0  # of the next ones that go through and aren't told
        self.made_as: Json = {}  # over what a new volume is
        self.on_delete: Callable[[Json], None] | None = None

    async def get(self, project: str, path: str) -> Json:
        path, _, query = path.partition("?")
        kind, *id = path.strip("/").split("/")
        if kind == "messages":
            return {"messages": [{"user_message": text} for text in self.messages]}
        if kind == "types":
            return {"volume_types": self.types}
        if kind == "attachments" and not id:
            return {"attachments": [dict(each) for each in self.attachments.values()]}
        if id == ["detail"]:
            name = query.partition("name=")[2]
            return {"volumes": [dict(each) for each in self.volumes.values() if each["name"] == name]}
        kept = self.volumes if kind == "volumes" else self.attachments
        if id[0] not in kept:
            raise Missing(path)
        return {kind.removesuffix("s"): dict(kept[id[0]])}

    async def post(self, project: str, path: str, body: Json) -> Json:
        self._called("POST", path)
        if path == "/volumes":
            id = f"v-{len(self.calls)}"
            wanted = {**body["volume"], "id": id, "status": "available", "created_at": f"{len(self.volumes):04}"}
            self.volumes[id] = {"availability_zone": "nova", **wanted, **self.made_as}
        elif path == "/attachments":
            asked = body["attachment"]
            id = f"a-{len(self.calls)}"
            self.attachments[id] = {"id": id, "instance": asked["instance_uuid"], "status": "reserved"}
            self._maybe_lost()
            return {"attachment": self.attachments[id]}
        self._maybe_lost()
        return {}

    async def put(self, project: str, path: str, body: Json) -> Json:
        self._called("PUT", path)
        self.attachments[path.rpartition("/")[2]]["connection_info"] = {"driver_volume_type": "rbd"}
        return {}

    async def delete(self, project: str, path: str) -> None:
        self._called("DELETE", path)
        id = path.rpartition("/")[2]
        kept = self.volumes if path.startswith("/volumes") else self.attachments
        if self.on_delete is not None and id in kept:
            self.on_delete(kept[id])
        else:
            kept.pop(id, None)

    def close(self) -> None:
        """Nothing is open."""

    def _called(self, method: str, path: str) -> None:
        self.calls.append((method, path))
        if self.faults:
            raise self.faults.popleft()

    def _maybe_lost(self) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unavailable("CinderUnavailable", "ConnectTimeout")
