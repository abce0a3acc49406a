"""Links by name, for the other modules here: what pyroute2 gives, as plain values."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

AF_INET = 2
MTU_BYTES = 1500  # of every link on one machine; a network that spans nodes has less (tunnels.py)
_MAIN_TABLE = 254
_SETTINGS = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    alias: str | None
    master: int | None  # the bridge's index
    queues: int  # of a tap, idle ones left out; 0 for others
    mtu: int  # bytes

    @classmethod
    def of(cls, message: Any) -> "Link":
        data = message.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
        queues = data.get_attr("IFLA_TUN_NUM_QUEUES") if hasattr(data, "get_attr") else None
        return cls(
            index=message["index"],
            name=message.get_attr("IFLA_IFNAME"),
            alias=message.get_attr("IFLA_IFALIAS"),
            master=message.get_attr("IFLA_MASTER"),
            queues=queues or 0,
            mtu=message.get_attr("IFLA_MTU") or 0,
        )


@contextmanager
def connected() -> Iterator[Any]:
    """A netlink connection to the calling thread's namespace."""
    with IPRoute() as netlink:
        yield netlink


def by_name(netlink: Any) -> dict[str, Link]:
    return {link.name: link for link in map(Link.of, netlink.get_links())}


def find(netlink: Any, name: str) -> Link | None:
    return by_name(netlink).get(name)


def addresses(netlink: Any, index: int | None = None) -> list[IPv4Interface]:
    """The IPv4 addresses of one link, or of all."""
    return [address for device, address in all_addresses(netlink) if index is None or device == index]


def all_addresses(netlink: Any) -> list[tuple[int, IPv4Interface]]:
    """Every IPv4 address with the index of its link."""
    return [
        (
            message["index"],
            IPv4Interface((message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"), message["prefixlen"])),
        )
        for message in netlink.get_addr(family=AF_INET)
    ]


@dataclass(frozen=True, slots=True)
class Route:
    destination: IPv4Network
    device: int | None


def routes(netlink: Any) -> list[Route]:
    """The main table's IPv4 routes."""
    found = []
    for message in netlink.get_routes(family=AF_INET, table=_MAIN_TABLE):
        destination = ipaddress.IPv4Network((message.get_attr("RTA_DST") or "0.0.0.0", message["dst_len"]))
        found.append(Route(destination, message.get_attr("RTA_OIF")))
    return found


def setting(name: str) -> Path:
    """The file of a network setting in the calling thread's namespace: `ipv4/ip_forward`."""
    return _SETTINGS / name


def set_if_present(name: str, value: str) -> bool:
    """Sets what exists only with a kernel module that may be missing (IPv6, br_netfilter); whether it is there."""
    path = setting(name)
    if path.exists():
        path.write_text(value)
        return True
    return False
