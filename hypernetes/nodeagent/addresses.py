"""A pod's address: claimed by creating a Port named after network and address, so that it is handed out once.

A pod finds its Port again after any crash by the pod's UID in it: a new agent's view of the tenant has what the former
one claimed, and what this one claims is in the pod's record. The Port has the pod's labels and the names of its
ports, so that whoever enforces policies knows all pods of the tenant without reading pods of other nodes.
"""

import asyncio
import ipaddress
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from hypernetes.api import tenancy
from hypernetes.api.models.core_v1 import ContainerPort, Namespace, ObjectReference, Pod
from hypernetes.api.models.hypernetes_v1 import Network, Port, PortSpec, Tenant
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.status import StatusError
from hypernetes.client import Client, is_reason
from hypernetes.nodeagent.tenantview import TenantViews
from hypernetes.providers.network import base as network_base
from hypernetes.providers.network import subnets

# Addresses tried one by one before the taken ones are listed and left out.
_BLIND_TRIES = 4
_ACTIVE = "Active"
_READY, _FAILED, _ADDRESS_IN_USE = "Ready", "Failed", "AddressInUse"  # of a Port's status
_BOUND_SECONDS = 60.0  # until a pod's owner is told that nothing happens
_TAKEN_TRIES = 8  # addresses of a network that others are on, too


class AddressError(Exception):
    """A pod can't have an address (yet); the message is for its owner."""


