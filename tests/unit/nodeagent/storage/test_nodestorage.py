"""What a node says it has in use: never less than what is open, and nothing that is closed."""

import asyncio
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import NodeStatus
from hypernetes.api.models.storage_v1 import VolumeAttachment
from hypernetes.api.status import StatusError
from hypernetes.nodeagent.node import MachineFacts, NodeIdentity, node_status
from hypernetes.nodeagent.storage import podstorage
from hypernetes.nodeagent.storage.claims import Disk
from hypernetes.nodeagent.storage.nodestorage import HANDLE, NodeStorage
from hypernetes.nodeagent.storage.processes import Key, Opened
from hypernetes.providers.volume.base import Owner, Unavailable

OWNER = Owner("acme", "uid-acme")
DISK = Disk("data", "d", "h", "pv")
NAME = "kubernetes.io/csi/d^acme/h"
KEY = Key("pod", "data")


class Processes:
    def __init__(self) -> None:
        self.open_: dict[Key, Opened] = {}
        self.fails_to: set[str] = set()

    def opened(self, pod_uid: str | None = None) -> list[Opened]:
        return [each for each in self.open_.values() if pod_uid in (None, each.pod_uid)]

    async def adopt(self) -> None: ...

    async def open(self, wanted: Opened) -> None:
        self.open_[wanted.key] = wanted
        if "open" in self.fails_to:
            await self.close(wanted.key)
            raise Unavailable("Away", "can't be opened")

    async def close(self, key: Key) -> None:
        if "close" in self.fails_to:
            raise Unavailable("Away", "Cinder doesn't answer")
        self.open_.pop(key, None)


class Server:
    """The Node's volumesInUse, and an attachment that is there."""

    def __init__(self) -> None:
        self.in_use: list[str] | None = None
        self.answers: list[str] = []  # what becomes of the next requests: "lost" is carried out, "down" isn't
        self.read_only = False

    async def patch(self, model: Any, name: str, body: Any, **rest: Any) -> None:
        becomes = self.answers.pop(0) if self.answers else ""
        if becomes != "down":
            self.in_use = body["status"]["volumesInUse"]
        if becomes:
            raise StatusError("ServiceUnavailable", "away")

    def items(self) -> list[Any]:
        return []


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def processes() -> Processes:
    return Processes()


@pytest.fixture
def storage(server: Server, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> NodeStorage:
    class Attachments:
        def on_key(self, told: Any) -> None: ...

    made = NodeStorage(server, "n1", processes, Attachments())  # type: ignore[arg-type]

    async def attached(tenant: str, disk: Disk) -> Any:
        return VolumeAttachment.from_dict(
            {
                "metadata": {"name": "a", "annotations": {HANDLE: disk.handle}},
                "spec": {"attacher": disk.driver, "nodeName": "n1", "source": {"persistentVolumeName": "pv"}},
                "status": {"attached": True},
            }
        )

    monkeypatch.setattr(made, "attached", attached)
    monkeypatch.setattr(made, "still_attached", attached)
    return made


def pod(storage: NodeStorage) -> podstorage.PodStorage:
    return podstorage.PodStorage(None, storage, OWNER, "default", "pod", podstorage.no_names)  # type: ignore[arg-type]


async def test_it_is_said_before_it_is_opened_and_taken_back_after_it_is_closed(
    storage: NodeStorage, server: Server, processes: Processes
) -> None:
    await storage.adopt()
    await pod(storage)._open(DISK)
    assert server.in_use == [NAME]
    await podstorage.give_back(storage, "pod")
    assert (server.in_use, processes.opened()) == (None, [])


async def test_what_could_neither_be_opened_nor_closed_is_in_use(
    storage: NodeStorage, server: Server, processes: Processes
) -> None:
    """As when Cinder goes away between."""
    await storage.adopt()
    processes.fails_to = {"open", "close"}
    for _ in range(2):
        with pytest.raises(Unavailable):
            await pod(storage)._open(DISK)
        assert (server.in_use, len(processes.opened())) == ([NAME], 1)
    processes.fails_to = set()
    await podstorage.give_back(storage, "pod")
    assert server.in_use is None


async def test_what_could_not_be_opened_is_not_in_use(
    storage: NodeStorage, server: Server, processes: Processes
) -> None:  # fmt: skip
    await storage.adopt()
    processes.fails_to = {"open"}
    with pytest.raises(Unavailable):
        await pod(storage)._open(DISK)
    assert server.in_use is None


@pytest.mark.parametrize("becomes", ["lost", "down"])
async def test_what_could_not_be_said_is_put_right(
    storage: NodeStorage, server: Server, processes: Processes, becomes: str
) -> None:
    await storage.adopt()
    server.answers = [becomes, "down"]
    with pytest.raises(StatusError):
        await pod(storage)._open(DISK)
    assert processes.opened() == []
    await podstorage.give_back(storage, "pod")  # the pod was deleted meanwhile
    assert server.in_use is None
    await pod(storage)._open(DISK)
    server.answers = ["down"]
    with pytest.raises(StatusError):
        await podstorage.give_back(storage, "pod")
    assert (server.in_use, processes.opened()) == ([NAME], [])
    await podstorage.give_back(storage, "pod")
    assert server.in_use is None


async def test_two_pods_that_read_one_volume_are_two(
    storage: NodeStorage, server: Server, processes: Processes
) -> None:
    await storage.adopt()
    second = podstorage.PodStorage(
        None, storage, OWNER, "default", "pod-2", podstorage.no_names  # type: ignore[arg-type]
    )  # fmt: skip
    await asyncio.gather(pod(storage)._open(DISK), second._open(DISK))
    await podstorage.give_back(storage, "pod")
    assert server.in_use == [NAME]
    await podstorage.give_back(storage, "pod-2")
    assert server.in_use is None


async def test_a_node_that_is_made_again_says_what_is_open(storage: NodeStorage, processes: Processes) -> None:
    processes.open_[KEY] = Opened("pod", "data", "d", OWNER, "h")
    identity = NodeIdentity("n1", "10.0.0.1", 10250, "hypernetes://1")
    facts = MachineFacts(1, 1, 1, 1, 1, 1, 1, "", "", "", "")
    before = NodeStatus(volumes_in_use=["what an earlier agent said"])

    def said(previous: NodeStatus) -> list[str]:
        return node_status(identity, facts, previous, [], "", "2026-01-01T00:00:00Z", storage.in_use()).volumes_in_use

    assert said(before) == before.volumes_in_use, "nothing is known before adoption"
    await storage.adopt()
    assert said(NodeStatus()) == [NAME]
    await podstorage.give_back(storage, "pod")
    assert said(before) == []
