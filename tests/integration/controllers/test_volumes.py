"""Volumes on a real API server with a real scheduler: claims, pods, attachments, copies, growth, and deaths on the way.

The controllers run in this process, with a driver in memory, so that they can be made to die at each of their steps.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Event, Node, PersistentVolume, PersistentVolumeClaim, Pod
from hypernetes.api.models.snapshot_v1 import VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent
from hypernetes.api.models.storage_v1 import StorageClass, VolumeAttachment
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client
from hypernetes.controllers import manager
from hypernetes.controllers.observing import Observed
from hypernetes.controllers.volumes import faults
from hypernetes.nodeagent import hollow
from hypernetes.providers.volume.fake import FakeVolumes
from tests.integration.control_plane import ControlPlane, running

pytestmark = pytest.mark.kills  # the controllers run here, and are killed by the test

TENANT, DRIVER = "acme", "fake.hypernetes.io"
CONTROLLERS = (
    "persistentvolume-binder,persistentvolume-phases,persistentvolume-protection,persistentvolumeclaim-protection,"
    "ephemeral-volume,volume-provisioner,volume-reclaimer,attachdetach,volumeexpand,volumesnapshot,volumesnapshotcontent"
)
_DEADLINE_SECONDS = 90.0


class Crash(BaseException):
    """The process dies here."""


class World:
    def __init__(self, plane: ControlPlane, client: Client) -> None:
        self.plane, self.client = plane, client
        self.driver = FakeVolumes(by_node=True)
        self._at_work: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        settings = manager.Settings(controllers=CONTROLLERS, volumes=(self.driver,))
        work = manager.Controllers(self.client, hollow.Network(), settings, Observed(), "alone")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(work.run())
            await work.narrow(("alone",))
            await work.widen(tenants=True, elected=True)

    @asynccontextmanager
    async def controllers(self) -> AsyncIterator[None]:
        self._at_work = task = asyncio.ensure_future(self._run())
        try:
            yield
            if task.done():
                task.result()
        finally:
            self._at_work = None
            task.cancel()
            await asyncio.wait([task])

    async def until_crash(self, step: str) -> None:
        """Lets the controllers work, and die after a step."""

        def at_step(passed: str) -> None:
            if passed == step:
                raise Crash

        faults.at_step = at_step
        task = asyncio.ensure_future(self._run())
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                await asyncio.wait([task])
            died = task.exception()
            assert isinstance(died, BaseExceptionGroup)
            assert died.subgroup(Crash) is not None, died
        finally:
            faults.at_step = None
            task.cancel()

    async def kubectl(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        return await self.plane.kubectl(TENANT, *arguments, stdin=stdin, fails=fails)

    async def apply(self, *objects: dict[str, Any]) -> None:
        await self.kubectl("apply", "-f", "-", stdin="\n".join(map(json.dumps, objects)))

    async def eventually(self, look: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not (found := await look()):
                if self._at_work is not None and self._at_work.done():
                    self._at_work.result()
                await asyncio.sleep(0.1)
        return found

    async def all(self, model: Any) -> list[Any]:
        return (await self.client.list(model, tenant=TENANT)).items

    async def claim(self, name: str) -> PersistentVolumeClaim:
        return await self.client.get(PersistentVolumeClaim, name, namespace="default", tenant=TENANT)

    async def bound(self, name: str) -> PersistentVolumeClaim | None:
        found = await self.claim(name)
        return found if found.status.phase == "Bound" else None

    async def attached(self) -> VolumeAttachment | None:
        found = await self.all(VolumeAttachment)
        return found[0] if len(found) == 1 and found[0].status.attached else None

    async def remove_pod(self, name: str) -> None:
        """As its node's agent does in the end."""
        with suppress(StatusError):
            await self.client.delete(Pod, name, namespace="default", tenant=TENANT, grace_seconds=0)

    async def nothing_left(self) -> bool:
        kinds = (PersistentVolumeClaim, PersistentVolume, VolumeAttachment, VolumeSnapshot, VolumeSnapshotContent)
        objects = [found for kind in kinds for found in await self.all(kind)]
        return not objects and not self.driver.volumes and not self.driver.snapshots

    async def events(self, reason: str) -> list[str]:
        items = (await self.client.list(Event, tenant=TENANT)).items
        return [event.message or "" for event in items if event.reason == reason]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path / "c", "scheduler", tenant=TENANT) as (plane, client):
        for name in ("n1", "n2"):
            await add_node(client, name)
        mark = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
        body = {
            "metadata": {"name": "fast", **mark}, "provisioner": DRIVER, "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        }  # fmt: skip
        await client.create(StorageClass.from_dict(body), tenant=SYSTEM_TENANT)
        mark = {"annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}}
        body = {"metadata": {"name": "copies", **mark}, "driver": DRIVER, "deletionPolicy": "Delete"}
        await client.create(VolumeSnapshotClass.from_dict(body), tenant=SYSTEM_TENANT)
        yield World(plane, client)


async def add_node(client: Client, name: str) -> None:
    resources = {"cpu": "2", "memory": "4Gi", "pods": "10"}
    status = {"allocatable": resources, "capacity": resources, "conditions": [{"type": "Ready", "status": "True"}]}
    labels = {"kubernetes.io/hostname": name}
    node = await client.create(Node.from_dict({"metadata": {"name": name, "labels": labels}}), tenant=SYSTEM_TENANT)
    await client.patch(Node, name, {"status": status}, tenant=SYSTEM_TENANT, subresource="status")
    if node.spec.taints:  # as of a node that has just registered
        await client.patch(Node, name, {"spec": {"taints": None}}, tenant=SYSTEM_TENANT)


def claim(name: str = "data", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }  # fmt: skip


def pod(name: str = "p", claim_name: str = "data", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False, "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}], **spec,
        },
    }  # fmt: skip


def snapshot(name: str = "s") -> dict[str, Any]:
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": name},
        "spec": {"source": {"persistentVolumeClaimName": "data"}},
    }  # fmt: skip


