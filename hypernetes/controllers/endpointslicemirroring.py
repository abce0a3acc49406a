"""EndpointSlices of Endpoints that people write themselves, for Services without a selector: who reads nothing but
slices finds those backends, too. https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring

One slice per subset and address family, with a name that is derived from the Endpoints and a number.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from itertools import count

from hypernetes.api.models.core_v1 import EndpointAddress, Endpoints, EndpointSubset, Service
from hypernetes.api.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.addresses import SERVICE_NAME_LABEL
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.endpointslices import MANAGED_BY
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.ownership import controller_reference
from hypernetes.controllers.writes import Create, Delete, Update, Write, carry_out

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"  # of Endpoints that are an old form of a Lease
_CAPACITY = 1000  # endpoints per subset and slice, upstream's number; what is more is not mirrored


def is_mirrored(endpoints: Endpoints | None, service: Service | None) -> bool:
    if endpoints is None or service is None or service.spec.selector or endpoints.metadata.deletion_timestamp:
        return False
    skipped = endpoints.metadata.labels.get(SKIP, "").lower() in ("true", "1", "t")
    return not skipped and _LEADER not in endpoints.metadata.annotations


def plan(endpoints: Endpoints, existing: Sequence[EndpointSlice]) -> list[Write]:
    """`existing` are the slices that are ours."""
    by_name = {entry.metadata.name: entry for entry in existing}
    writes: list[Write] = []
    numbers = count()
    for subset in endpoints.subsets:
        for family in ("IPv4", "IPv6"):
            members = _members(subset, family)[:_CAPACITY]
            if members:
                name = _name(endpoints, next(numbers))
                writes += _write(_slice(endpoints, subset, family, members, name, by_name.get(name)), by_name)
    return [*writes, *map(Delete, by_name.values())]


def _write(wanted: EndpointSlice, by_name: dict[str | None, EndpointSlice]) -> list[Write]:
    former = by_name.pop(wanted.metadata.name, None)
    if former is None:
        return [Create(wanted)]
    if former.address_type != wanted.address_type:  # which can't be changed
        return [Delete(former)]
    return [] if former == wanted else [Update(wanted)]


def _members(subset: EndpointSubset, family: str) -> list[Endpoint]:
    both = ((subset.addresses, True), (subset.not_ready_addresses, False))
    return [
        _endpoint(address, ready=ready)
        for addresses, ready in both
        for address in addresses
        if _family(address.ip) == family
    ]


def _family(address: str) -> str:
    """ "" for what is none."""
    try:
        return f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        return ""


def _endpoint(address: EndpointAddress, *, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=[address.ip],
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


def _slice(
    endpoints: Endpoints, subset: EndpointSubset, family: str, members: list[Endpoint], name: str,
    former: EndpointSlice | None,
) -> EndpointSlice:  # fmt: skip
    own = endpoints.metadata
    labels = {**own.labels, SERVICE_NAME_LABEL: own.name or "", MANAGED_BY: MANAGER}
    fixed = {"labels": labels, "owner_references": [controller_reference(endpoints)]}
    metadata = former.metadata if former is not None else ObjectMeta(name=name, namespace=own.namespace)
    ports = [
        EndpointPort(
            name=port.name or "", port=port.port, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
        )
        for port in subset.ports
    ]
    return EndpointSlice(
        metadata=metadata.model_copy(update=fixed), address_type=family, endpoints=members, ports=ports
    )


def _name(endpoints: Endpoints, number: int) -> str:
    digest = hashlib.sha256(f"{endpoints.metadata.uid}/{number}".encode()).hexdigest()[:6]
    return f"{endpoints.metadata.name}-{digest}"


class EndpointSliceMirroring(Controller):
    name = "endpointslicemirroring"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._endpoints, self._services = informers.of(Endpoints), informers.of(Service)
        self._slices = informers.of(EndpointSlice)
        self._endpoints.on_key(self.queue.add)
        self._services.on_key(self.queue.add)
        self._slices.on_change(self._slice_changed)

    def _slice_changed(self, key: Key, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for entry in (old, new):
            if entry is not None and entry.metadata.labels.get(MANAGED_BY) == MANAGER:
                self.queue.add(Key(key.tenant, key.namespace, entry.metadata.labels.get(SERVICE_NAME_LABEL, "")))

    async def reconcile(self, key: Key) -> float | None:
        endpoints = self._endpoints.get(key)
        found = self._slices.by_index("service", f"{key.tenant}/{key.namespace}/{key.name}")
        ours = [entry for entry in found if entry.metadata.labels.get(MANAGED_BY) == MANAGER]
        if endpoints is not None and is_mirrored(endpoints, self._services.get(key)):
            await carry_out(self.client, key.tenant, plan(endpoints, ours))
        else:
            await carry_out(self.client, key.tenant, [Delete(entry) for entry in ours])
        return None
