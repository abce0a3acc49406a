"""Which addresses and ports are given to whom: those who ask for one of their own have the first part of a range.

What the server chooses comes from the rest, as long as there is some, so that the two seldom meet.
https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/
"""

import random
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network

FIRST_PORT, LAST_PORT = 30_000, 32_767  # upstream's range of node ports
_ADDRESSES = (16, 256, 16)  # at least, at most, and one in so many: KEP-3070
_PORTS = (16, 128, 32)  # KEP-3668
_GUESSES = 32  # random ones tried before looking at all of them


def static_part(size: int, band: tuple[int, int, int] = _ADDRESSES) -> int:
    """How many of a range of `size` the server leaves to those who ask; none of a small one."""
    least, most, step = band
    return 0 if size <= least else min(max(size // step, least), most)


def addresses(network: Network) -> Iterator[str]:
    """The addresses of a range in the order in which to try them: not the first, nor the last of IPv4."""
    last = network.num_addresses - (2 if network.version == 4 else 1)
    begin = 1 + static_part(network.num_addresses)
    return (str(network[offset]) for offset in _numbers(1, begin, last))


def ports() -> Iterator[int]:
    """The ports of the nodes, in the order in which to try them."""
    return _numbers(FIRST_PORT, FIRST_PORT + static_part(LAST_PORT - FIRST_PORT + 1, _PORTS), LAST_PORT)


def _numbers(first: int, begin: int, last: int) -> Iterator[int]:
    """Some at random from `begin` on, then all of these, then those before: mostly the first is free."""
    if begin <= last:
        yield from (random.randint(begin, last) for _ in range(_GUESSES))
        yield from range(begin, last + 1)
    yield from range(first, min(begin, last + 1))
