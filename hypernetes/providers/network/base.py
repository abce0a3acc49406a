"""What a network provider does: tenants' layer-2 networks, and the ports of pods in them.

Two processes use it. hn-controllers calls the cluster-wide half (`ensure_network`, `delete_network`), hn-agent the
half of its node (`open`, `plug`, `set_policy`, `set_peers`, `unplug`, `sweep`). Every call is idempotent and may be
repeated after a crash at any point.

A provider whose ports are objects of their own, kept somewhere with a credential that no node should have, is a
`PortBinder` too (`binds_ports`): hn-controllers binds each pod's port to its node and keeps its policy, and the node
plugs what it is told (`PortSpec.binding`).

    factory = loading.load("network", "local")                         # entry points `hypernetes.providers.network`
    provider: NetworkProvider = factory(cluster_id=…, node_name=…, state_dir=…, node_address=…, configuration=…)

`configuration` is the file of `--network-provider NAME=FILE`, or None. `tests/integration/networks/suite.py` holds
every provider to this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class NetworkError(Exception):
    """A request the provider can't fulfil. `reason` is a stable CamelCase word, `message` says what to do next."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True, slots=True)
class Subnet:
    name: str
    cidr: str
    gateway: str
    ranges: tuple[tuple[str, str], ...] = ()  # of addresses that pods get, first and last; () for all of them


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """One Network of one tenant. (`tenant_uid`, `name`) identifies it; two tenants may have equal CIDRs."""

    tenant: str
    tenant_uid: str
    name: str
    uid: str
    subnets: tuple[Subnet, ...]
    service_cidr: str  # of the tenant; never leaves a pod, so the network refuses to route it
    segment_id: int = 0  # VXLAN network identifier, from the Network's status; 0 in `ensure_network` of a new one
    provider_network_id: str | None = None  # of a network that is somebody else's, to be used as it is
    project: str = ""  # the tenant's id with the identity provider (Keystone's project), where it has one


@dataclass(frozen=True, slots=True)
class EnsuredNetwork:
    """What `ensure_network` says of a network that exists."""

    segment_id: int = 0  # 0 where the provider counts its segments itself
    provider_network_id: str = ""  # the provider's own id of it
    subnets: tuple[Subnet, ...] = ()  # of a network that was there before; () for those that were asked for


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A pod's place in a network: the address and MAC its claim (kind Port) holds."""

    id: str  # the pod's UID
    network: NetworkSpec
    subnet: Subnet
    address: str
    mac_address: str
    binding: tuple[tuple[str, str], ...] = ()  # what `bind_port` said


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """What a connection may be to: one port, several, or with neither all of a protocol."""

    protocol: str  # "TCP", "UDP" or "SCTP"
    first: int = 0
    last: int = 65535


@dataclass(frozen=True, slots=True)
class Allowance:
    """One way that a policy opens. None means any: `peers` are CIDRs that don't overlap, `ports` what they may be."""

    peers: tuple[str, ...] | None
    ports: tuple[PortRange, ...] | None


@dataclass(frozen=True, slots=True)
class PortPolicy:
    """What a port may begin (`egress`) and be asked (`ingress`); None leaves that direction open, () closes it.

    Answers pass whatever the policy says, and so do connections that were there before it.
    """

    ingress: tuple[Allowance, ...] | None = None
    egress: tuple[Allowance, ...] | None = None


OPEN = PortPolicy()


@dataclass(frozen=True, slots=True)
class Peer:
    """A port of a network on another node, and that node's address."""

    mac_address: str
    address: str
    node_address: str


@dataclass(frozen=True, slots=True)
class PluggedPort:
    """A port on this node. `tap_fd` is an open tap queue that the caller passes to QEMU and then closes."""

    tap_fd: int
    tap_name: str
    mtu: int


class NetworkProvider(Protocol):
    binds_ports: bool  # whether it is a PortBinder

    async def ensure_network(self, network: NetworkSpec, used_segments: frozenset[int]) -> EnsuredNetwork:
        """Makes the network exist, cluster-wide; `used_segments` are those of all others. Raises NetworkError."""

    async def delete_network(self, network: NetworkSpec) -> None:
        """Removes what `ensure_network` made. A network that is gone already is no error."""

    async def open(self) -> None:
        """Prepares this node: what must be there before the first port (filters, forwarding). Idempotent."""

    async def plug(self, port: PortSpec) -> PluggedPort:
        """Wires a port into its network on this node and pins its MAC and address. Raises NetworkError."""

    async def set_policy(self, port: PortSpec, policy: PortPolicy) -> None:
        """What a port that is plugged here may send and receive; in force when it returns, until it is unplugged or
        set anew. `OPEN` takes a policy away. Not called where hn-controllers do it (`binds_ports`). Raises
        NetworkError."""

    async def rebind(self, port: PortSpec) -> None:
        """Wires a port that is plugged here by its new binding; its machine goes on. Nothing to do for a provider that
        binds no ports. Raises NetworkError."""

    async def set_peers(self, network: NetworkSpec, peers: frozenset[Peer]) -> None:
        """All ports that a network of ports here has on other nodes: they reach each other when it returns. Nothing to
        do for a provider whose network knows by itself. Raises NetworkError."""

    async def unplug(self, port_id: str) -> None:
        """Removes a port from this node, and what was there for it alone. A port that is gone is no error."""

    async def sweep(self, keep: frozenset[str]) -> None:
        """Removes every port of this node whose id is not in `keep`, and tenants' leftovers that hold no port."""

    async def close(self, *, remove: bool) -> None:
        """Ends the provider's work; with `remove` takes away all it made on this node (`hn down`)."""


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """Ports that have one policy. `key` says which: equal for the ports of a network that the same policies select."""

    key: str
    policy: PortPolicy


@runtime_checkable
class PortBinder(Protocol):
    """The cluster-wide half of a provider with `binds_ports`; hn-controllers calls it.

    Reasons of NetworkError that the caller knows: `AddressInUse` (another one should be claimed) and `BindingFailed`
    (the node can't have it as it is).
    """

    async def bind_port(self, port: PortSpec, node: str, group: PolicyGroup) -> Mapping[str, str]:
        """Makes the port exist as given, on that node and with that policy, which is in force when it is plugged, or
        within moments where it is plugged already. Returns what the node's `plug` needs. Raises NetworkError."""

    async def set_group(self, network: NetworkSpec, group: PolicyGroup) -> None:
        """What all ports of the group may do. Raises NetworkError."""

    async def release_port(self, port: PortSpec) -> None:
        """Removes the port. One that is gone is no error. Raises NetworkError."""

    def forget(self) -> None:
        """Another process may have called meanwhile: what was remembered need not be so any more."""

    async def sweep_ports(self, keep: Mapping[str, str]) -> frozenset[str]:
        """Removes every port of the cluster whose pod isn't in `keep`, and groups that no port is in. `keep` has the id
        of each pod's port, as its binding says, or "" where it isn't bound. Returns the pods whose ports are gone.
        Raises NetworkError."""
