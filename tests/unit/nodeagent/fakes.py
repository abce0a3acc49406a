"""A machine runtime, a network and an API without processes, kernel or sockets: enough for stories about pods."""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hypernetes.api.models.core_v1 import Namespace, NamespaceSpec, Pod
from hypernetes.api.models.hypernetes_v1 import Network, NetworkSpec, NetworkStatus, Port, Subnet, Tenant
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.status import StatusError, already_exists, not_found
from hypernetes.client.errors import Interrupted
from hypernetes.nodeagent import hollow
from hypernetes.nodeagent.addresses import Addresses
from hypernetes.nodeagent.changes import Changes
from hypernetes.nodeagent.forwarding import Forwarder
from hypernetes.nodeagent.hosts import NodeResolver
from hypernetes.nodeagent.images.manifests import ImageConfig, ImageError
from hypernetes.nodeagent.images.puller import Pulled
from hypernetes.nodeagent.images.store import Image
from hypernetes.nodeagent.networkpeers import NetworkPeers
from hypernetes.nodeagent.parts import Parts
from hypernetes.nodeagent.podrecord import PodRecords
from hypernetes.nodeagent.restarts import MAX_DELAY_SECONDS
from hypernetes.nodeagent.runtime import base
from hypernetes.nodeagent.runtime.base import ContainerState, ContainerStatus
from hypernetes.nodeagent.seccomp import Profiles
from hypernetes.providers.network import base as network_base
from hypernetes.providers.network.networkpolicies import Place

T = TypeVar("T")
TENANT = "acme"
EPOCH = 1_800_000_000.0


class FakeMachine:
    """Containers run until a test ends them, or they get a signal (and die of it unless they are `stubborn`)."""

    def __init__(self, spec: base.MachineSpec) -> None:
        self.id, self.pid, self.boot_id = spec.id, 4711, f"boot-{next(_BOOTS)}"
        self.spec = spec
        self.started: list[base.ContainerSpec] = []
        self.states: dict[str, ContainerStatus] = {}
        self.signals: list[tuple[str, int]] = []
        self.disks: list[str] = []
        self.files: dict[str, dict[str, tuple[bytes, int]]] = {}
        self.made: list[str] = []
        self.limits: list[tuple[str | None, int | None, int | None]] = []
        self.measures: dict[str, int] = {}  # by volume's name or container's id
        self.services: list[tuple[bytes, Mapping[str, bytes], bytes]] = []
        self.config: base.GuestConfig | None = None
        self.stubborn: set[str] = set()
        self.missing_commands: set[str] = set()  # the runtime's own sets: told before there is a machine
        self.exec_codes: list[int] = [0]
        self.acknowledged = 0
        self.off = False
        self._events: asyncio.Queue[base.Event] = asyncio.Queue(1000)

    async def configure(self, config: base.GuestConfig) -> None:
        self.config = config

    async def attach_disk(self, disk_id: str, path: Path, *, read_only: bool, volume: str | None = None) -> None:
        assert disk_id not in self.disks, "attached twice"
        self.disks.append(disk_id)

    async def detach_disk(self, disk_id: str) -> None:
        self.disks.remove(disk_id)

    async def make_volume(
        self, name: str, *, memory: bool = False, size_bytes: int | None = None, fs_group: int | None = None,
        image_disk: str | None = None,
    ) -> None:  # fmt: skip
        self.made.append(name)

    async def write_volume(
        self, name: str, files: Mapping[str, tuple[bytes, int]], *, fs_group: int | None = None
    ) -> None:
        self.files[name] = dict(files)

    async def read_file(self, volume: str, path: str, limit: int) -> bytes:
        try:
            return self.files[volume][path][0]
        except KeyError:
            raise base.MachineError("NoSuchFile", f"{path} can't be read") from None

    async def measure(self, *, volume: str | None = None, container_id: str | None = None) -> int:
        return self.measures.get(volume or container_id or "", 0)

    async def throttle(self, cpu_millis: int | None) -> None:
        self.throttled_millis = cpu_millis

    async def limit(self, container_id: str | None, memory_bytes: int | None, cpu_millis: int | None) -> None:
        self.limits.append((container_id, memory_bytes, cpu_millis))

    services_idle = False

    async def set_services(
        self,
        haproxy: bytes,
        maps: Mapping[str, bytes],
        nftables: bytes | None,
        commands: Sequence[str] | None = None,
    ) -> None:
        self.services.append((haproxy, maps, nftables))

    async def start_container(self, spec: base.ContainerSpec) -> None:
        assert spec.id not in self.states, "an attempt is started once"
        assert spec.image_disk in self.disks
        if spec.argv[0] in self.missing_commands:
            raise base.MachineError("NoSuchCommand", f"{spec.argv[0]}: no such file in the image")
        self.started.append(spec)
        self.states[spec.id] = ContainerStatus(spec.id, ContainerState.RUNNING, started_at=now())

    async def signal_container(self, container_id: str, number: int) -> None:
        self.signals.append((container_id, number))
        if number == 9 or container_id not in self.stubborn:
            self.exit(container_id, 128 + number)

    def exit(self, container_id: str, code: int, *, oom: bool = False) -> None:
        state = self.states.get(container_id)
        if state is None or state.state is not ContainerState.RUNNING:
            return
        ended = ContainerStatus(container_id, ContainerState.EXITED, state.started_at, now(), code, oom)
        self.states[container_id] = ended
        self._events.put_nowait(base.Exited(ended))

    def say(self, container_id: str, text: bytes, sequence: int) -> None:
        self._events.put_nowait(base.Output(container_id, "stdout", now(), text, sequence))

    def die(self) -> None:
        """A power cut."""
        self.off = True
        self.states.clear()
        self._events.put_nowait(base.MachineGone("ProcessDied", "QEMU was killed"))

    async def remove_container(self, container_id: str) -> None:
        del self.states[container_id]

    async def attach(self, container_id: str) -> base.Process:
        raise base.MachineError("NotSupported", "no attach here")

    async def exec(
        self, container_id: str, argv: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> base.Process:
        return FakeProcess(self.exec_codes.pop(0) if len(self.exec_codes) > 1 else self.exec_codes[0])

    async def forward(self, port: int, address: str = "127.0.0.1") -> base.ByteStream:
        raise base.MachineError("ConnectionRefused", f"{address}:{port} refused")

    async def containers(self) -> list[ContainerStatus]:
        return list(self.states.values())

    async def events(self) -> AsyncIterator[base.Event]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, base.MachineGone):
                return

    async def acknowledge(self, sequence: int) -> None:
        self.acknowledged = sequence

    async def usage(self) -> base.MachineUsage:
        return base.MachineUsage(0, {})

    async def shutdown(self, timeout: float) -> None:
        self.off = True


