"""Nodes without machines, for tests and for figures at scale: `hn-agent --runtime fake --nodes 1000`.

Any number of nodes in one process. Each has the agent, the pod workers and the reporting of a real one; its machines,
images and network are told only. What no process does at that scale is left out: addresses are not claimed in the API
(they count up from 100.64.0.0/10, which is routed nowhere), services reach no pod, and without a certificate no port
answers for logs and for what pods use.

What a container does is in its arguments, whatever its image:

    hollow --exit-after=SECONDS --exit-code=N    ends; without it, it runs until it is told to stop
    hollow --start-after=SECONDS                 is not there before: probes fail until then
    hollow --cpu=CORES --memory=QUANTITY         says that it uses so much (0.5, 64Mi)
    true, false, sleep SECONDS, echo, cat        as ever; all else runs until it is told to stop
"""

import argparse
import asyncio
import ipaddress
import itertools
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from hypernetes.api import quantity
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.tenancy import DEFAULT_NETWORK, DEFAULT_SERVICE_CIDR, mac_address
from hypernetes.client import Client, EventRecorder, Informer
from hypernetes.nodeagent import node, server
from hypernetes.nodeagent.addresses import Claim
from hypernetes.nodeagent.agent import Agent
from hypernetes.nodeagent.forwarding import Forwarder
from hypernetes.nodeagent.hosts import NodeResolver
from hypernetes.nodeagent.images import references
from hypernetes.nodeagent.images.manifests import ImageConfig
from hypernetes.nodeagent.images.puller import Pulled
from hypernetes.nodeagent.images.registry import Credential
from hypernetes.nodeagent.images.store import Image
from hypernetes.nodeagent.networkpeers import NetworkPeers
from hypernetes.nodeagent.parts import Parts
from hypernetes.nodeagent.podrecord import PodRecord, PodRecords
from hypernetes.nodeagent.runtime.base import Machine
from hypernetes.nodeagent.runtime.fake import PROGRAMS, Context, FakeHost, FakeRuntime
from hypernetes.nodeagent.seccomp import Profiles
from hypernetes.nodeagent.tenantview import TenantViews
from hypernetes.nodeagent.usage import Sampler
from hypernetes.providers.network.base import (
    OPEN,
    EnsuredNetwork,
    NetworkSpec,
    Peer,
    PluggedPort,
    PortPolicy,
    PortSpec,
    Subnet,
)
from hypernetes.providers.network.networkpolicies import Place

_SUBNET = Subnet("hollow", "100.64.0.0/10", "100.64.0.1")
_IMAGE = Image(
    "sha256:" + "0" * 64, Path("/dev/null"), ImageConfig(entrypoint=("hollow",)), size_bytes=0, sources=frozenset()
)
_MTU = 1500
_ADDRESS = "127.0.0.1"
_BAD_ARGUMENTS = 2  # exit code

# What a hollow node says that it has: more than its pods ask for.
FACTS = node.MachineFacts(
    cpus=64, memory_bytes=512 << 30, memory_available_bytes=512 << 30, disk_bytes=4 << 40, disk_free_bytes=4 << 40,
    threads=1, threads_max=1 << 22, kernel="hollow", os_image="hollow", machine_id="", boot_id="",
)  # fmt: skip


class Addresses:
    """Of all hollow nodes of a process: never the same twice, and kept nowhere."""

    def __init__(self) -> None:
        network = ipaddress.ip_network(_SUBNET.cidr)
        self._free = itertools.count(int(network.network_address) + 2)

    async def claim(self, pod: Pod, tenant: str) -> Claim:
        network = NetworkSpec(tenant, "", DEFAULT_NETWORK, "", (_SUBNET,), DEFAULT_SERVICE_CIDR)
        address = str(ipaddress.ip_address(next(self._free)))
        return Claim(f"{DEFAULT_NETWORK}.{address}", network, _SUBNET, address, mac_address(pod.metadata.uid or ""))

    async def bound(self, claim: Claim, tenant: str, pod_uid: str) -> PortSpec:
        return claim.port_spec(pod_uid)

    async def release(self, claim: Claim, tenant: str, pod_uid: str) -> None:
        """Nobody gets it again."""

    async def label(self, claim: Claim, pod: Pod, tenant: str) -> None:
        """There is no Port."""


class Images:
    """Every image is there."""

    def present(self, tenant: str, name: str) -> Pulled:
        return Pulled(_IMAGE, f"{references.parse(name).name}@{_IMAGE.digest}", from_network=False)

    def stored(self, digest: str) -> Image:
        return _IMAGE

    async def pull(self, tenant: str, name: str, credential: Credential | None = None) -> Pulled:
        return self.present(tenant, name)


class PodStorage:
    """Every claim is there."""

    async def open(self, pod: Pod) -> None:
        """Nothing is to be opened."""

    async def mount(self, pod: Pod, machine: Machine) -> None:
        """Nothing is to be mounted."""

    async def follow(self, pod: Pod, machine: Machine) -> None:
        """Nothing grows."""


class Storage:
    async def adopt(self) -> None:
        """Nothing was left."""

    def of_pod(self, record: PodRecord) -> PodStorage:
        return PodStorage()

    async def give_back(self, pod_uid: str) -> None:
        """Nothing was taken."""

    def pods(self) -> frozenset[str]:
        return frozenset()


