"""From which ranges a tenant's services have their addresses: those of its ServiceCIDRs that are ready."""

import ipaddress
from dataclasses import dataclass

import orjson

from hypernetes.api import scheme, tenancy
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.registry import addresses
from hypernetes.apiserver.registry.addressbands import Network
from hypernetes.apiserver.registry.servicefamilies import FAMILIES

_SERVICE_CIDRS = scheme.by_name("networking.k8s.io/v1", "servicecidrs")


@dataclass(frozen=True, slots=True)
class Ranges:
    own: str  # the tenant's own range, which has the addresses of the API and of the DNS
    networks: tuple[Network, ...]

    @property
    def families(self) -> tuple[str, ...]:
        """Those that there are ranges of, that of the tenant's own range first."""
        found = {f"IPv{network.version}" for network in self.networks}
        return tuple(family for family in FAMILIES if family in found) or FAMILIES[:1]

    @property
    def api(self) -> str:
        """The address that no service but `kubernetes` may have."""
        return tenancy.kubernetes_address(self.own)

    @property
    def reserved(self) -> tuple[str, str]:
        """What is never chosen, and asked for only by `kubernetes`."""
        return self.api, tenancy.dns_address(self.own)

    def of(self, family: str) -> list[Network]:
        return [network for network in self.networks if f"IPv{network.version}" == family]

    def hold(self, address: str) -> bool:
        return any(ipaddress.ip_address(address) in network for network in self.networks)


def of_tenant(mirror: Mirror, lookups: Lookups, tenant: str) -> Ranges:
    own, found = lookups.service_cidr(tenant), list[Network]()
    entries = list(mirror.range(mirror.keys.range(_SERVICE_CIDRS, tenant)))
    for entry in entries:
        service_cidr = orjson.loads(entry.data)
        if addresses.is_ready(service_cidr):
            found += map(ipaddress.ip_network, service_cidr["spec"]["cidrs"])
    if not entries:  # a tenant that is only now being made
        found = [ipaddress.ip_network(own)]
    return Ranges(own, tuple(sorted(found, key=lambda network: network != ipaddress.ip_network(own))))