_BOOTS = itertools.count()


class FakeProcess:
    def __init__(self, code: int) -> None:
        self._code = code
        self.stdin: Any = _Silent()

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        if self._code:
            yield "stderr", b"no"

    async def resize(self, columns: int, rows: int) -> None: ...

    async def signal(self, number: int) -> None: ...

    async def wait(self) -> int:
        return self._code


class _Silent:
    async def close_write(self) -> None: ...

    async def close(self) -> None: ...


class FakeRuntime:
    def __init__(self) -> None:
        self.machines: dict[str, FakeMachine] = {}
        self.created: list[base.MachineSpec] = []
        self.failures: list[base.MachineError] = []
        self.missing_commands: set[str] = set()
        self.exec_codes = [0]

    async def create(self, spec: base.MachineSpec, services: base.GuestServices) -> FakeMachine:
        if self.failures:
            raise self.failures.pop(0)
        self.created.append(spec)
        machine = self.machines[spec.id] = FakeMachine(spec)
        machine.missing_commands, machine.exec_codes = self.missing_commands, self.exec_codes
        return machine

    async def adopt(self, services: Mapping[str, base.GuestServices]) -> dict[str, FakeMachine]:
        for uid in set(self.machines) - set(services):
            await self.machines.pop(uid).shutdown(0)
        return {uid: machine for uid, machine in self.machines.items() if not machine.off}

    async def version(self) -> str:
        return "fake://1"

    async def close(self) -> None: ...


class FakeNetwork:
    binds_ports = False

    def __init__(self) -> None:
        self.ports: dict[str, network_base.PortSpec] = {}
        self.policies: dict[str, network_base.PortPolicy] = {}
        self.peers: dict[str, frozenset[network_base.Peer]] = {}  # by the network's name
        self.refusals: list[network_base.NetworkError] = []  # of the next policies

    async def ensure_network(
        self, network: network_base.NetworkSpec, used_segments: frozenset[int]
    ) -> network_base.EnsuredNetwork:
        return network_base.EnsuredNetwork(1)

    async def delete_network(self, network: network_base.NetworkSpec) -> None: ...

    async def open(self) -> None: ...

    async def plug(self, port: network_base.PortSpec) -> network_base.PluggedPort:
        self.ports[port.id] = port
        return network_base.PluggedPort(os.open("/dev/null", os.O_RDONLY), f"tap{port.id[:4]}", 1450)

    async def set_policy(self, port: network_base.PortSpec, policy: network_base.PortPolicy) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self.policies[port.id] = policy

    async def rebind(self, port: network_base.PortSpec) -> None:
        self.ports[port.id] = port

    async def set_peers(self, network: network_base.NetworkSpec, peers: frozenset[network_base.Peer]) -> None:
        self.peers[network.name] = peers

    async def unplug(self, port_id: str) -> None:
        self.ports.pop(port_id, None)
        self.policies.pop(port_id, None)

    async def sweep(self, keep: frozenset[str]) -> None:
        self.ports = {uid: port for uid, port in self.ports.items() if uid in keep}

    async def close(self, *, remove: bool) -> None: ...


