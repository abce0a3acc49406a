"""This node's Node object and its Lease: what it has, and that it is alive.

The status is made by plain functions from facts of the machine; `NodeReporter` brings it to the API.
"""

import asyncio
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import structlog

from hypernetes.api import tenancy, times
from hypernetes.api.models.coordination_v1 import Lease, LeaseSpec
from hypernetes.api.models.core_v1 import (
    ContainerImage,
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeStatus,
    NodeSystemInfo,
)
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.client import REQUEST_ERRORS, Client, is_reason
from hypernetes.nodeagent.images.manifests import our_platform
from hypernetes.nodeagent.images.store import Image

log = structlog.get_logger()

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_SECONDS = 10.0
STATUS_SECONDS = 10.0
# A status without change is repeated this seldom; the Lease says that the node lives.
UNCHANGED_STATUS_SECONDS = 300.0
RETRY_SECONDS = 2.0

MAX_PODS = 110
# Kept for the host and our own processes: allocatable is what is left.
RESERVED_MEMORY_BYTES = 512 << 20
RESERVED_DISK_PERCENT = 10
MEMORY_PRESSURE_BYTES = 100 << 20  # upstream's eviction threshold
DISK_PRESSURE_PERCENT = 10  # free
_PID_PRESSURE_PERCENT = 90
_IMAGES_SHOWN = 50  # as upstream


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What the node's own machine is and has now."""

    cpus: int
    memory_bytes: int
    memory_available_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    threads: int
    threads_max: int
    kernel: str
    os_image: str
    machine_id: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    name: str
    address: str
    port: int
    runtime_version: str


def read_facts(directory: Path) -> MachineFacts:
    """Of this machine; `directory` says which file system pods live on."""
    memory = _meminfo(Path("/proc/meminfo").read_text())
    disk = shutil.disk_usage(directory)
    return MachineFacts(
        cpus=os.cpu_count() or 1,
        memory_bytes=memory["MemTotal"],
        memory_available_bytes=memory["MemAvailable"],
        disk_bytes=disk.total,
        disk_free_bytes=disk.free,
        threads=int(Path("/proc/loadavg").read_text().split()[3].split("/")[1]),
        threads_max=int(Path("/proc/sys/kernel/pid_max").read_text()),
        kernel=platform.release(),
        os_image=_os_image(),
        machine_id=_text(Path("/etc/machine-id")),
        boot_id=_text(Path("/proc/sys/kernel/random/boot_id")),
    )


def _meminfo(text: str) -> dict[str, int]:
    """Bytes by name."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) >= 2}


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def capacity(facts: MachineFacts) -> dict[str, str]:
    return {
        "cpu": str(facts.cpus),
        "memory": f"{facts.memory_bytes // 1024}Ki",
        "ephemeral-storage": f"{facts.disk_bytes // 1024}Ki",
        "pods": str(MAX_PODS),
    }


def allocatable(facts: MachineFacts) -> dict[str, str]:
    memory = max(facts.memory_bytes - RESERVED_MEMORY_BYTES, 0)
    return {
        **capacity(facts),
        "memory": f"{memory // 1024}Ki",
        "ephemeral-storage": str(facts.disk_bytes * (100 - RESERVED_DISK_PERCENT) // 100),
    }


@dataclass(frozen=True, slots=True)
class Pressure:
    memory: bool
    disk: bool
    pids: bool


def under_pressure(facts: MachineFacts) -> Pressure:
    return Pressure(
        facts.memory_available_bytes < MEMORY_PRESSURE_BYTES,
        facts.disk_free_bytes * 100 < facts.disk_bytes * DISK_PRESSURE_PERCENT,
        facts.threads * 100 > facts.threads_max * _PID_PRESSURE_PERCENT,
    )


def conditions(facts: MachineFacts, previous: list[NodeCondition], problem: str, now: str) -> list[NodeCondition]:
    """`problem` is why the node can't run pods, "" where it can."""
    short = under_pressure(facts)
    wanted = [
        _pressure("MemoryPressure", short.memory, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory",
                  "memory available"),
        _pressure("DiskPressure", short.disk, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure",
                  "disk space available"),
        _pressure("PIDPressure", short.pids, "KubeletHasInsufficientPID", "KubeletHasSufficientPID", "PIDs available"),
        ("Ready", "False", "KubeletNotReady", problem)
        if problem
        else ("Ready", "True", "KubeletReady", "hn-agent is posting ready status"),
    ]  # fmt: skip
    before = {condition.type: condition for condition in previous}
    result = [condition for condition in previous if condition.type not in {each[0] for each in wanted}]
    for kind, status, reason, message in wanted:
        old = before.get(kind)
        since = old.last_transition_time if old is not None and old.status == status else now
        result.append(
            NodeCondition(
                type=kind, status=status, reason=reason, message=message, last_heartbeat_time=now,
                last_transition_time=since,
            )
        )  # fmt: skip
    return result


def _pressure(kind: str, under: bool, bad: str, good: str, what: str) -> tuple[str, str, str, str]:
    if under:
        return kind, "True", bad, f"the node has insufficient {what}"
    return kind, "False", good, f"the node has sufficient {what}"


