"""A pod's service tables: what kube-proxy does elsewhere, as configuration of the pod's own HAProxy and nftables.

    Services + EndpointSlices of the pod's tenant ─► endpoints per (ClusterIP, port) ─► HAProxy's slots (TCP)
                                                                                   └► nftables (UDP, redirect)

Pure, and stable: equal input gives equal text, so an unchanged table is not pushed. Each pod has a balancer of its own;
were the servers listed in the same order everywhere, the first request of every pod would meet the same endpoint. So
each pod orders them by rendezvous hash of its own UID, which also makes ClientIP affinity a plain choice of the first
that survives changes of the others.
"""

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from hypernetes.api import tenancy
from hypernetes.api.models.core_v1 import Service, ServicePort
from hypernetes.api.models.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from hypernetes.nodeagent import balancer
from hypernetes.nodeagent.balancer import Balancer

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Table:
    """One port of one service address. No targets: refused."""

    address: str
    port: int
    protocol: str  # "TCP" or "UDP"
    targets: tuple[Target, ...]  # with ClientIP affinity the pod's one


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """What is in force in a pod, or shall be."""

    balancer: Balancer
    nftables: bytes


# As a template's clones start: nothing is served.
IDLE = ServiceConfig(balancer.IDLE, b"")


def config(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    *,
    pod_uid: str,
    service_cidr: str,
    before: ServiceConfig = IDLE,
) -> ServiceConfig:
    """The tables of one pod from all services and slices of its tenant, and of no other, after those of `before`."""
    found = tables(services, slices, pod_uid=pod_uid, service_cidr=service_cidr)
    balanced = {
        f"{table.address}:{table.port}": tuple(f"{target.address}:{target.port}" for target in table.targets)
        for table in found
        if table.protocol == "TCP" and table.targets
    }
    return ServiceConfig(before.balancer.with_services(balanced), _nftables(found, service_cidr))


def tables(
    services: Iterable[Service], slices: Iterable[EndpointSlice], *, pod_uid: str, service_cidr: str
) -> list[Table]:
    """Sorted by address, port and protocol."""
    by_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for each in slices:
        owner = (each.metadata.namespace or "", each.metadata.labels.get(SERVICE_NAME_LABEL, ""))
        by_service.setdefault(owner, []).append(each)
    cidr = ipaddress.ip_network(service_cidr)
    reserved = {tenancy.dns_address(service_cidr), tenancy.kubernetes_address(service_cidr)}
    result = []
    for service in services:
        address = service.spec.cluster_ip
        if service.spec.type == "ExternalName" or not _usable(address, cidr, reserved):
            continue
        own = by_service.get((service.metadata.namespace or "", service.metadata.name or ""), [])
        affinity = service.spec.session_affinity == "ClientIP"
        for port in service.spec.ports:
            protocol = port.protocol or "TCP"
            if protocol in ("TCP", "UDP"):
                targets = _ordered(_targets(own, port), pod_uid)
                result.append(Table(address or "", port.port, protocol, targets[:1] if affinity else targets))
    return sorted(result, key=lambda table: (ipaddress.ip_address(table.address), table.port, table.protocol))


def _usable(address: str | None, cidr: ipaddress.IPv4Network | ipaddress.IPv6Network, reserved: set[str]) -> bool:
    if not address or address == "None" or address in reserved:
        return False
    try:
        return ipaddress.ip_address(address) in cidr
    except ValueError:
        return False


def _targets(slices: Iterable[EndpointSlice], port: ServicePort) -> set[Target]:
    """Ready endpoints; where none is, those that still serve while they terminate (KEP-1669)."""
    ready: set[Target] = set()
    terminating: set[Target] = set()
    for each in slices:
        if each.address_type != "IPv4":
            continue
        number = next((own.port for own in each.ports if _same_port(own, port)), None)
        if number is None:
            continue
        for endpoint in each.endpoints:
            if is_ready(endpoint):
                ready.update(Target(address, number) for address in _addresses(endpoint))
            elif endpoint.conditions and endpoint.conditions.serving and endpoint.conditions.terminating:
                terminating.update(Target(address, number) for address in _addresses(endpoint))
    return ready or terminating


def _same_port(own: EndpointPort, port: ServicePort) -> bool:
    return (own.name or "", own.protocol or "TCP") == (port.name or "", port.protocol or "TCP")


def is_ready(endpoint: Endpoint) -> bool:
    """Unknown counts as ready (the API reference of EndpointConditions)."""
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _addresses(endpoint: Endpoint) -> list[str]:
    """Only addresses proper: the text goes into configuration files, and tenants may write EndpointSlices."""
    result = []
    for address in endpoint.addresses:
        try:
            parsed = ipaddress.IPv4Address(address)
        except ValueError:
            continue
        if not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast):
            result.append(str(parsed))
    return result


def _ordered(targets: set[Target], pod_uid: str) -> tuple[Target, ...]:
    def weight(target: Target) -> bytes:
        return hashlib.sha256(f"{pod_uid}|{target.address}|{target.port}".encode()).digest()

    return tuple(sorted(targets, key=weight))


def _nftables(found: list[Table], service_cidr: str) -> bytes:
    """The chains of the guest's service namespace. What leaves it is masqueraded, so that a pod can be its own
    back end. What no rule has taken has no endpoint and is refused at once; passed on, it would go round between the
    two namespaces."""
    dns, api = tenancy.dns_address(service_cidr), tenancy.kubernetes_address(service_cidr)
    lines = [
        "table ip hn {",
        "  chain services {",
        "    type nat hook prerouting priority -100; policy accept;",
        f"    ip daddr {{ {dns}, {api} }} return",
        *(f"    {_udp_rule(table)}" for table in found if table.protocol == "UDP" and table.targets),
        *_tcp_rules(found),
        "  }",
        "  chain leaving {",
        "    type nat hook postrouting priority 100; policy accept;",
        "    masquerade",
        "  }",
        "}",
        "table inet hn {",
        "  chain forwarded {",
        "    type filter hook forward priority 0; policy accept;",
        f"    ip daddr {service_cidr} meta l4proto tcp reject with tcp reset",
        f"    ip daddr {service_cidr} reject with icmpx type port-unreachable",
        "  }",
        "}",
    ]
    return ("\n".join(lines) + "\n").encode()


def _tcp_rules(found: list[Table]) -> list[str]:
    known = [f"{table.address} . {table.port}" for table in found if table.protocol == "TCP" and table.targets]
    return [f"    ip daddr . tcp dport {{ {', '.join(known)} }} redirect to :{balancer.PORT}"] if known else []


def _udp_rule(table: Table) -> str:
    match = f"ip daddr {table.address} udp dport {table.port}"
    if len(table.targets) == 1:
        return f"{match} dnat to {table.targets[0].address}:{table.targets[0].port}"
    choices = ", ".join(f"{index} : {target.address} . {target.port}" for index, target in enumerate(table.targets))
    return f"{match} dnat ip to numgen inc mod {len(table.targets)} map {{ {choices} }}"