class _AddressTaken(Exception):
    """By somebody whom the API doesn't know: an address on a network that isn't ours alone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A pod's place in its tenant's network, as its record keeps it."""

    port: str  # the Port's name
    network: network_base.NetworkSpec
    subnet: network_base.Subnet
    address: str
    mac_address: str

    @property
    def service_cidr(self) -> str:
        return self.network.service_cidr

    @property
    def interface(self) -> str:
        """Address with prefix length."""
        return f"{self.address}/{ipaddress.ip_network(self.subnet.cidr).prefixlen}"

    def port_spec(self, pod_uid: str) -> network_base.PortSpec:
        return network_base.PortSpec(pod_uid, self.network, self.subnet, self.address, self.mac_address)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Claim":
        network = value["network"]
        return cls(
            port=value["port"],
            network=network_base.NetworkSpec(**{**network, "subnets": tuple(map(_subnet, network["subnets"]))}),
            subnet=_subnet(value["subnet"]),
            address=value["address"],
            mac_address=value["mac_address"],
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _subnet(value: dict[str, Any]) -> network_base.Subnet:
    return network_base.Subnet(**{**value, "ranges": tuple(map(tuple, value.get("ranges", ())))})


def named_ports(pod: Pod) -> list[ContainerPort]:
    """What policies may call by name (NetworkPolicyPort.port)."""
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    return [port for container in containers for port in container.ports if port.name]


def candidates(subnet: network_base.Subnet, taken: frozenset[str], start: int) -> Iterator[str]:
    """All free addresses of a subnet's ranges, from the `start`-th on and round."""
    network = ipaddress.ip_network(subnet.cidr)
    reserved = {subnet.gateway, str(network.network_address), str(network.broadcast_address)}
    count = network.num_addresses
    ranges = [tuple(int(ipaddress.ip_address(end)) for end in ends) for ends in subnet.ranges]
    for offset in range(count):
        found = network[(start + offset) % count]
        inside = not ranges or any(first <= int(found) <= last for first, last in ranges)
        if inside and (address := str(found)) not in reserved and address not in taken:
            yield address


class Addresses:
    """Claims and releases Ports."""

    def __init__(
        self, client: Client, views: TenantViews, node_name: str, node_address: str, *, bound: bool = False
    ) -> None:
        """`bound` where a claim is good once hn-controllers have bound its port (`NetworkProvider.binds_ports`)."""
        self._client, self._views, self._are_bound = client, views, bound
        self._node_name, self._node_address = node_name, node_address
        self._in_doubt: set[str] = set()  # pods by UID, of which a claim went out and no answer came

    async def claim(self, pod: Pod, tenant: str) -> Claim:
        """The pod's claim, found again or new. Raises AddressError, StatusError, TransportError."""
        for _ in range(_TAKEN_TRIES):
            claim = await self._claim(pod, tenant)
            try:
                await self.bound(claim, tenant, pod.metadata.uid or "")
                return claim
            except _AddressTaken as error:
                await self.release(claim, tenant, pod.metadata.uid or "")
                if pod.metadata.annotations.get(tenancy.ADDRESS_ANNOTATION):
                    raise AddressError(str(error)) from error
        raise AddressError(
            f"{_TAKEN_TRIES} addresses in a row were somebody else's; give the network a range of its own"
        )

    async def bound(self, claim: Claim, tenant: str, pod_uid: str) -> network_base.PortSpec:
        """What the network provider is told to plug. Waits for hn-controllers where ports are bound. Raises
        AddressError."""
        spec = claim.port_spec(pod_uid)
        if not self._are_bound:
            return spec
        seen = -1
        try:
            async with asyncio.timeout(_BOUND_SECONDS):
                while True:
                    seen = await self._views.network_change(tenant, seen)
                    port = await self._views.port_named(tenant, claim.port)
                    if port is None or port.spec.pod_ref.uid != pod_uid:
                        continue
                    if port.status.phase == _READY:
                        return replace(spec, binding=tuple(sorted(port.status.binding.items())))
                    if port.status.phase == _FAILED:
                        message = port.status.message or port.status.reason or "the port could not be bound"
                        raise (_AddressTaken if port.status.reason == _ADDRESS_IN_USE else AddressError)(message)
        except TimeoutError as error:
            why = f"hn-controllers have not bound the port {claim.port} within {_BOUND_SECONDS:.0f} s"
            raise AddressError(why) from error

    async def _claim(self, pod: Pod, tenant: str) -> Claim:
        network = await self._network(pod, tenant)
        subnet = network.subnets[0]
        existing = await self._existing(pod.metadata.uid or "", tenant)
        if existing is not None:
            subnet = next((each for each in network.subnets if each.name == existing.spec.subnet), subnet)
            return Claim(
                existing.metadata.name or "", network, subnet, existing.spec.address, existing.spec.mac_address
            )
        asked = pod.metadata.annotations.get(tenancy.ADDRESS_ANNOTATION)
        if asked:
            return await self._claim_asked(pod, tenant, network, asked)
        return await self._claim_any(pod, tenant, network, subnet)

    async def release(self, claim: Claim, tenant: str, pod_uid: str) -> None:
        """Gives the address back; one that is another pod's by now, or gone, is left alone."""
        try:
            port = await self._client.get(Port, claim.port, tenant=tenant)
            if port.spec.pod_ref.uid == pod_uid:
                await self._client.delete(Port, claim.port, tenant=tenant, uid=port.metadata.uid)
        except StatusError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise

    async def label(self, claim: Claim, pod: Pod, tenant: str) -> None:
        """Gives the pod's Port the labels that the pod has now. Raises StatusError, TransportError."""
        port = await self._client.get(Port, claim.port, tenant=tenant)
        if port.spec.pod_ref.uid == pod.metadata.uid and port.metadata.labels != pod.metadata.labels:
            gone = dict.fromkeys(port.metadata.labels.keys() - pod.metadata.labels.keys())
            body = {"metadata": {"uid": port.metadata.uid, "labels": {**pod.metadata.labels, **gone}}}
            await self._client.patch(Port, claim.port, body, tenant=tenant)

    async def _existing(self, pod_uid: str, tenant: str) -> Port | None:
        if pod_uid not in self._in_doubt:
            return await self._views.port_of(tenant, pod_uid)
        listing = await self._client.list(Port, tenant=tenant)
        self._in_doubt.discard(pod_uid)
        own = (port for port in listing.items if port.spec.pod_ref.uid == pod_uid)
        return next((port for port in own if port.metadata.deletion_timestamp is None), None)

    async def _network(self, pod: Pod, tenant: str) -> network_base.NetworkSpec:
        namespace = await self._client.get(Namespace, pod.metadata.namespace or "", tenant=tenant)
        name = namespace.spec.network or tenancy.DEFAULT_NETWORK
        network = await self._client.get(Network, name, tenant=tenant)
        owner = await self._client.get(Tenant, tenant, tenant=tenancy.SYSTEM_TENANT)
        if network.status.phase != _ACTIVE:
            raise AddressError(f"the network {name!r} is {network.status.phase or 'not yet made'}; waiting for it")
        found = subnets.of(network)
        if not found:
            raise AddressError(f"the network {name!r} has no subnet")
        return network_base.NetworkSpec(
            tenant=tenant,
            tenant_uid=owner.metadata.uid or "",
            name=name,
            uid=network.metadata.uid or "",
            subnets=found,
            service_cidr=owner.spec.service_cidr or tenancy.DEFAULT_SERVICE_CIDR,
            segment_id=network.status.segment_id or 0,
            provider_network_id=network.spec.provider_network_id,
        )

    async def _claim_asked(self, pod: Pod, tenant: str, network: network_base.NetworkSpec, asked: str) -> Claim:
        try:
            address = ipaddress.ip_address(asked)
        except ValueError as error:
            raise AddressError(f"annotation {tenancy.ADDRESS_ANNOTATION}: {asked!r} is no IP address") from error
        for subnet in network.subnets:
            if address in ipaddress.ip_network(subnet.cidr):
                if str(address) not in candidates(subnet, frozenset(), 0):
                    raise AddressError(f"the address {asked} of the network {network.name!r} is reserved")
                claim = await self._try(pod, tenant, network, subnet, str(address))
                if claim is None:
                    raise AddressError(f"the address {asked} is another pod's in the network {network.name!r}")
                return claim
        raise AddressError(f"the address {asked} is in no subnet of the network {network.name!r}")

    async def _claim_any(
        self, pod: Pod, tenant: str, network: network_base.NetworkSpec, subnet: network_base.Subnet
    ) -> Claim:
        start = random.randrange(ipaddress.ip_network(subnet.cidr).num_addresses)
        for tried, address in enumerate(candidates(subnet, frozenset(), start)):
            if tried == _BLIND_TRIES:
                break
            if claim := await self._try(pod, tenant, network, subnet, address):
                return claim
        listing = await self._client.list(Port, tenant=tenant)
        taken = frozenset(port.spec.address for port in listing.items if port.spec.network == network.name)
        for address in candidates(subnet, taken, start):
            if claim := await self._try(pod, tenant, network, subnet, address):
                return claim
        raise AddressError(f"the subnet {subnet.cidr} of the network {network.name!r} has no free address")

    async def _try(
        self, pod: Pod, tenant: str, network: network_base.NetworkSpec, subnet: network_base.Subnet, address: str
    ) -> Claim | None:
        """None where the address is taken."""
        name = f"{network.name}.{address}"
        reference = ObjectReference(
            api_version_="v1", kind_="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name,
            uid=pod.metadata.uid,
        )  # fmt: skip
        mac = tenancy.mac_address(pod.metadata.uid or "")
        port = Port(
            metadata=ObjectMeta(name=name, labels=pod.metadata.labels),
            spec=PortSpec(
                network=network.name, subnet=subnet.name, address=address, mac_address=mac,
                node_name=self._node_name, node_address=self._node_address, pod_ref=reference,
                container_ports=named_ports(pod),
            ),
        )  # fmt: skip
        uid = pod.metadata.uid or ""
        self._in_doubt.add(uid)
        try:
            await self._client.create(port, tenant=tenant)
        except StatusError as error:
            self._in_doubt.discard(uid)
            if is_reason(error, "AlreadyExists"):
                return None
            raise
        self._in_doubt.discard(uid)
        return Claim(name, network, subnet, address, mac)
