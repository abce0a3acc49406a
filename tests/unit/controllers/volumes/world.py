"""Volumes' controllers at work on a cluster in a dictionary and a driver in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from hypernetes.client import EventRecorder
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.storageprotection import ClaimProtection, VolumeProtection
from hypernetes.controllers.volumes import faults
from hypernetes.controllers.volumes.attachments import VolumeAttachments
from hypernetes.controllers.volumes.attributes import AttributesClassProtection, VolumeAttributes
from hypernetes.controllers.volumes.binder import ClaimBinder
from hypernetes.controllers.volumes.ephemeral import EphemeralVolumes
from hypernetes.controllers.volumes.expansion import VolumeExpansion
from hypernetes.controllers.volumes.phases import VolumePhases
from hypernetes.controllers.volumes.providers import Providers
from hypernetes.controllers.volumes.provisioner import VolumeProvisioner
from hypernetes.controllers.volumes.reclaimer import VolumeReclaimer
from hypernetes.controllers.volumes.snapshotcontents import VolumeSnapshotContents
from hypernetes.controllers.volumes.snapshots import VolumeSnapshots
from hypernetes.providers.volume.base import Owner
from hypernetes.providers.volume.fake import FakeVolumes
from tests.unit.controllers.fake_cluster import FakeCluster, Kubelet, settle

Json = dict[str, Any]
TENANT, NAMESPACE = "acme", "prod"
MARK = {"storageclass.kubernetes.io/is-default-class": "true"}


class Crash(BaseException):
    """The process dies here."""


NODE_INFO = dict.fromkeys(
    (
        "architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "kubeletVersion",
        "machineID", "operatingSystem", "osImage", "systemUUID",
    ), "said",
)  # fmt: skip


class World:
    def __init__(self, **driver: Any) -> None:
        self.cluster = FakeCluster()
        self.driver = FakeVolumes(**driver)
        self.kubelet = Kubelet(self.cluster)

    def _controllers(self, *shared: Any) -> list[Controller]:
        plain: tuple[Any, ...] = (
            VolumeAttributes, AttributesClassProtection, ClaimBinder, VolumePhases, EphemeralVolumes, VolumeSnapshots,
            ClaimProtection, VolumeProtection,
        )  # fmt: skip
        driven: tuple[Any, ...] = (
            VolumeProvisioner,
            VolumeReclaimer,
            VolumeAttachments,
            VolumeExpansion,
            VolumeSnapshotContents,
        )
        providers = Providers([self.driver])
        return [*(kind(*shared) for kind in plain), *(kind(*shared, providers) for kind in driven)]

    async def start(self) -> None:
        for name in ("acme", "globex"):
            await self.cluster.put(
                {"apiVersion": "hypernetes.io/v1", "kind": "Tenant", "metadata": {"name": name}}, "system"
            )
        for name in ("n1", "n2"):
            labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"z{name[1]}"}
            status = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": NODE_INFO}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}
            await self.cluster.put(node, "system")

    @asynccontextmanager
    async def process(self) -> AsyncIterator[list["asyncio.Task[Any]"]]:
        """One process of controllers, with its kubelet; gives its tasks."""
        client: Any = self.cluster
        informers, recorder = Informers(client), EventRecorder(client, "test")
        made = self._controllers(client, informers, recorder)
        jobs: list[Callable[[], Any]] = [recorder.run, informers.run, self.kubelet.run, *(each.run for each in made)]
        tasks = [asyncio.ensure_future(job()) for job in jobs]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeCluster]:
        async with self.process() as tasks:
            await settle(1)
            yield self.cluster
            failed = [task.exception() for task in tasks if task.done()]
            assert not failed, failed

    async def until_crash(self, step: str, seconds: float = 120, times: int = 1) -> bool:
        """Lets the controllers work and die after a step; False where they never come to it."""
        left = times

        def at_step(passed: str) -> None:
            nonlocal left
            if passed == step:
                left -= 1
                if left == 0:
                    raise Crash

        faults.at_step = at_step
        try:
            async with self.process() as tasks:
                done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                return bool(done)
        finally:
            faults.at_step = None

    # What tests make

    async def storage_class(self, name: str = "fast", tenant: str = "system", **parts: Any) -> None:
        body = {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": self.driver.driver,
            "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", "metadata": {"name": name}, **parts,
        }  # fmt: skip
        await self.cluster.put(body, tenant)

    async def claim(self, name: str = "data", size: str = "1Gi", cls: str | None = "fast", **spec: Any) -> Json:
        body = {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": NAMESPACE, "finalizers": ["kubernetes.io/pvc-protection"]},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": cls,
                "volumeMode": "Filesystem", **spec,
            },
        }  # fmt: skip
        return await self.cluster.put(body)

    async def volume(
        self, name: str, size: str = "1Gi", cls: str = "", labels: Json | None = None, **spec: Any
    ) -> Json:
        metadata = {"name": name, "labels": labels or {}, "finalizers": ["kubernetes.io/pv-protection"]}
        body = {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata,
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "storageClassName": cls,
                "csi": {"driver": self.driver.driver, "volumeHandle": name}, "volumeMode": "Filesystem",
                "persistentVolumeReclaimPolicy": "Retain", **spec,
            },
        }  # fmt: skip
        return await self.cluster.put(body)

    async def pod(self, name: str, node: str = "n1", claim: str = "data", **volume: Any) -> Json:
        volumes = [{"name": "v", **(volume or {"persistentVolumeClaim": {"claimName": claim}})}]
        body = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}], "volumes": volumes},
            "status": {"phase": "Running"},
        }  # fmt: skip
        return await self.cluster.put(body)

    async def delete(self, kind: str, name: str, tenant: str = TENANT) -> None:
        (place,) = (
            place
            for place in self.cluster.stored
            if (place[0].kind, place[1].name, place[1].tenant) == (kind, name, tenant)
        )
        await self.cluster._delete(place, {})

    async def uses(self, node: str, *volumes: str) -> None:
        """What a node says it has in use."""
        named = [f"kubernetes.io/csi/{self.driver.driver}^{TENANT}/{volume}" for volume in volumes]
        status = {**self.cluster.find("Node", node, "system")["status"], "volumesInUse": named}
        await self.cluster.change("Node", node, "system", status=status)

    # What tests ask

    def owner(self) -> Owner:
        return Owner(TENANT, self.cluster.find("Tenant", TENANT, "system")["metadata"]["uid"])

    def phase(self, kind: str, name: str) -> str:
        return str(self.cluster.find(kind, name).get("status", {}).get("phase", ""))

    def events(self, reason: str) -> list[str]:
        return [event["message"] for event in self.cluster.all("Event") if event["reason"] == reason]

    def attached(self) -> dict[str, list[str]]:
        """Volume → nodes, by the driver's word."""
        return {id: sorted(kept.attached) for (_, id), kept in self.driver.volumes.items() if kept.attached}

    def left(self) -> tuple[int, ...]:
        """Objects and things of the driver's that are left: none of them when all has ended."""
        kinds = ("PersistentVolume", "VolumeAttachment", "VolumeSnapshotContent", "VolumeSnapshot")
        return (*(len(self.cluster.all(kind)) for kind in kinds), len(self.driver.volumes), len(self.driver.snapshots))
