"""Cluster addresses of services: claimed by an internal key that is written with the service, or not at all.

So no address is handed out twice, whatever crashes, and none is lost: the key goes with the service, too.
"""

import copy
import ipaddress
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from hypernetes.api import tenancy
from hypernetes.api.status import StatusError, cause, invalid
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.objects import ClaimTaken, Place, Written
from hypernetes.apiserver.registry import services
from hypernetes.apiserver.storage.base import SideWrite

Object = dict[str, Any]

_KIND = "clusterips"
_ATTEMPTS = 20  # addresses tried of those that looked free
_GUESSES = 32  # random addresses tried before looking at all of them


async def create(call: Call, place: Place, obj: Object, *, dry_run: bool) -> Written:
    """Creates an object; a service with its address, given or chosen. Raises StatusError."""
    if not _is_service(place):
        return await call.parts.objects.create(place, obj, dry_run=dry_run)
    avoid: set[str] = set()
    for _ in range(_ATTEMPTS):
        service = copy.deepcopy(obj)
        also = _claims(call, service, None, avoid)
        try:
            return await call.parts.objects.create(place, service, also=also, dry_run=dry_run)
        except ClaimTaken as taken_claim:
            if services.addresses(obj):
                raise taken(call, taken_claim) from taken_claim
            avoid.add(taken_claim.key.rpartition("/")[2])
    raise _exhausted(obj)


def reclaimed(call: Call, new: Object, old: Object) -> Sequence[SideWrite]:
    """What an update changes in the claims; a service that now needs an address gets one."""
    return _claims(call, new, old, set()) if new["kind"] == "Service" else ()


def released(call: Call, obj: Object) -> Sequence[SideWrite]:
    """What goes with an object that is removed."""
    if obj["kind"] != "Service":
        return ()
    return [SideWrite(_key(call, address), None) for address in services.addresses(obj)]


def taken(call: Call, claim: ClaimTaken) -> StatusError:
    address = claim.key.rpartition("/")[2]
    why = "failed to allocate IP: provided IP is already allocated"
    found = cause("FieldValueInvalid", "spec.clusterIPs[0]", f'Invalid value: ["{address}"]: {why}')
    return invalid("", "Service", call.route.name, [found])


def _claims(call: Call, new: Object, old: Object | None, avoid: set[str]) -> list[SideWrite]:
    """The claims that `new` makes and gives up compared with `old`; completes `new` with a chosen address."""
    before = set(services.addresses(old)) if old is not None else set()
    network = ipaddress.ip_network(call.parts.lookups.service_cidr(call.one_tenant))
    if services.needs_address(new):
        services.assign(new, _choose(call, new, network, avoid))
    after = services.addresses(new)
    _check_range(new, [address for address in after if address not in before], network)
    owner = {"namespace": new["metadata"]["namespace"], "name": new["metadata"]["name"]}
    claim = orjson.dumps({"kind": "Service", **owner, "uid": new["metadata"]["uid"]})
    made = [SideWrite(_key(call, address), claim, expected=0) for address in after if address not in before]
    return made + [SideWrite(_key(call, address), None) for address in before - set(after)]


def _choose(call: Call, obj: Object, network: Any, avoid: set[str]) -> str:
    mirror = call.parts.mirror
    for address in _candidates(network):
        if address not in avoid and mirror.get(_key(call, address)) is None:
            return address
    raise _exhausted(obj)


def _candidates(network: Any) -> Iterator[str]:
    """Some addresses at random, then all: the range is mostly empty, but may be full."""
    first, last = 3, network.num_addresses - 2  # 1 and 2 are the API's and the DNS's, the last is the broadcast
    if last < first:
        return
    for _ in range(_GUESSES):
        yield str(network[random.randint(first, last)])
    for offset in range(first, last + 1):
        yield str(network[offset])


def _check_range(obj: Object, addresses: Iterable[str], network: Any) -> None:
    for address in addresses:
        if ipaddress.ip_address(address) not in network:
            why = f"failed to allocate IP {address}: the provided IP is not in the valid range {network}"
            found = cause("FieldValueInvalid", "spec.clusterIPs[0]", f'Invalid value: ["{address}"]: {why}')
            raise invalid("", "Service", obj["metadata"]["name"], [found])
        if address == tenancy.dns_address(str(network)) or (
            address == tenancy.kubernetes_address(str(network)) and not services.is_kubernetes(obj)
        ):
            found = cause("FieldValueInvalid", "spec.clusterIPs[0]", f'Invalid value: ["{address}"]: is reserved')
            raise invalid("", "Service", obj["metadata"]["name"], [found])


def _exhausted(obj: Object) -> StatusError:
    message = "failed to allocate a cluster IP: the tenant's service range is full"
    return StatusError("InternalError", message, details={"name": obj["metadata"]["name"], "kind": "services"})


def _is_service(place: Place) -> bool:
    return (place.resource.group, place.resource.name) == ("", "services")


def _key(call: Call, address: str) -> str:
    return call.parts.keys.internal(_KIND, call.one_tenant, address)