def labels(name: str) -> dict[str, str]:
    system, architecture = our_platform()
    return {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": system,
        "kubernetes.io/arch": architecture,
    }


def node_status(
    identity: NodeIdentity, facts: MachineFacts, previous: NodeStatus, images: list[ContainerImage], problem: str,
    now: str, in_use: list[str] | None = None,
) -> NodeStatus:  # fmt: skip
    """`in_use` are the volumes that the node has open; None where that isn't known: what is said stays."""
    system, architecture = our_platform()
    version = f"v1.36.0-hypernetes.{metadata.version('hypernetes')}"
    return NodeStatus(
        capacity=capacity(facts),
        allocatable=allocatable(facts),
        conditions=conditions(facts, previous.conditions, problem, now),
        addresses=[
            NodeAddress(type="InternalIP", address=identity.address),
            NodeAddress(type="Hostname", address=identity.name),
        ],
        daemon_endpoints=NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=identity.port)),
        images=images,
        node_info=NodeSystemInfo(
            architecture=architecture,
            boot_id=facts.boot_id,
            container_runtime_version=identity.runtime_version,
            kernel_version=facts.kernel,
            kube_proxy_version="",
            kubelet_version=version,
            machine_id=facts.machine_id,
            operating_system=system,
            os_image=facts.os_image,
            system_uuid=facts.machine_id,
        ),
        volumes_attached=previous.volumes_attached,
        volumes_in_use=previous.volumes_in_use if in_use is None else in_use,
    )


def shown_images(stored: list[Image]) -> list[ContainerImage]:
    """The largest first, as upstream lists them."""
    images = sorted(stored, key=lambda image: (-image.size_bytes, image.digest))[:_IMAGES_SHOWN]
    return [
        ContainerImage(
            names=[f"{source}@{image.digest}" for source in sorted(image.sources)], size_bytes=image.size_bytes
        )
        for image in images
    ]


class NodeReporter:
    """Registers the node and keeps status and Lease fresh. `facts`, `images`, `problem` and `in_use` are asked each
    time, so a Node that is made again says what its former one said."""

    def __init__(
        self,
        client: Client,
        identity: NodeIdentity,
        facts: Callable[[], MachineFacts],
        images: Callable[[], list[Image]],
        problem: Callable[[], str],
        in_use: Callable[[], list[str] | None] = lambda: None,
    ) -> None:
        self._client, self._identity = client, identity
        self._facts, self._images, self._problem, self._in_use = facts, images, problem, in_use

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_status())
            tasks.create_task(self._keep_lease())

    async def _keep_status(self) -> None:
        loop = asyncio.get_running_loop()
        written, shown = 0.0, None
        while True:
            try:
                node = await self._registered()
                status = await asyncio.to_thread(self._status, node)
                essence = _essence(status)
                if (
                    essence != shown
                    or essence != _essence(node.status)
                    or loop.time() - written > UNCHANGED_STATUS_SECONDS
                ):
                    await self._client.update_status(
                        node.model_copy(update={"status": status}), tenant=tenancy.SYSTEM_TENANT
                    )
                    written, shown = loop.time(), essence
            except (*REQUEST_ERRORS, OSError) as error:
                if not is_reason(error, "Conflict"):
                    log.warning("node.status.failed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await asyncio.sleep(STATUS_SECONDS)

    def _status(self, node: Node) -> NodeStatus:
        now = times.format_time(times.now())
        shown = shown_images(self._images())
        facts, problem = self._facts(), self._problem()
        return node_status(self._identity, facts, node.status, shown, problem, now, self._in_use())

    async def _registered(self) -> Node:
        """The Node, made where it isn't there; labels of ours put right, those of others left alone."""
        name = self._identity.name
        try:
            node = await self._client.get(Node, name, tenant=tenancy.SYSTEM_TENANT)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
            fresh = Node(metadata=ObjectMeta(name=name, labels=labels(name)))
            return await self._client.create(fresh, tenant=tenancy.SYSTEM_TENANT)
        wanted = labels(name)
        if any(node.metadata.labels.get(key) != value for key, value in wanted.items()):
            body = {"metadata": {"labels": wanted}}
            return await self._client.patch(Node, name, body, tenant=tenancy.SYSTEM_TENANT)
        return node

    async def _keep_lease(self) -> None:
        while True:
            try:
                await self._renew()
            except REQUEST_ERRORS as error:
                log.warning("node.lease.failed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await asyncio.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        name, now = self._identity.name, times.format_micro_time(times.now())
        spec = LeaseSpec(holder_identity=name, lease_duration_seconds=LEASE_SECONDS, renew_time=now)
        body = {"spec": spec.to_dict()}
        try:
            await self._client.patch(
                Lease, name, body, namespace=LEASE_NAMESPACE, tenant=tenancy.SYSTEM_TENANT, timeout=RENEW_SECONDS
            )
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
            lease = Lease(metadata=ObjectMeta(name=name, namespace=LEASE_NAMESPACE), spec=spec)
            await self._client.create(lease, tenant=tenancy.SYSTEM_TENANT)


def _essence(status: NodeStatus) -> object:
    """What is worth writing at once: all but the heartbeats."""
    bare = status.to_dict()
    for condition in bare.get("conditions", ()):
        condition.pop("lastHeartbeatTime", None)
    return bare
