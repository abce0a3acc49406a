"""A node with real machines under an API of a dictionary: a pod's spec goes in, and what it does inside is looked at.

Everything between spec and guest is hn-agent's own: `PodWorker` on `QemuRuntime`. A field can be taken out of every
pod before the worker sees it (`drop`), which shows whether a test would notice that the node ignores it.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from hypernetes.api import times
from hypernetes.api.models.core_v1 import ContainerStatus, Namespace, NamespaceSpec, Pod, PodStatus, Service
from hypernetes.api.models.hypernetes_v1 import Network, NetworkSpec, NetworkStatus, Subnet, Tenant
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.nodeagent import hollow
from hypernetes.nodeagent.addresses import Addresses
from hypernetes.nodeagent.containers import ContainerRecord, Phase
from hypernetes.nodeagent.forwarding import Forwarder
from hypernetes.nodeagent.hosts import NodeResolver
from hypernetes.nodeagent.images.manifests import ImageConfig, ImageError
from hypernetes.nodeagent.images.puller import Pulled
from hypernetes.nodeagent.images.registry import Credential
from hypernetes.nodeagent.images.store import Image
from hypernetes.nodeagent.networkpeers import NetworkPeers
from hypernetes.nodeagent.parts import Parts
from hypernetes.nodeagent.podrecord import PodRecord, PodRecords
from hypernetes.nodeagent.podworker import PodWorker
from hypernetes.nodeagent.runtime.base import MachineError, Process
from hypernetes.nodeagent.runtime.qemu_runtime import QemuRuntime
from hypernetes.nodeagent.seccomp import Profiles
from hypernetes.providers.network import base as network_base
from tests.integration.networks.namespaces import Namespace as NetworkNamespace
from tests.integration.runtime.test_network import open_tap
from tests.podsupport.fields import dropped
from tests.unit.nodeagent.fakes import TENANT, FakeClient, FakeEvents, FakeNetwork, FakeViews

T = TypeVar("T")

HOST_IP = "192.0.2.1"
MTU = 1450
IMAGE = "busybox"
PATIENCE_SECONDS = 240.0  # of a loaded machine
# Of a test whose field is taken out: what it waits for doesn't come.
DROPPED_PATIENCE_SECONDS = 45.0


class TapNetwork(FakeNetwork):
    """Each pod's tap is alone in a network namespace of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._namespaces: dict[str, NetworkNamespace] = {}

    async def plug(self, port: network_base.PortSpec) -> network_base.PluggedPort:
        self.ports[port.id] = port
        namespace = self._namespaces[port.id] = NetworkNamespace()
        return network_base.PluggedPort(namespace.run(lambda: open_tap("tap0")), "tap0", MTU)

    async def unplug(self, port_id: str) -> None:
        await super().unplug(port_id)
        if namespace := self._namespaces.pop(port_id, None):
            namespace.close()


