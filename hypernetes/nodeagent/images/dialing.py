"""Connections to addresses that a tenant chose: an image's registry, its redirects, its token service.

The name is resolved once, here, and the connection goes to what was resolved. Loopback, link-local and the node's own
addresses are refused, except to the registries the operator named, so that an image's name is no way into the node.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from pyroute2 import IPRoute
from yarl import URL

from hypernetes.nodeagent.images.manifests import ImageError


@dataclass(frozen=True, slots=True)
class DialPolicy:
    """`insecure` are `host:port` of registries that may be spoken to in plain HTTP and at any address; `refused` are
    the networks (of the node, of management, of storage) that no other name may lead to."""

    insecure: frozenset[str] = frozenset()
    refused: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def trusts(self, url: URL) -> bool:
        return f"{url.host}:{url.port}" in self.insecure

    def check(self, url: URL) -> None:
        """Raises ImageError for a URL that must not be opened; host names are checked when resolved."""
        if self.trusts(url):
            return
        if url.scheme != "https" or not url.host:
            raise ImageError(f"refused to open {url.scheme}://{url.host}: only https, unless the node's operator lists "
                             "the registry as insecure")  # fmt: skip
        try:
            address = ipaddress.ip_address(url.host)
        except ValueError:
            return
        if not self.allows(address):
            raise ImageError(f"refused to connect to {address}: not an address that images may come from")

    def allows(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        plain = getattr(address, "ipv4_mapped", None) or address
        if plain.is_loopback or plain.is_link_local or plain.is_unspecified or plain.is_multicast or plain.is_reserved:
            return False
        return not any(plain in network for network in self.refused if network.version == plain.version)


class GuardedResolver(AbstractResolver):
    """Resolves names to allowed addresses only."""

    def __init__(self, policy: DialPolicy) -> None:
        self._policy, self._resolver = policy, ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if f"{host}:{port}" in self._policy.insecure:
            return found
        allowed = [each for each in found if self._policy.allows(ipaddress.ip_address(each["host"].partition("%")[0]))]
        if not allowed:
            raise OSError(None, f"{host} leads to no address that images may come from")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


def session(policy: DialPolicy) -> aiohttp.ClientSession:
    """A client that opens nothing the policy refuses, keeps no cookies and ignores the environment's proxies."""
    connector = aiohttp.TCPConnector(resolver=GuardedResolver(policy), limit=16, limit_per_host=8)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
    )


def machine_addresses() -> frozenset[str]:
    """All addresses of this machine's interfaces, as they are now. Blocks; raises OSError."""
    with IPRoute() as route:
        messages = list(route.get_addr())
    # IFA_ADDRESS is the other end's on a point-to-point link, where IFA_LOCAL is our own
    return frozenset(str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")) for message in messages)


def own_addresses(addresses: Iterable[str]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Addresses as networks for `DialPolicy.refused`."""
    return tuple(ipaddress.ip_network(address) for address in addresses)
