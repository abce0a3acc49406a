"""What shouldn't be, found and put right: claims whose service is gone, and services whose claim is.

A service's claims are written and removed with it, so a crash leaves none behind but that of a second address
(objects.py); what else is found was made by hand. Each server looks now and then; each repair is a compare-and-swap.
Findings are told by Events, under upstream's reasons.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog

from hypernetes.api import scheme, times
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import serviceranges
from hypernetes.apiserver.contents import ADDRESSES, TENANTS, address_claim, completed
from hypernetes.apiserver.handlers.claims import NODE_PORTS, port_claim
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.objects import Objects, Place
from hypernetes.apiserver.registry import addressbands, addresses, nodeports, services
from hypernetes.apiserver.registry.metadata import generated_name
from hypernetes.apiserver.registry.servicefamilies import family_of
from hypernetes.apiserver.serviceranges import Ranges
from hypernetes.apiserver.storage.base import KeyExists, RevisionMismatch, SideWrite, Store, Unavailable

Object = dict[str, Any]

INTERVAL_SECONDS = 180.0  # upstream's
GRACE = timedelta(seconds=60)  # of an address whose service may be about to be written; upstream's
_TENANTS_AT_ONCE = 50  # looked at before others have a turn
_SERVICES = scheme.by_name("v1", "services")
_EVENTS = scheme.by_name("v1", "events")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell of, and perhaps a write that puts it right."""

    about: Object  # a service, or an IPAddress
    reason: str
    message: str
    repair: SideWrite | None = None


def findings(mirror: Mirror, ranges: Ranges, tenant: str, now: datetime) -> Iterator[Finding]:
    """Of one tenant, as the mirror has it at one revision."""
    keys = mirror.keys
    found = {entry.key: orjson.loads(entry.data) for entry in mirror.range(keys.range(_SERVICES, tenant))}
    owners: dict[str, Object] = {}
    for service in found.values():
        for address in services.addresses(service):
            owner = owners.setdefault(keys.of(ADDRESSES, tenant, "", address), service)
            yield from _address(mirror, ranges, tenant, service, address, owner, now)
        for number in nodeports.held(service):
            owner = owners.setdefault(keys.internal(NODE_PORTS, tenant, str(number)), service)
            yield from _port(mirror, tenant, service, number, owner)
    yield from _leaked(mirror, tenant, owners, now)


def _address(
    mirror: Mirror, ranges: Ranges, tenant: str, service: Object, address: str, owner: Object, now: datetime
) -> Iterator[Finding]:
    shown = f"Cluster IP [{family_of(address)}]: {address}"
    entry = mirror.object(ADDRESSES, tenant, "", address)
    if not ranges.hold(address):
        why = "is not within any configured Service CIDR; please recreate service"
        yield Finding(service, "ClusterIPOutOfRange", f"{shown} {why}")
    elif owner is not service:
        why = "was assigned to multiple services; please recreate service"
        yield Finding(service, "ClusterIPAlreadyAllocated", f"{shown} {why}")
    elif entry is None:
        repair = address_claim(mirror.keys, tenant, address, service, now)
        yield Finding(service, "ClusterIPNotAllocated", f"{shown} is not allocated; repairing", repair)
    elif not addresses.is_claim_of(orjson.loads(entry.data), service):
        why = "is somebody else's by its IPAddress; please recreate service"
        yield Finding(service, "ClusterIPAlreadyAllocated", f"{shown} {why}")


def _port(mirror: Mirror, tenant: str, service: Object, number: int, owner: Object) -> Iterator[Finding]:
    entry = mirror.get(mirror.keys.internal(NODE_PORTS, tenant, str(number)))
    if not addressbands.FIRST_PORT <= number <= addressbands.LAST_PORT:
        why = f"Port {number} is not within the port range; please recreate service"
        yield Finding(service, "PortOutOfRange", why)
    elif owner is not service or (entry is not None and not _is_port_of(orjson.loads(entry.data), service)):
        why = f"Port {number} was assigned to multiple services; please recreate service"
        yield Finding(service, "PortAlreadyAllocated", why)
    elif entry is None:
        repair = port_claim(mirror.keys, tenant, number, service)
        yield Finding(service, "PortNotAllocated", f"Port {number} is not allocated; repairing", repair)