class FakeClient:
    """Objects by (kind, tenant, namespace, name); a deletion with grace 0 removes."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str, str], Any] = {}
        self.deleted: list[str] = []
        self.statuses: list[Any] = []
        self.revision = 1
        self.down = False
        self.lost_answers = 0  # of the next creates, which are carried out

    def put(self, obj: Any, tenant: str = TENANT) -> Any:
        self.revision += 1
        meta = obj.metadata.model_copy(update={"resource_version": str(self.revision)})
        stored = obj.model_copy(update={"metadata": meta})
        self.objects[type(obj).__name__, tenant, meta.namespace or "", meta.name or ""] = stored
        return stored

    def _check(self) -> None:
        if self.down:
            raise StatusError("ServiceUnavailable", "the API server is away")

    async def get(self, model: type[T], name: str, *, namespace: str | None = None, tenant: str | None = None) -> T:
        self._check()
        found: T | None = self.objects.get((model.__name__, tenant or TENANT, namespace or "", name))
        if found is None:
            raise not_found(model.__name__.lower() + "s", name)
        return found

    async def list(self, model: type[T], *, tenant: str | None = None) -> Any:
        self._check()
        items = [obj for key, obj in self.objects.items() if key[:2] == (model.__name__, tenant)]
        return type("Listing", (), {"items": items})

    async def create(self, obj: Any, *, tenant: str | None = None) -> Any:
        self._check()
        key = (type(obj).__name__, tenant or TENANT, obj.metadata.namespace or "", obj.metadata.name)
        if key in self.objects:
            raise already_exists(key[0].lower() + "s", key[3])
        stored = self.put(obj, tenant or TENANT)
        if self.lost_answers:
            self.lost_answers -= 1
            raise Interrupted("the connection was lost")
        return stored

    async def update_status(self, obj: Any, *, tenant: str | None = None) -> Any:
        self._check()
        key = (type(obj).__name__, tenant or TENANT, obj.metadata.namespace or "", obj.metadata.name)
        if key not in self.objects:
            raise not_found("pods", obj.metadata.name)
        if self.objects[key].metadata.resource_version != obj.metadata.resource_version:
            raise StatusError("Conflict", "changed meanwhile")
        self.statuses.append(obj.status)
        return self.put(obj, tenant or TENANT)

    async def patch(self, model: type[T], name: str, body: Any, *, tenant: str | None = None) -> T:
        """A merge patch, of labels only."""
        found: Any = await self.get(model, name, tenant=tenant)
        labels = body["metadata"]["labels"]
        merged = {key: value for key, value in {**found.metadata.labels, **labels}.items() if value is not None}
        metadata = found.metadata.model_copy(update={"labels": merged})
        changed: T = self.put(found.model_copy(update={"metadata": metadata}), tenant or TENANT)
        return changed

    async def delete(
        self, model: type[Any], name: str, *, namespace: str | None = None, tenant: str | None = None,
        uid: str | None = None, grace_seconds: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        self._check()
        key = (model.__name__, tenant or TENANT, namespace or "", name)
        if key not in self.objects:
            raise not_found(model.__name__.lower() + "s", name)
        if uid is not None and self.objects[key].metadata.uid != uid:
            raise StatusError("Conflict", "another uid")
        del self.objects[key]
        self.deleted.append(name)
        return {}


class FakeEvents:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def event(self, obj: Any, type: str, reason: str, message: str, **_: Any) -> None:
        self.seen.append((reason, message))

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.seen]


class FakePuller:
    """Has every image but those in `absent`."""

    def __init__(self) -> None:
        self.absent: set[str] = set()
        self.pulls: list[str] = []
        self.config = ImageConfig(entrypoint=("/bin/app",))

    def _pulled(self, name: str) -> Pulled:
        digest = "sha256:" + name.encode().hex().ljust(64, "0")[:64]
        return Pulled(Image(digest, Path("/nowhere"), self.config, 1, frozenset()), f"{name}@{digest}", True)

    def present(self, tenant: str, name: str) -> Pulled | None:
        return self._pulled(name) if name in self.pulls else None

    def stored(self, digest: str) -> Image | None:
        return None

    async def pull(self, tenant: str, name: str, credential: object = None) -> Pulled:
        if name in self.absent:
            raise ImageError(f"{name}: not found in the registry")
        self.pulls.append(name)
        return self._pulled(name)


class FakeViews:
    """No services; never a change, but of policies, when a test says so."""

    def __init__(self, client: FakeClient) -> None:
        self._client = client
        self.followed: Counter[str] = Counter()  # pods by tenant
        self.policies: dict[str, network_base.PortPolicy] = {}  # by namespace
        self.others: frozenset[network_base.Peer] = frozenset()
        self._network_changes = Changes()

    async def policy(self, tenant: str, own: Place) -> network_base.PortPolicy:
        return self.policies.get(own.namespace, network_base.OPEN)

    async def port_of(self, tenant: str, pod_uid: str) -> Any:
        listing = await self._client.list(Port, tenant=tenant)
        return next((port for port in listing.items if port.spec.pod_ref.uid == pod_uid), None)

    async def peers(self, tenant: str, network: str, node: str) -> frozenset[network_base.Peer]:
        return self.others

    def network_changed(self, tenant: str) -> None:
        self._network_changes.tell(tenant)

    async def network_change(self, tenant: str, seen: int) -> int:
        return await self._network_changes.after(tenant, seen)

    def follow(self, tenant: str) -> None:
        self.followed[tenant] += 1

    def leave(self, tenant: str) -> None:
        self.followed[tenant] -= 1

    async def wait_synced(self, tenant: str) -> None:
        """There is nothing to wait for."""

    def services(self, tenant: str) -> list[Any]:
        return []

    def slices(self, tenant: str) -> list[Any]:
        return []

    def dns_view(self, tenant: str, service_cidr: str) -> Any:
        return None

    def generation(self, tenant: str) -> int:
        return 0

    async def changed(self, tenant: str, seen: int) -> int:
        if seen != 0:
            return 0
        await asyncio.Event().wait()
        raise AssertionError


def now() -> float:
    """The loop's virtual time as seconds since the epoch."""
    return EPOCH + asyncio.get_running_loop().time()


