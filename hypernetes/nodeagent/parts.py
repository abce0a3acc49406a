"""What all pod workers of a node share, made once by the agent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import Client, EventRecorder
from hypernetes.nodeagent.addresses import Claim
from hypernetes.nodeagent.apiaccess import GuestAccess
from hypernetes.nodeagent.forwarding import Forwarder
from hypernetes.nodeagent.hosts import NodeResolver
from hypernetes.nodeagent.images.puller import Pulled
from hypernetes.nodeagent.images.registry import Credential
from hypernetes.nodeagent.images.store import Image
from hypernetes.nodeagent.networkpeers import NetworkPeers
from hypernetes.nodeagent.podrecord import PodRecord, PodRecords
from hypernetes.nodeagent.runtime.base import Machine, Runtime
from hypernetes.nodeagent.seccomp import Profiles
from hypernetes.nodeagent.tenantview import TenantViews
from hypernetes.providers.network.base import NetworkProvider, PortSpec


class Claims(Protocol):
    """addresses.Addresses, or what stands in for it on a hollow node."""

    async def claim(self, pod: Pod, tenant: str) -> Claim: ...

    async def bound(self, claim: Claim, tenant: str, pod_uid: str) -> PortSpec: ...

    async def release(self, claim: Claim, tenant: str, pod_uid: str) -> None: ...

    async def label(self, claim: Claim, pod: Pod, tenant: str) -> None: ...


class Images(Protocol):
    """images.puller.Puller, or what stands in for it on a hollow node."""

    def present(self, tenant: str, name: str) -> Pulled | None: ...

    def stored(self, digest: str) -> Image | None: ...

    async def pull(self, tenant: str, name: str, credential: Credential | None = None) -> Pulled: ...


class PodVolumesOfNode(Protocol):
    """storage.podstorage.PodStorage, or what stands in for it on a hollow node."""

    async def open(self, pod: Pod) -> None: ...

    async def mount(self, pod: Pod, machine: Machine) -> None: ...

    async def follow(self, pod: Pod, machine: Machine) -> None: ...


class Storage(Protocol):
    """The persistent volumes of a node's pods (storage.storage.Storage)."""

    async def adopt(self) -> None: ...

    def of_pod(self, record: PodRecord) -> PodVolumesOfNode: ...

    async def give_back(self, pod_uid: str) -> None: ...

    def pods(self) -> frozenset[str]: ...


@dataclass(frozen=True)
class Parts:
    host_ip: str
    client: Client
    events: EventRecorder
    runtime: Runtime
    network: NetworkProvider
    puller: Images
    addresses: Claims
    storage: Storage
    records: PodRecords
    views: TenantViews
    peers: NetworkPeers
    resolver: NodeResolver
    forwarder: Forwarder
    seccomp: Profiles
    api_address: tuple[str, int]  # of hn-apiserver, as this node reaches it
    longest_restart_delay: float  # seconds before a container that keeps ending runs again
    clock: Callable[[], float]  # seconds since the epoch

    def guest_access(self, record: PodRecord) -> GuestAccess:
        """What the record's pod may ask of this node. The pod must have its claim."""
        assert record.claim is not None
        view = self.views.dns_view(record.tenant, record.claim.service_cidr)
        return GuestAccess(view, self.forwarder, *self.api_address)