def _is_port_of(claim: Object, service: Object) -> bool:
    metadata = service["metadata"]
    return (claim["namespace"], claim["name"]) == (metadata["namespace"], metadata["name"])


def _leaked(mirror: Mirror, tenant: str, owners: Mapping[str, Object], now: datetime) -> Iterator[Finding]:
    """Claims that no service has. An IPAddress that isn't the allocator's is its maker's affair."""
    for entry in mirror.range(mirror.keys.range(ADDRESSES, tenant)):
        if entry.key in owners:
            continue
        address = orjson.loads(entry.data)
        metadata, parent = address["metadata"], address["spec"]["parentRef"]
        ours = (metadata.get("labels") or {}).get(addresses.MANAGED_BY) == addresses.ALLOCATOR
        if ours and now - times.parse_time(metadata["creationTimestamp"]) > GRACE:
            whose = f"{parent.get('namespace', '')}/{parent['name']}"
            why = f"IPAddress: {metadata['name']} for Service {whose} appears to have leaked: cleaning up"
            yield Finding(address, "IPAddressNotAllocated", why, SideWrite(entry.key, None, entry.revision))
    for entry in mirror.range(mirror.keys.internal(NODE_PORTS, tenant, "")):
        if entry.key not in owners:
            claim = {"kind": "Service", "metadata": orjson.loads(entry.data)}
            why = f"Port {entry.key.rpartition('/')[2]} appears to have leaked: cleaning up"
            yield Finding(claim, "PortNotAllocated", why, SideWrite(entry.key, None, entry.revision))


class ClaimRepair:
    """Run `run()` in a task."""

    def __init__(self, store: Store, mirror: Mirror, objects: Objects, lookups: Lookups, clock: Any) -> None:
        self._store, self._mirror, self._objects, self._lookups = store, mirror, objects, lookups
        self._clock = clock

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.sweep()
            except Unavailable as error:
                log.warning("services' claims have to wait", error=str(error))

    async def sweep(self) -> int:
        """Looks at all tenants once; how much was put right. Raises Unavailable."""
        prefix = self._mirror.keys.range(TENANTS, SYSTEM_TENANT)
        names = [entry.name.name for entry in self._mirror.range(prefix) if entry.name is not None]
        repaired = 0
        for number, tenant in enumerate([SYSTEM_TENANT, *names]):
            if number % _TENANTS_AT_ONCE == 0:
                await asyncio.sleep(0)
            ranges = serviceranges.of_tenant(self._mirror, self._lookups, tenant)
            for finding in list(findings(self._mirror, ranges, tenant, self._clock())):
                repaired += await self._treat(tenant, finding)
        return repaired

    async def _treat(self, tenant: str, finding: Finding) -> bool:
        """Whether it was put right. What changed meanwhile is looked at again the next time."""
        log.warning("a service's claim", tenant=tenant, reason=finding.reason, message=finding.message)
        try:
            if finding.repair is not None:
                await self._store.write([finding.repair])
        except (KeyExists, RevisionMismatch):
            return False
        with suppress(StatusError):  # a namespace that ends, say
            await self._tell(tenant, finding)
        return finding.repair is not None

    async def _tell(self, tenant: str, finding: Finding) -> None:
        metadata, now = finding.about["metadata"], times.format_time(self._clock())
        namespace = metadata.get("namespace") or "default"
        about = {"kind": finding.about["kind"], "name": metadata["name"], "uid": metadata.get("uid", "")}
        about["apiVersion"] = "v1" if about["kind"] == "Service" else ADDRESSES.api_version
        name = generated_name(f"{metadata['name']}.")
        event = completed("v1", _EVENTS, {
            "kind": "Event", "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {**about, **({"namespace": namespace} if "namespace" in metadata else {})},
            "type": "Warning", "reason": finding.reason, "message": finding.message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "ipallocator-repair-controller"},
        }, self._clock())  # fmt: skip
        await self._objects.create(Place(_EVENTS, tenant, namespace, name), event)