async def test_a_claim_and_a_pod_are_all_it_takes(world: World) -> None:
    async with world.controllers():
        await world.apply(claim(), pod())
        bound = await world.eventually(lambda: world.bound("data"))
        attachment = await world.eventually(world.attached)
        found = await world.client.get(Pod, "p", namespace="default", tenant=TENANT)
        assert found.spec.node_name == attachment.spec.node_name
        assert (await world.kubectl("get", "pvc", "data", "--no-headers")).split()[:6] == [
            "data", "Bound", bound.spec.volume_name, "1Gi", "RWO", "fast",
        ]  # fmt: skip
        assert (await world.kubectl("get", "pv", "--no-headers")).split()[1:6] == [
            "1Gi", "RWO", "Delete", "Bound", "default/data",
        ]  # fmt: skip

        # it grows, as far as is the controllers' to do
        await world.kubectl("patch", "pvc", "data", "-p", '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}')

        async def pending() -> bool:
            conditions = (await world.claim("data")).status.conditions
            return [each.type for each in conditions] == ["FileSystemResizePending"]

        await world.eventually(pending)
        assert (await world.all(PersistentVolume))[0].spec.capacity == {"storage": "2Gi"}
        refused = await world.kubectl(
            "patch", "pvc", "data", "-p", '{"spec":{"resources":{"requests":{"storage":"1Mi"}}}}', fails=True
        )
        assert "can not be less" in refused

        # a copy of it, in a claim of its own
        await world.apply(snapshot())
        await world.kubectl("wait", "volumesnapshot/s", "--for=jsonpath={.status.readyToUse}=true", "--timeout=90s")
        source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
        size = {"requests": {"storage": "2Gi"}}
        await world.apply(claim("copy", dataSource=source, resources=size), pod("q", "copy"))
        await world.eventually(lambda: world.bound("copy"))

        # the volume moves with its pod, once nothing has it open any more
        for name in ("p", "q"):
            await world.remove_pod(name)
        await world.kubectl("delete", "vs/s", "pvc/data", "pvc/copy", "--wait=false")
        await world.eventually(world.nothing_left)


async def test_many_writers_are_refused_and_told_of_nfs(world: World) -> None:
    async with world.controllers():
        await world.apply(claim(accessModes=["ReadWriteMany"]), pod())
        (said, *_) = await world.eventually(lambda: world.events("ProvisioningFailed"))
        assert "nfs" in said


STEPS = (
    faults.CLAIM_HELD, faults.VOLUME_CREATED, faults.VOLUME_RECORDED, faults.VOLUME_CLAIMED, faults.CLAIM_BOUND,
    faults.ATTACHMENT_RECORDED, faults.ATTACHED,
)  # fmt: skip
ENDS = (
    faults.ATTACHMENT_ENDING, faults.DETACHED, faults.VOLUME_DELETED, faults.VOLUME_LET_GO, faults.SNAPSHOT_DELETED,
)  # fmt: skip


async def end(world: World) -> None:
    await world.remove_pod("p")
    await world.kubectl("delete", "vs,pvc", "--all", "--wait=false")


async def test_nothing_is_left_by_processes_that_die_at_any_step(world: World) -> None:
    for step in STEPS:
        await world.apply(claim(), pod())
        await world.until_crash(step)
        async with world.controllers():
            await world.eventually(lambda: world.bound("data"))
            attachment = await world.eventually(world.attached)
            (kept,) = world.driver.volumes.values()
            assert list(kept.attached) == [attachment.spec.node_name], step
            await end(world)
            await world.eventually(world.nothing_left)
    for step in (*STEPS, faults.SNAPSHOT_RECORDED, faults.SNAPSHOT_TAKEN):  # it ends before it was complete
        await world.apply(claim(), pod())
        if step not in STEPS:
            await world.apply(snapshot())
        await world.until_crash(step)
        await end(world)
        async with world.controllers():
            await world.eventually(world.nothing_left)
    for step in ENDS:
        await world.apply(claim(), pod())
        async with world.controllers():
            await world.eventually(world.attached)
            await world.apply(snapshot())
            await world.kubectl("wait", "volumesnapshot/s", "--for=jsonpath={.status.readyToUse}=true", "--timeout=90s")
        await end(world)
        await world.until_crash(step)
        async with world.controllers():
            await world.eventually(world.nothing_left)
