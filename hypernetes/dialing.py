"""Connections to addresses that somebody else chose: an image's registry, its redirects, where an issuer has its keys.

The name is resolved once, here, and the connection goes to what was resolved. Loopback, link-local and the machine's
own addresses are refused, except to the hosts the operator named, so that nobody's document is a way into the machine.
Who uses a session must ask `Policy.allows_url` first: a URL with an address in it is not resolved.
"""

import ipaddress
import socket
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def place(url: URL) -> str:
    """As `Policy.trusted` has it."""
    return f"{url.host}:{url.port}"


@dataclass(frozen=True, slots=True)
class Policy:
    """`trusted` are `host:port` that may be at any address; `refused` the networks (of the machine, of management, of
    storage) that no other name may lead to."""

    trusted: AbstractSet[str] = frozenset()
    refused: tuple[Network, ...] = ()

    def trusts(self, url: URL) -> bool:
        return place(url) in self.trusted

    def allows_url(self, url: URL) -> bool:
        """Whether it may be opened, as far as it says; host names are checked when they are resolved."""
        if self.trusts(url):
            return True
        try:
            address = ipaddress.ip_address(url.host or "")
        except ValueError:
            return bool(url.host)
        return self.allows(address)

    def allows(self, address: Address) -> bool:
        plain = getattr(address, "ipv4_mapped", None) or address
        if plain.is_loopback or plain.is_link_local or plain.is_unspecified or plain.is_multicast or plain.is_reserved:
            return False
        return not any(plain in network for network in self.refused if network.version == plain.version)


class GuardedResolver(AbstractResolver):
    """Resolves names to allowed addresses only; `purpose` is what they would be for, as an error says it."""

    def __init__(self, policy: Policy, purpose: str) -> None:
        self._policy, self._purpose, self._resolver = policy, purpose, ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if f"{host}:{port}" in self._policy.trusted:
            return found
        allowed = [each for each in found if self._policy.allows(ipaddress.ip_address(each["host"].partition("%")[0]))]
        if not allowed:
            raise OSError(None, f"{host} leads to no address that {self._purpose}")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


def session(policy: Policy, purpose: str, *, auto_decompress: bool = True, **connecting: Any) -> aiohttp.ClientSession:
    """A client that opens nothing the policy refuses, keeps no cookies and ignores the environment's proxies."""
    connector = aiohttp.TCPConnector(resolver=GuardedResolver(policy, purpose), **connecting)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=auto_decompress, trust_env=False
    )


def machine_addresses() -> frozenset[str]:
    """All addresses of this machine's interfaces, as they are now. Blocks; raises OSError."""
    from pyroute2 import IPRoute

    with IPRoute() as route:
        messages = list(route.get_addr())
    # IFA_ADDRESS is the other end's on a point-to-point link, where IFA_LOCAL is our own
    return frozenset(str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")) for message in messages)


def own_addresses(addresses: Iterable[str]) -> tuple[Network, ...]:
    """Addresses as networks for `Policy.refused`."""
    return tuple(ipaddress.ip_network(address) for address in addresses)
