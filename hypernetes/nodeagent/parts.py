"""What all pod workers of a node share, made once by the agent."""

from collections.abc import Callable
from dataclasses import dataclass

from hypernetes.client import Client, EventRecorder
from hypernetes.nodeagent.addresses import Addresses
from hypernetes.nodeagent.apiaccess import GuestAccess
from hypernetes.nodeagent.forwarding import Forwarder
from hypernetes.nodeagent.hosts import NodeResolver
from hypernetes.nodeagent.images.puller import Puller
from hypernetes.nodeagent.podrecord import PodRecord, PodRecords
from hypernetes.nodeagent.runtime.base import Runtime
from hypernetes.nodeagent.tenantview import TenantViews
from hypernetes.providers.network.base import NetworkProvider


@dataclass(frozen=True)
class Parts:
    host_ip: str
    client: Client
    events: EventRecorder
    runtime: Runtime
    network: NetworkProvider
    puller: Puller
    addresses: Addresses
    records: PodRecords
    views: TenantViews
    resolver: NodeResolver
    forwarder: Forwarder
    api_address: tuple[str, int]  # of hn-apiserver, as this node reaches it
    longest_restart_delay: float  # seconds before a container that keeps ending runs again
    clock: Callable[[], float]  # seconds since the epoch

    def guest_access(self, record: PodRecord) -> GuestAccess:
        """What the record's pod may ask of this node. The pod must have its claim."""
        assert record.claim is not None
        view = self.views.dns_view(record.tenant, record.claim.service_cidr)
        return GuestAccess(view, self.forwarder, *self.api_address)
