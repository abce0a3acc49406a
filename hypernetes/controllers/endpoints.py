"""Endpoints (v1): all addresses of a Service in one object. EndpointSlices are the newer form of the same."""

from collections.abc import Sequence
from itertools import groupby

from hypernetes.api.models.core_v1 import EndpointAddress, EndpointPort, Endpoints, EndpointSubset, Service
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.addresses import HEADLESS_LABEL, Backend, is_headless
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.servicecontroller import ServiceController
from hypernetes.controllers.writes import Create, Delete, Update, Write, carry_out

MANAGED_BY, MANAGER = "endpoints.kubernetes.io/managed-by", "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
_CAPACITY = 1000  # addresses in one object (upstream's number)


def plan(service: Service, backends: Sequence[Backend], existing: Endpoints | None) -> list[Write]:
    # Terminating pods are left out, unless the Service wants to hear of everything.
    shown = [backend for backend in backends if not backend.terminating or service.spec.publish_not_ready_addresses]
    kept = sorted(shown, key=lambda backend: not backend.ready)[:_CAPACITY]
    labels = {**service.metadata.labels, MANAGED_BY: MANAGER}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    subsets = _subsets(kept)
    if existing is None:
        metadata = ObjectMeta(name=service.metadata.name, namespace=service.metadata.namespace, labels=labels)
        metadata.annotations = _annotations({}, truncated=len(kept) < len(shown))
        return [Create(Endpoints(metadata=metadata, subsets=subsets))]
    annotations = _annotations(existing.metadata.annotations, truncated=len(kept) < len(shown))
    former = existing.metadata
    if (existing.subsets, former.labels, former.annotations) == (subsets, labels, annotations):
        return []
    metadata = former.model_copy(update={"labels": labels, "annotations": annotations})
    return [Update(existing.model_copy(update={"metadata": metadata, "subsets": subsets}))]


def _annotations(former: dict[str, str], *, truncated: bool) -> dict[str, str]:
    others = {name: text for name, text in former.items() if name != OVER_CAPACITY}
    return {**others, OVER_CAPACITY: "truncated"} if truncated else others


def _subsets(backends: Sequence[Backend]) -> list[EndpointSubset]:
    """Backends with the same ports go together; each subset in the order of addresses, so that nothing jumps about."""
    subsets = []
    for ports, group in groupby(sorted(backends, key=lambda entry: entry.ports), key=lambda entry: entry.ports):
        members = sorted(group, key=lambda entry: (entry.address, entry.pod_uid))
        subsets.append(
            EndpointSubset(
                addresses=[_address(entry) for entry in members if entry.ready],
                not_ready_addresses=[_address(entry) for entry in members if not entry.ready],
                ports=[
                    EndpointPort(
                        name=port.name or None, port=port.number, protocol=port.protocol,
                        app_protocol=port.app_protocol or None,
                    )
                    for port in ports
                ],
            )
        )  # fmt: skip
    return subsets


def _address(backend: Backend) -> EndpointAddress:
    return EndpointAddress(
        ip=backend.address, node_name=backend.node_name, hostname=backend.hostname, target_ref=backend.reference()
    )


class EndpointsController(ServiceController):
    name = "endpoints"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._endpoints = informers.of(Endpoints)
        self._endpoints.on_key(self.queue.add)

    async def publish(self, key: Key, service: Service, backends: list[Backend]) -> None:
        await carry_out(self.client, key.tenant, plan(service, backends, self._endpoints.get(key)))

    async def remove(self, key: Key) -> None:
        existing = self._endpoints.get(key)
        if existing is not None and existing.metadata.labels.get(MANAGED_BY) == MANAGER:
            await carry_out(self.client, key.tenant, [Delete(existing)])
