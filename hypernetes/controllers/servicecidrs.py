"""ServiceCIDRs: held by a finalizer while services have addresses that no other range has, and told to be ready.

The API server gives addresses of ready ranges only. One that is being deleted isn't ready; its finalizer goes some time
after that, when every API server has heard of it.
https://kubernetes.io/docs/tasks/network/extend-service-ip-ranges/
"""

import ipaddress
from collections.abc import Iterable
from datetime import datetime

from hypernetes.api import times
from hypernetes.api.models.meta_v1 import Condition
from hypernetes.api.models.networking_v1 import IPAddress, ServiceCIDR, ServiceCIDRStatus
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, namespace_index
from hypernetes.controllers.writes import Update, UpdateStatus, Write, carry_out

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
MANAGED_BY, ALLOCATOR = "ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"
READY, TERMINATING = "Ready", "Terminating"
GRACE_SECONDS = 10.0  # from the deletion on; as upstream

_IS_READY = ("True", "", "Kubernetes Service CIDR is ready")
_IN_USE = ("False", TERMINATING, "There are still IPAddresses referencing the ServiceCIDR, please remove them first")


def plan(
    service_cidr: ServiceCIDR, others: Iterable[ServiceCIDR], addresses: Iterable[IPAddress], now: datetime
) -> tuple[list[Write], float | None]:
    """What to write, and the seconds after which to look again. `others` and `addresses` are all of the tenant."""
    metadata = service_cidr.metadata
    if metadata.deletion_timestamp is None:
        if FINALIZER not in metadata.finalizers:
            return [_finalizers(service_cidr, [*metadata.finalizers, FINALIZER])], None
        return _told(service_cidr, _IS_READY, now), None
    if FINALIZER not in metadata.finalizers:
        return [], None
    if in_use(service_cidr, others, addresses):
        return _told(service_cidr, _IN_USE, now), None
    left = GRACE_SECONDS - (now - times.parse_time(metadata.deletion_timestamp)).total_seconds()
    if left > 0:
        return [], left
    return [_finalizers(service_cidr, [name for name in metadata.finalizers if name != FINALIZER])], None


def in_use(service_cidr: ServiceCIDR, others: Iterable[ServiceCIDR], addresses: Iterable[IPAddress]) -> bool:
    """Whether a service has an address of it that no other range that stays has."""
    own, name = _networks([service_cidr]), service_cidr.metadata.name
    staying = _networks(each for each in others if each.metadata.name != name and _stays(each))
    for address in addresses:
        if address.metadata.labels.get(MANAGED_BY) != ALLOCATOR:
            continue
        ip = ipaddress.ip_address(address.metadata.name or "")
        if any(ip in network for network in own) and not any(ip in network for network in staying):
            return True
    return False


def _stays(service_cidr: ServiceCIDR) -> bool:
    """What isn't held yet may go at any time."""
    return service_cidr.metadata.deletion_timestamp is None and FINALIZER in service_cidr.metadata.finalizers


def _networks(ranges: Iterable[ServiceCIDR]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(cidr) for each in ranges for cidr in each.spec.cidrs]


def _finalizers(service_cidr: ServiceCIDR, names: list[str]) -> Update:
    metadata = service_cidr.metadata.model_copy(update={"finalizers": names})
    return Update(service_cidr.model_copy(update={"metadata": metadata}))


def _told(service_cidr: ServiceCIDR, wanted: tuple[str, str, str], now: datetime) -> list[Write]:
    status, reason, message = wanted
    former = service_cidr.status.conditions
    old = next((each for each in former if each.type == READY), None)
    if old is not None and (old.status, old.reason, old.message) == wanted:
        return []
    since = times.format_time(now) if old is None or old.status != status else old.last_transition_time
    condition = Condition.from_dict(
        {"type": READY, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
    )
    told = ServiceCIDRStatus(conditions=[*(each for each in former if each.type != READY), condition])
    return [UpdateStatus(service_cidr.model_copy(update={"status": told}))]


class ServiceCIDRs(Controller):
    name = "servicecidrs"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._ranges, self._addresses = informers.of(ServiceCIDR), informers.of(IPAddress)
        self._ending: set[Key] = set()
        self._ranges.on_change(self._range_changed)
        self._addresses.on_change(self._address_changed)

    def _range_changed(self, key: Key, old: ServiceCIDR | None, new: ServiceCIDR | None) -> None:
        self.queue.add(key)
        if new is not None and new.metadata.deletion_timestamp is not None:
            self._ending.add(key)
        else:
            self._ending.discard(key)
            self._look_again(key.tenant)

    def _address_changed(self, key: Key, old: IPAddress | None, new: IPAddress | None) -> None:
        if new is None:
            self._look_again(key.tenant)

    def _look_again(self, tenant: str) -> None:
        for key in self._ending:
            if key.tenant == tenant:
                self.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        service_cidr = self._ranges.get(key)
        if service_cidr is None:
            return None
        place = namespace_index(key.tenant, None)
        ranges, addresses = self._ranges.by_index("namespace", place), self._addresses.by_index("namespace", place)
        writes, again = plan(service_cidr, ranges, addresses, times.now())
        await carry_out(self.client, key.tenant, writes)
        return again
