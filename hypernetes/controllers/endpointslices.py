"""EndpointSlices (discovery.k8s.io/v1): a Service's backends in pieces, so that one pod's change rewrites one piece.

A backend stays in the slice it is in; new ones fill slices that have room, then new slices. Names are derived from the
Service and a number, so that doing it twice makes nothing twice.
"""

import hashlib
from collections.abc import Sequence

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.addresses import HEADLESS_LABEL, SERVICE_NAME_LABEL, Backend, Port, is_headless
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.ownership import controller_reference
from hypernetes.controllers.servicecontroller import ServiceController
from hypernetes.controllers.writes import Create, Delete, Update, Write, carry_out

MANAGED_BY, MANAGER = "endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"
CAPACITY = 100  # endpoints per slice (upstream's number)
Ports = tuple[Port, ...]


def plan(service: Service, backends: Sequence[Backend], existing: Sequence[EndpointSlice]) -> list[Write]:
    """`existing` are the slices that are ours."""
    wanted: dict[Ports, dict[str, Backend]] = {}
    for backend in backends:
        wanted.setdefault(backend.ports, {})[backend.pod_uid] = backend
    if not wanted:
        # One empty slice says that the Service is known and has no backend.
        wanted[_any_ports(existing)] = {}
    filled: list[tuple[EndpointSlice | None, Ports, list[Backend]]] = []
    left = {ports: dict(members) for ports, members in wanted.items()}
    for entry in sorted(existing, key=lambda entry: entry.metadata.name or ""):
        ports = _ports_of(entry)
        members = left.get(ports, {})
        uids = [endpoint.target_ref.uid or "" for endpoint in entry.endpoints if endpoint.target_ref]
        filled.append((entry, ports, [members.pop(uid) for uid in uids if uid in members]))
    for ports, members in left.items():
        _place(ports, list(members.values()), filled, is_needed=not wanted[ports])
    return _writes(service, filled)


def _place(
    ports: Ports, newcomers: list[Backend], filled: list[tuple[EndpointSlice | None, Ports, list[Backend]]], *,
    is_needed: bool,
) -> None:  # fmt: skip
    """Into the fullest slices with room, then into new ones. `is_needed`: there must be one, if an empty one."""
    mine = sorted((entry for entry in filled if entry[1] == ports), key=lambda entry: -len(entry[2]))
    if not mine and is_needed:
        filled.append((None, ports, []))
    for _, _, members in mine:
        room = max(0, CAPACITY - len(members))
        members += newcomers[:room]
        newcomers = newcomers[room:]
    for start in range(0, len(newcomers), CAPACITY):
        filled.append((None, ports, newcomers[start : start + CAPACITY]))


def _writes(service: Service, filled: list[tuple[EndpointSlice | None, Ports, list[Backend]]]) -> list[Write]:
    writes: list[Write] = []
    taken = {entry.metadata.name for entry, _, _ in filled if entry is not None}
    # Of slices left empty one may stay, if there are no backends at all.
    keep_empty = not any(members for _, _, members in filled)
    for entry, ports, members in filled:
        if entry is not None and not members and not keep_empty:
            writes.append(Delete(entry))
            continue
        keep_empty = keep_empty and bool(members)
        name = entry.metadata.name if entry is not None else _free_name(service, taken)
        taken.add(name)
        slice_ = _slice(service, name or "", ports, members, entry)
        if entry is None:
            writes.append(Create(slice_))
        elif slice_ != entry:
            writes.append(Update(slice_))
    # Deletions last: a backend that moved is in two slices for a moment, never in none.
    return [write for write in writes if not isinstance(write, Delete)] + [
        write for write in writes if isinstance(write, Delete)
    ]


def _slice(
    service: Service, name: str, ports: Ports, members: Sequence[Backend], former: EndpointSlice | None
) -> EndpointSlice:
    labels = {**service.metadata.labels, SERVICE_NAME_LABEL: service.metadata.name or "", MANAGED_BY: MANAGER}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    fixed = {"labels": labels, "owner_references": [controller_reference(service)]}
    metadata = former.metadata if former is not None else ObjectMeta(name=name, namespace=service.metadata.namespace)
    return EndpointSlice(
        metadata=metadata.model_copy(update=fixed),
        address_type="IPv4",
        endpoints=[_endpoint(backend) for backend in members],
        ports=[
            EndpointPort(
                name=port.name, port=port.number, protocol=port.protocol, app_protocol=port.app_protocol or None
            )
            for port in ports
        ],
    )


def _endpoint(backend: Backend) -> Endpoint:
    return Endpoint(
        addresses=[backend.address],
        conditions=EndpointConditions(ready=backend.ready, serving=backend.serving, terminating=backend.terminating),
        hostname=backend.hostname,
        node_name=backend.node_name,
        target_ref=backend.reference(),
    )


def _ports_of(entry: EndpointSlice) -> Ports:
    return tuple(
        Port(port.name or "", port.port or 0, port.protocol or "TCP", port.app_protocol or "") for port in entry.ports
    )


def _any_ports(existing: Sequence[EndpointSlice]) -> Ports:
    return _ports_of(min(existing, key=lambda entry: entry.metadata.name or "")) if existing else ()


def _free_name(service: Service, taken: set[str | None]) -> str:
    number = 0
    while (name := f"{service.metadata.name}-{_suffix(service, number)}") in taken:
        number += 1
    return name


def _suffix(service: Service, number: int) -> str:
    """Names the slices of this very Service: one of the same name, created later, has other suffixes."""
    return hashlib.sha256(f"{service.metadata.uid}/{number}".encode()).hexdigest()[:6]


class EndpointSlices(ServiceController):
    name = "endpointslice"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._slices = informers.of(EndpointSlice)
        self._slices.on_change(self._slice_changed)

    def _slice_changed(self, key: Key, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for entry in (old, new):
            if entry is not None and entry.metadata.labels.get(MANAGED_BY) == MANAGER:
                service = entry.metadata.labels.get(SERVICE_NAME_LABEL, "")
                self.queue.add(Key(key.tenant, key.namespace, service))

    async def publish(self, key: Key, service: Service, backends: list[Backend]) -> None:
        await carry_out(self.client, key.tenant, plan(service, backends, self._ours(key)))

    async def remove(self, key: Key) -> None:
        await carry_out(self.client, key.tenant, [Delete(entry) for entry in self._ours(key)])

    def _ours(self, key: Key) -> list[EndpointSlice]:
        found = self._slices.by_index("service", f"{key.tenant}/{key.namespace}/{key.name}")
        return [
            entry
            for entry in found
            if entry.metadata.labels.get(MANAGED_BY) == MANAGER and entry.metadata.deletion_timestamp is None
        ]
