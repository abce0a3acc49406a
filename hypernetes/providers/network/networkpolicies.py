"""What one pod's port may send and receive, from its tenant's NetworkPolicies, namespaces and ports.

    NetworkPolicies ─► those that select the pod ─► rules ─► peers' addresses and port numbers ─► PortPolicy

Pure, and stable: equal input gives an equal policy, so an unchanged one is not set again. Rules are upstream's (the API
reference of NetworkPolicySpec): a pod that no policy selects for a direction is open in it, else exactly what some rule
allows passes. What goes over the guest link isn't network traffic and no policy's business: probes, DNS, the API of the
tenant, logs, exec, port-forward.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hypernetes.api import selectors
from hypernetes.api.models.core_v1 import ContainerPort
from hypernetes.api.models.hypernetes_v1 import Port
from hypernetes.api.models.meta_v1 import LabelSelector
from hypernetes.api.models.networking_v1 import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from hypernetes.providers.network.base import Allowance, PortPolicy, PortRange

_PROTOCOLS = ("TCP", "UDP", "SCTP")

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """A pod as policies see it: where it is, and what it calls its ports."""

    namespace: str
    labels: Labels
    network: str
    address: str
    ports: tuple[ContainerPort, ...] = ()

    @classmethod
    def of(cls, port: Port) -> "Place":
        namespace = port.spec.pod_ref.namespace or ""
        return cls(
            namespace, port.metadata.labels, port.spec.network, port.spec.address, tuple(port.spec.container_ports)
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a tenant has that policies refer to: labels by namespace, and all its pods' places."""

    namespaces: Mapping[str, Labels]
    places: Sequence[Place]


def selecting(policies: Iterable[NetworkPolicy], own: Place) -> list[NetworkPolicy]:
    """Those that are about the pod."""
    return [
        policy
        for policy in policies
        if policy.metadata.namespace == own.namespace
        and _selector(policy.spec.pod_selector or LabelSelector())(own.labels)
    ]


def port_policy(policies: Iterable[NetworkPolicy], own: Place, around: Surroundings) -> PortPolicy:
    """All policies of the pod's tenant together."""
    ingress: set[Allowance] | None = None
    egress: set[Allowance] | None = None
    for policy in selecting(policies, own):
        namespace = policy.metadata.namespace or ""
        if "Ingress" in policy.spec.policy_types:
            ingress = set() if ingress is None else ingress
            for entry in policy.spec.ingress:
                ingress.update(_allowed_in(entry.from_, entry.ports, namespace, own, around))
        if "Egress" in policy.spec.policy_types:
            egress = set() if egress is None else egress
            for leaving in policy.spec.egress:
                egress.update(_allowed_out(leaving.to, leaving.ports, namespace, own, around))
    return PortPolicy(_sorted(ingress), _sorted(egress))


def _sorted(found: set[Allowance] | None) -> tuple[Allowance, ...] | None:
    return None if found is None else tuple(sorted(found, key=repr))


def _allowed_in(
    peers: Sequence[NetworkPolicyPeer], ports: Sequence[NetworkPolicyPort], namespace: str, own: Place,
    around: Surroundings,
) -> list[Allowance]:  # fmt: skip
    """A name of a port means the pod's own."""
    sources = _addresses(peers, namespace, own, around)
    ranges = _ranges(ports, own)
    return _allowance(sources, ranges)


def _allowed_out(
    peers: Sequence[NetworkPolicyPeer], ports: Sequence[NetworkPolicyPort], namespace: str, own: Place,
    around: Surroundings,
) -> list[Allowance]:  # fmt: skip
    """A name of a port means that of whoever is called, so it may be another number with each."""
    named = [port for port in ports if isinstance(port.port, str)]
    plain = [port for port in ports if not isinstance(port.port, str)]
    found: list[Allowance] = []
    if plain or not ports:
        found += _allowance(_addresses(peers, namespace, own, around), _ranges(plain, own))
    if named:
        for place in _places(peers, namespace, own, around):
            found += _allowance((_host(place.address),), _ranges(named, place))
    return found


def _allowance(peers: tuple[str, ...] | None, ranges: tuple[PortRange, ...] | None) -> list[Allowance]:
    """Nothing where nobody, or no port, is left."""
    return [] if peers == () or ranges == () else [Allowance(peers, ranges)]


def _ranges(ports: Sequence[NetworkPolicyPort], named_by: Place) -> tuple[PortRange, ...] | None:
    if not ports:
        return None
    found: set[PortRange] = set()
    for port in ports:
        protocol = port.protocol or "TCP"
        if protocol not in _PROTOCOLS:
            continue
        if port.port is None:
            found.add(PortRange(protocol))
        elif isinstance(port.port, str):
            own = (each for each in named_by.ports if each.name == port.port and (each.protocol or "TCP") == protocol)
            found.update(PortRange(protocol, each.container_port, each.container_port) for each in own)
        else:
            found.add(PortRange(protocol, port.port, port.end_port or port.port))
    return tuple(sorted(found))


def _addresses(
    peers: Sequence[NetworkPolicyPeer], namespace: str, own: Place, around: Surroundings
) -> tuple[str, ...] | None:
    """None for anybody; no two of the ranges overlap."""
    if not peers:
        return None
    ranges = [ipaddress.IPv4Network(place.address) for place in _places(peers, namespace, own, around)]
    for peer in peers:
        if peer.ip_block is not None:
            ranges += _block(peer.ip_block)
    return tuple(str(network) for network in ipaddress.collapse_addresses(ranges))


def _places(peers: Sequence[NetworkPolicyPeer], namespace: str, own: Place, around: Surroundings) -> list[Place]:
    """The pods that the peers select, on the pod's own network: others don't reach it."""
    matches = [_matcher(peer, namespace, around) for peer in peers if peer.ip_block is None]
    return [
        place
        for place in around.places
        if place.network == own.network and (not peers or any(match(place) for match in matches))
    ]


def _matcher(peer: NetworkPolicyPeer, namespace: str, around: Surroundings) -> Callable[[Place], bool]:
    if peer.namespace_selector is None:
        namespaces = frozenset({namespace})
    else:
        wanted = _selector(peer.namespace_selector)
        namespaces = frozenset(name for name, labels in around.namespaces.items() if wanted(labels))
    pods = _selector(peer.pod_selector or LabelSelector())
    return lambda place: place.namespace in namespaces and pods(place.labels)


def _selector(selector: LabelSelector) -> selectors.Selector:
    return selectors.from_object(selector.to_dict())


def _host(address: str) -> str:
    return f"{address}/32"


def _block(block: IPBlock) -> list[ipaddress.IPv4Network]:
    """A range without its exceptions, IPv4 only: nothing else is on tenants' networks."""
    whole = ipaddress.ip_network(block.cidr, strict=False)
    if not isinstance(whole, ipaddress.IPv4Network):
        return []
    left = [whole]
    for text in block.except_:
        hole = ipaddress.ip_network(text, strict=False)
        if isinstance(hole, ipaddress.IPv4Network):
            left = [part for network in left for part in _without(network, hole)]
    return left


def _without(network: ipaddress.IPv4Network, hole: ipaddress.IPv4Network) -> list[ipaddress.IPv4Network]:
    if not network.overlaps(hole):
        return [network]
    if network.subnet_of(hole):
        return []
    return list(network.address_exclude(hole))
