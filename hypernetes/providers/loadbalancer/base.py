"""What a load balancer provider does: an address for a Service, with pods behind it.

    factory = loading.load("loadbalancer", "octavia")              # entry points `hypernetes.providers.loadbalancer`
    provider: LoadBalancerProvider = factory(cluster_id=…, configuration=Path(…))

hn-controllers alone uses it (`--load-balancer-provider NAME=FILE`). Every call is idempotent and may be repeated after
a crash at any point; a Service is its UID, never its name. Members are pods' own addresses, never nodes'.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class LoadBalancerError(Exception):
    """What can't be done (yet). `reason` is a stable CamelCase word, `message` says what to do next."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class Pending(Exception):
    """What was begun goes on at the provider's, and nothing can be done meanwhile: the call is to be repeated soon.

    A provider never waits in a call: hn-controllers give a tenant to another process only when no call for it is under
    way.
    """


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A pod's port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Listener:
    """One port of the Service."""

    protocol: str  # "TCP", "UDP" or "SCTP"
    port: int
    members: frozenset[Member] = frozenset()


@dataclass(frozen=True, slots=True)
class LoadBalancerSpec:
    """All that a Service's load balancer is to be. (`project`, `uid`) identifies it."""

    tenant: str
    project: str  # the tenant's id with the identity provider
    uid: str  # of the Service
    name: str  # NAMESPACE/NAME, for people
    network_id: str  # the network provider's id of the network that the members are on
    listeners: tuple[Listener, ...] = ()
    source_ranges: tuple[str, ...] = ()  # CIDRs of clients; () for all
    address: str = ""  # outside, that is asked for (`spec.loadBalancerIP`, or that of `spec.externalIPs`)
    inside: bool = False  # type NetworkProvider: clients are told its address on the network; `address` they know
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the Service
    published: str = field(default="", compare=False)  # the address that clients were told, "" for none yet


class LoadBalancerProvider(Protocol):
    name: str  # what `spec.loadBalancerClass` calls it: hypernetes.io/NAME

    async def ensure(self, wanted: LoadBalancerSpec) -> str:
        """Makes it exist as wanted; returns the address that clients are told. Raises LoadBalancerError and Pending."""

    async def delete(self, project: str, uid: str) -> None:
        """Removes what `ensure` made, all of it. One that is gone is no error. Raises LoadBalancerError, and Pending
        until nothing is left."""

    async def close(self) -> None:
        """Gives back what it took. Twice is no error."""
