"""Which subnets a tenant's network has and can have, whoever provides it."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_network

from hypernetes.api.models.hypernetes_v1 import Network
from hypernetes.providers.network.base import NetworkError, NetworkSpec, Subnet

# What no tenant's network can be: a pod's frames to these would not mean what the pod thinks.
RESERVED = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("224.0.0.0/3"),
)


def of(network: Network) -> tuple[Subnet, ...]:
    """Those that the Network asks for; of one that was there before, those that its provider found."""
    described = network.spec.subnets or network.status.subnets
    return tuple(
        Subnet(
            name, subnet.cidr, subnet.gateway or str(ip_network(subnet.cidr)[1]),
            tuple((first, last) for first, _, last in (each.partition("-") for each in subnet.allocation_ranges)),
        )
        for name, subnet in sorted(described.items())
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gateway:
    """A subnet's gateway with the subnet's prefix length."""

    subnet: str
    interface: IPv4Interface


def gateways(network: NetworkSpec, *reserved: IPv4Network) -> tuple[Gateway, ...]:
    """Of all its subnets. Raises NetworkError(InvalidSubnet) for what can't be, with the provider's own `reserved`."""
    if not network.subnets:
        raise NetworkError("InvalidSubnet", f"network {network.name} has no subnet; give at least one")
    found: list[Gateway] = []
    for subnet in network.subnets:
        where = f"network {network.name}, subnet {subnet.name}"
        try:
            cidr, gateway = IPv4Network(subnet.cidr), IPv4Address(subnet.gateway)
            service_cidr = IPv4Network(network.service_cidr)
        except ValueError as error:
            raise NetworkError("InvalidSubnet", f"{where}: {error}") from error
        if cidr.prefixlen > 30 or gateway not in cidr or gateway in (cidr.network_address, cidr.broadcast_address):
            message = f"{where}: gateway {gateway} must be a host address of {cidr}, which must leave room for pods"
            raise NetworkError("InvalidSubnet", message)
        others = (*RESERVED, *reserved, service_cidr, *(other.interface.network for other in found))
        if clash := next((other for other in others if other.overlaps(cidr)), None):
            raise NetworkError("InvalidSubnet", f"{where}: {cidr} overlaps {clash}, which has another use")
        found.append(Gateway(subnet.name, IPv4Interface((gateway, cidr.prefixlen))))
    return tuple(found)