class Network:
    binds_ports = False

    async def ensure_network(self, network: NetworkSpec, used_segments: frozenset[int]) -> EnsuredNetwork:
        return EnsuredNetwork(network.segment_id)

    async def delete_network(self, network: NetworkSpec) -> None:
        """There is none."""

    async def open(self) -> None:
        """Nothing is to be prepared."""

    async def plug(self, port: PortSpec) -> PluggedPort:
        return PluggedPort(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), "hollow", _MTU)

    async def set_policy(self, port: PortSpec, policy: PortPolicy) -> None:
        """Nothing passes, so nothing is to be filtered."""

    async def rebind(self, port: PortSpec) -> None:
        """As for policies."""

    async def set_peers(self, network: NetworkSpec, peers: frozenset[Peer]) -> None:
        """As for policies."""

    async def unplug(self, port_id: str) -> None:
        """It was plugged nowhere."""

    async def sweep(self, keep: frozenset[str]) -> None:
        """Nothing was left."""

    async def close(self, *, remove: bool) -> None:
        """Nothing was made."""


def program(argv: Sequence[str]) -> Callable[[Context], Awaitable[int]]:
    """What a container does, by its arguments."""
    return PROGRAMS.get(argv[0].rpartition("/")[2], _hollow)


async def _hollow(context: Context) -> int:
    try:
        script, _ = _SCRIPT.parse_known_args(list(context.argv[1:]))
        context.load.cores, context.load.memory_bytes = script.cpu, quantity.whole(script.memory)
    except (argparse.ArgumentError, ValueError) as error:
        await context.write(f"{error}\n".encode())
        return _BAD_ARGUMENTS
    await asyncio.sleep(script.start_after)
    context.listening.set()
    if script.exit_after is None:
        await asyncio.Event().wait()
    await asyncio.sleep(script.exit_after)
    code: int = script.exit_code
    return code


_SCRIPT = argparse.ArgumentParser("hollow", exit_on_error=False, add_help=False, allow_abbrev=False)
_SCRIPT.add_argument("--start-after", type=float, default=0.0)
_SCRIPT.add_argument("--exit-after", type=float)
_SCRIPT.add_argument("--exit-code", type=int, default=0)
_SCRIPT.add_argument("--cpu", type=float, default=0.0)
_SCRIPT.add_argument("--memory", default="0")


class NoServices(TenantViews):
    """Follows no tenant: there is no machine to tell services to."""

    def follow(self, tenant: str) -> None:
        """Nothing to follow."""

    def leave(self, tenant: str) -> None:
        """Nothing was followed."""

    async def wait_synced(self, tenant: str) -> None:
        """Nothing is all there is to know."""

    async def policy(self, tenant: str, own: Place) -> PortPolicy:
        return OPEN

    async def peers(self, tenant: str, network: str, node: str) -> frozenset[Peer]:
        return frozenset()


# The TLS of a node's port, by its name. Without it, nothing listens.
Tls = Callable[[str], ssl.SSLContext]


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


class Records(PodRecords):
    """Of nothing that a later agent could find again."""

    def save(self, record: PodRecord) -> None:
        """There is no machine that outlives the process."""


class HollowNode:
    """One node. What its machines do outlives no process: after a restart its pods start anew."""

    def __init__(
        self, name: str, directory: Path, client: Client, addresses: Addresses, views: TenantViews,
        tls: ssl.SSLContext | None,
    ) -> None:  # fmt: skip
        self.name, self._client, self._tls = name, client, tls
        self._events = EventRecorder(client, "hn-agent", instance=name)
        records = Records(directory / name / "pods")
        records.open()
        resolver, network = NodeResolver((), ()), Network()
        parts = Parts(
            host_ip=_ADDRESS, client=client, events=self._events, runtime=FakeRuntime(FakeHost(program)),
            network=network, puller=Images(), addresses=addresses, storage=Storage(), records=records, views=views,
            peers=NetworkPeers(views, network, name), resolver=resolver,
            forwarder=Forwarder(()), seccomp=Profiles(Path("/nonexistent")), api_address=("127.0.0.1", 1),
            longest_restart_delay=300.0, clock=time.time,
        )  # fmt: skip
        self._pods = Informer(client, Pod, field_selector=f"spec.nodeName={name}")
        self.agent = Agent(parts, self._pods)
        self._sampler = Sampler(self.agent.workers, None)

    async def run(self) -> None:
        """Until cancelled."""
        if self._tls is None:
            await self._live(0)
            return
        runner = await server.serve(self.agent, self._sampler, self._tls, _ADDRESS, 0, self.name)
        try:
            await self._live(runner.addresses[0][1])
        finally:
            await runner.cleanup()

    async def _live(self, port: int) -> None:
        identity = node.NodeIdentity(self.name, _ADDRESS, port, "fake://1")
        reporter = node.NodeReporter(self._client, identity, lambda: FACTS, list, lambda: "")
        work = (self._pods.run(), self._events.run(), reporter.run(), self.agent.run(), self._sampler.run())
        async with asyncio.TaskGroup() as tasks:
            for coroutine in work:
                tasks.create_task(coroutine)


async def run(directory: Path, prefix: str, count: int, client: Client, tls: Tls | None = None) -> None:
    """`count` nodes named `<prefix>-0`, `<prefix>-1`, …, until cancelled."""
    addresses, views = Addresses(), NoServices(client)
    async with asyncio.TaskGroup() as tasks:
        for name in names(prefix, count):
            one = HollowNode(name, directory, client, addresses, views, tls(name) if tls is not None else None)
            tasks.create_task(one.run(), name=one.name)