class World:
    """A node with everything around it faked, in virtual time."""

    def __init__(self, directory: Path) -> None:
        self.client, self.events, self.runtime = FakeClient(), FakeEvents(), FakeRuntime()
        self.network, self.puller = FakeNetwork(), FakePuller()
        self.records = PodRecords(directory / "pods")
        self.records.open()
        self.client.put(Tenant(metadata=ObjectMeta(name=TENANT, uid="tenant-uid")), "system")
        self.client.put(Namespace(metadata=ObjectMeta(name="web"), spec=NamespaceSpec()))
        self.client.put(
            Network(
                metadata=ObjectMeta(name="default", uid="network-uid"),
                spec=NetworkSpec(subnets={"default": Subnet(cidr="10.0.0.0/24", gateway="10.0.0.1")}),
                status=NetworkStatus(phase="Active", segment_id=7),
            )
        )
        client: Any = self.client
        events: Any = self.events
        puller: Any = self.puller
        views: Any = FakeViews(self.client)
        self.parts = Parts(
            host_ip="127.0.0.1", client=client, events=events, runtime=self.runtime, network=self.network,
            puller=puller, addresses=Addresses(client, views, "n1", "192.0.2.1"), storage=hollow.Storage(),
            records=self.records, views=views,
            peers=NetworkPeers(views, self.network, "n1"),
            resolver=NodeResolver((), ()), forwarder=Forwarder(()), seccomp=Profiles(directory / "seccomp"),
            api_address=("127.0.0.1", 6443),
            longest_restart_delay=MAX_DELAY_SECONDS, clock=now,
        )  # fmt: skip

    def pod(self, name: str = "app", **spec: Any) -> Pod:
        """A stored pod. `spec` is in JSON form, one container `main` unless it says otherwise."""
        body = {
            "metadata": {"name": name, "namespace": "web", "uid": f"uid-{name}"},
            "spec": {"containers": [{"name": "main", "image": "img:1"}], "nodeName": "n1", **spec},
        }
        stored: Pod = self.client.put(Pod.from_dict(body))
        return stored

    def stored(self, name: str = "app") -> Pod:
        found: Pod = self.client.objects["Pod", TENANT, "web", name]
        return found

    def machine(self, name: str = "app") -> FakeMachine:
        return self.runtime.machines[f"uid-{name}"]
