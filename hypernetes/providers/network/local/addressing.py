"""Addresses: which uplink a router gets, which subnets and ports a network can have, which segment it is on."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from hypernetes.providers.network import subnets
from hypernetes.providers.network.base import NetworkError, NetworkSpec, PortSpec
from hypernetes.providers.network.subnets import Gateway

UPLINKS = IPv4Network("100.64.0.0/10")  # RFC 6598: neither a tenant's choice nor routed on the internet
RESERVED = (UPLINKS, *subnets.RESERVED)
UPLINK_COUNT = UPLINKS.num_addresses // 2

TUNNEL_PORT = 4789  # of UDP (RFC 7348)
_SEGMENT_BITS = 24  # a VXLAN network identifier (RFC 7348); 0 means none
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


@dataclass(frozen=True, slots=True)
class Uplink:
    """A pair of addresses (RFC 3021: a /31) between the host and a router."""

    number: int

    @property
    def host(self) -> IPv4Interface:
        return IPv4Interface((UPLINKS[2 * self.number], 31))

    @property
    def router(self) -> IPv4Interface:
        return IPv4Interface((UPLINKS[2 * self.number + 1], 31))


def choose_uplink(seed: str, taken: Collection[IPv4Network]) -> Uplink:
    """A pair that overlaps nothing in `taken`; `seed` scatters the choices. Raises NetworkError."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % UPLINK_COUNT
    blocks = [network for network in taken if network.overlaps(UPLINKS)]
    for _ in range(2 * len(blocks) + 1):  # each step leaves a block behind, and the range is walked round once
        uplink = Uplink(number)
        block = next((block for block in blocks if block.overlaps(uplink.host.network)), None)
        if block is None:
            return uplink
        number = (_number_after(block)) % UPLINK_COUNT
    raise NetworkError("NoUplinkAddress", f"{UPLINKS} is used up by other links of this machine; free some of it")


def _number_after(block: IPv4Network) -> int:
    offset = int(min(block.broadcast_address, UPLINKS.broadcast_address)) - int(UPLINKS.network_address)
    return offset // 2 + 1


def choose_segment(network_uid: str, used: Collection[int]) -> int:
    """A free VXLAN network identifier, the same again for the same network and surroundings. Raises NetworkError."""
    count = (1 << _SEGMENT_BITS) - 1
    start = int.from_bytes(hashlib.sha256(network_uid.encode()).digest()[:8])
    used = frozenset(used)
    for step in range(len(used) + 1):
        segment = 1 + (start + step) % count
        if segment not in used:
            return segment
    raise NetworkError("NoSegmentLeft", f"all {count} segments are in use; delete networks that nobody needs")


def gateways(network: NetworkSpec) -> tuple[Gateway, ...]:
    """The addresses of a network's bridge. Raises NetworkError(InvalidSubnet) for what can't be wired."""
    if network.provider_network_id is not None:
        message = f"network {network.name}: the local provider has no provider networks; give subnets instead"
        raise NetworkError("UnsupportedProviderNetwork", message)
    return subnets.gateways(network, UPLINKS)


@dataclass(frozen=True, slots=True)
class Pin:
    """What a tap's frames must carry as their source."""

    tap: str
    mac_address: str
    address: str


def pin(port: PortSpec, tap: str) -> Pin:
    """Raises NetworkError(InvalidPort) where the claim doesn't fit its subnet."""
    try:
        address, cidr = IPv4Address(port.address), IPv4Network(port.subnet.cidr)
    except ValueError as error:
        raise NetworkError("InvalidPort", f"port {port.id}: {error}") from error
    mac_address = port.mac_address.lower()
    if address not in cidr or address in (cidr.network_address, cidr.broadcast_address):
        raise NetworkError("InvalidPort", f"port {port.id}: {address} is no host address of {cidr}; choose another")
    if address == IPv4Address(port.subnet.gateway):
        raise NetworkError("InvalidPort", f"port {port.id}: {address} is the gateway of {cidr}; choose another")
    if not _MAC.match(mac_address) or int(mac_address[:2], 16) & 1:
        raise NetworkError("InvalidPort", f"port {port.id}: {port.mac_address!r} is no unicast MAC address")
    return Pin(tap, mac_address, str(address))