class Images:
    """One disk under several names and configurations. `private` names need a credential."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self.configs: dict[str, ImageConfig] = {IMAGE: ImageConfig(entrypoint=("sh",))}
        self.private: set[str] = set()
        self.passwd = "root:x:0:0::/root:/bin/sh\nweb:x:1500:1501::/srv/web:/bin/sh\n"
        self.group = "root:x:0:\nweb:x:1501:\nextra:x:1502:web\n"
        self.pulls: list[tuple[str, Credential | None]] = []
        self._had: set[str] = set()

    def _pulled(self, name: str) -> Pulled:
        digest = "sha256:" + name.encode().hex().ljust(64, "0")[:64]
        image = Image(digest, self._disk, self.configs[name], 1, frozenset(), self.passwd, self.group)
        return Pulled(image, f"{name}@{digest}", from_network=True)

    def present(self, tenant: str, name: str) -> Pulled | None:
        return self._pulled(name) if name in self._had else None

    def stored(self, digest: str) -> Image | None:
        found = (self._pulled(name).image for name in self._had)
        return next((image for image in found if image.digest == digest), None)

    async def pull(self, tenant: str, name: str, credential: Credential | None = None) -> Pulled:
        self.pulls.append((name, credential))
        if name not in self.configs or (name in self.private and credential is None):
            raise ImageError(f"{name}: not found in the registry")
        self._had.add(name)
        return self._pulled(name)


class NodeClient(FakeClient):
    """Also gives tokens, whose text tells what was asked for."""

    async def request(self, method: str, path: str, *, json: Any) -> Any:
        assert path.endswith("/token"), path
        spec = json["spec"]
        account = path.split("/")[-2]
        text = f"{account}.{','.join(spec['audiences']) or '-'}.{spec['expirationSeconds']}"
        expiry = times.format_time(datetime.fromtimestamp(time.time() + spec["expirationSeconds"], UTC))
        return {"status": {"token": text, "expirationTimestamp": expiry}}


class Views(FakeViews):
    def __init__(self, client: FakeClient) -> None:
        super().__init__(client)
        self.of_services: list[Service] = []

    def services(self, tenant: str) -> list[Any]:
        return self.of_services


class Node:
    """`drop` is a field by the name of its type, `Container.command`, or None."""

    def __init__(self, directory: Path, runtime: QemuRuntime, disk: Path, drop: str | None) -> None:
        self.client, self.events, self.network = NodeClient(), FakeEvents(), TapNetwork()
        self.images, self.runtime, self.drop = Images(disk), runtime, drop
        self.patience = PATIENCE_SECONDS if drop is None else DROPPED_PATIENCE_SECONDS
        self.seccomp_profiles = directory / "seccomp"
        self.records = PodRecords(directory / "pods")
        self.records.open()
        self.views = Views(self.client)
        self._names = itertools.count()
        self.client.put(Tenant(metadata=ObjectMeta(name=TENANT, uid="tenant-uid")), "system")
        self.client.put(Namespace(metadata=ObjectMeta(name="web"), spec=NamespaceSpec()))
        subnets = {"default": Subnet(cidr="10.0.0.0/24", gateway="10.0.0.1")}
        self.client.put(
            Network(
                metadata=ObjectMeta(name="default", uid="network-uid"),
                spec=NetworkSpec(subnets=subnets),
                status=NetworkStatus(phase="Active", segment_id=7),
            )
        )
        client: Any = self.client
        events: Any = self.events
        views: Any = self.views
        self.parts = Parts(
            host_ip=HOST_IP, client=client, events=events, runtime=runtime, network=self.network, puller=self.images,
            addresses=Addresses(client, views, "n1", HOST_IP), storage=hollow.Storage(), records=self.records,
            views=views,
            peers=NetworkPeers(views, self.network, "n1"), resolver=NodeResolver((), ("node.example",)),
            forwarder=Forwarder(()), seccomp=Profiles(directory / "seccomp"), api_address=("127.0.0.1", 6443),
            longest_restart_delay=1.0, clock=time.time,
        )  # fmt: skip

    @asynccontextmanager
    async def pod(self, spec: Mapping[str, Any], *, name: str = "app", **metadata: Any) -> AsyncIterator["RunningPod"]:
        """A pod that a worker lives for. At the end its machine is cut off."""
        uid = f"uid-{name}-{next(self._names)}"
        body = {
            "metadata": {"name": name, "namespace": "web", "uid": uid, **metadata},
            "spec": {**spec, "nodeName": "n1"},
        }
        made = RunningPod(self, self.put(body))
        task = asyncio.create_task(made.worker.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if made.worker.machine is not None:
                await made.worker.machine.shutdown(2)
            await self.network.unplug(uid)
            if not task.cancelled() and (error := task.exception()):
                raise error

    def put(self, body: Mapping[str, Any]) -> Pod:
        """Stores a pod as the agent is to see it."""
        shown = body if self.drop is None else dropped(body, self.drop)
        try:
            stored: Pod = self.client.put(Pod.from_dict(shown))
        except pydantic.ValidationError as error:
            raise AssertionError(f"without {self.drop} it is no pod") from error
        return stored


class RunningPod:
    def __init__(self, node: Node, pod: Pod) -> None:
        self.node, self.name = node, pod.metadata.name or ""
        self.worker = PodWorker(node.parts, pod, PodRecord.of(pod, TENANT))

    @property
    def stored(self) -> Pod:
        found: Pod = self.node.client.objects["Pod", TENANT, "web", self.name]
        return found

    @property
    def status(self) -> PodStatus:
        return self.stored.status

    def container(self, name: str = "main") -> ContainerStatus:
        status = self.status
        found = [*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses]
        made = next((each for each in found if each.name == name), None)
        assert made is not None, f"no status of {name}"
        return made

    def record(self, name: str = "main") -> ContainerRecord:
        """What the agent knows of a container."""
        assert name in self.worker.record.containers, f"no container {name}"
        return self.worker.record.containers[name]

    def waiting(self, name: str = "main") -> str | None:
        """Why it isn't started."""
        state = self.container(name).state
        return state.waiting.reason if state is not None and state.waiting is not None else None

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """The pod as somebody else changes it."""
        body = self.stored.to_dict()
        change(body)
        self.worker.update(self.node.put(body))

    def delete(self, grace: int) -> None:
        moment = times.format_time(datetime.fromtimestamp(time.time() + grace, UTC))
        self.change(lambda body: body["metadata"].update(deletionTimestamp=moment, deletionGracePeriodSeconds=grace))

    async def until(self, look: Callable[[], object], why: str) -> None:
        """Fails with `why` and what is known of the pod where `look` doesn't come true."""
        deadline = time.monotonic() + self.node.patience
        while not _true(look):
            assert time.monotonic() < deadline, f"{why}: {self.status.to_dict()} {self.node.events.seen[-6:]}"
            await asyncio.sleep(0.05)

    async def until_not_failing(self, act: Callable[[], Awaitable[T]], why: str) -> T:
        """What `act` gives once no assertion in it fails."""
        deadline = time.monotonic() + self.node.patience
        while True:
            try:
                return await act()
            except AssertionError as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{why}: {error}") from error
                await asyncio.sleep(0.1)

    async def runs(self, *names: str) -> None:
        """Until these containers run (`main`, where none is named)."""
        for name in names or ("main",):
            await self.until(lambda name=name: self.record(name).phase is Phase.RUNNING, f"{name} doesn't run")

    async def ready(self) -> None:
        await self.until(lambda: self.condition("Ready") == "True", "the pod isn't ready")

    def condition(self, kind: str) -> str | None:
        return next((each.status for each in self.status.conditions if each.type == kind), None)

    async def ended(self) -> str:
        """Its final phase."""
        await self.until(lambda: self.status.phase in ("Succeeded", "Failed"), "the pod doesn't end")
        return self.status.phase or ""

    async def sh(self, script: str, container: str = "main", *, tty: bool = False) -> str:
        """What a shell says in a running container; its exit code must be 0."""
        text, code = await self.try_sh(script, container, tty=tty)
        assert code == 0, f"{script}: exit code {code}: {text}"
        return text

    async def try_sh(self, script: str, container: str = "main", *, tty: bool = False) -> tuple[str, int]:
        await self.runs(container)
        machine = self.worker.machine
        assert machine is not None
        try:
            process = await machine.exec(self.record(container).id, ["sh", "-c", script], tty=tty)
            return await asyncio.wait_for(_output(process), PATIENCE_SECONDS)
        except MachineError as error:
            raise AssertionError(f"{script}: {error.message}") from error

    def log(self, container: str = "main", attempt: int | None = None) -> str:
        """What a container has said so far."""
        number = self.record(container).attempt if attempt is None else attempt
        path = self.worker.logs.path(f"{container}.{number}")
        lines = path.read_text().splitlines() if path.exists() else []
        return "".join(f"{line.split(' ', 3)[3]}\n" for line in lines)

    async def said(self, text: str, container: str = "main") -> None:
        await self.until(lambda: text in self.log(container), f"{container} doesn't say {text!r}")


def _true(look: Callable[[], object]) -> bool:
    try:
        return bool(look())
    except AssertionError:
        return False


async def _output(process: Process) -> tuple[str, int]:
    await process.stdin.close_write()
    text = b"".join([data async for _, data in process.output()])
    return text.decode(errors="replace"), await process.wait()


def pod_of(container: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod of one container `main` that sleeps."""
    main = {"name": "main", "image": IMAGE, "command": ["sleep", "1000"], **(container or {})}
    return {"terminationGracePeriodSeconds": 1, "containers": [main], **spec}


def scripted(script: str, name: str = "main", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], **more}
