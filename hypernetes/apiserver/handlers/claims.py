"""Cluster addresses and node ports of services: claimed by internal keys that are written with the service, or not.

So none is handed out twice, whatever crashes, and none is lost: the key goes with the service, too.
"""

import copy
import ipaddress
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson

from hypernetes.api import tenancy
from hypernetes.api.status import StatusError, cause, invalid
from hypernetes.apiserver import quota
from hypernetes.apiserver.handlers import quotas
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.objects import ClaimTaken, Place, Written
from hypernetes.apiserver.registry import nodeports, services
from hypernetes.apiserver.storage.base import SideWrite

Object = dict[str, Any]

ADDRESSES, NODE_PORTS = "clusterips", "nodeports"  # internal kinds
_ATTEMPTS = 20  # of one request, each with others than those that turned out to be taken
_GUESSES = 32  # random ones tried before looking at all of them


async def create(call: Call, place: Place, obj: Object, *, dry_run: bool) -> Written:
    """Creates an object; a service with its address and ports, given or chosen. Raises StatusError."""
    if not _is_service(place):
        return await call.parts.objects.create(place, obj, also=quotas.charges(call, obj, None), dry_run=dry_run)

    async def write() -> Written:
        service = copy.deepcopy(obj)
        also = [*_claims(call, service, None), *quotas.charges(call, service, None)]
        return await call.parts.objects.create(place, service, also=also, dry_run=dry_run)

    return await claiming(call, obj, write)


async def claiming(call: Call, obj: Object | None, write: Callable[[], Awaitable[Written]]) -> Written:
    """Writes, again and with another choice where what it chose is taken. Raises StatusError.

    Who insists on a claim that was found taken was told it by the client. `obj` is what the client sent, if known.
    """
    for _ in range(_ATTEMPTS):
        try:
            return await write()
        except ClaimTaken as error:
            if quota.is_ledger(call.parts.keys, error.key):
                raise
            if error.key in call.taken_claims:
                raise _taken(call, error, obj) from error
            call.taken_claims.add(error.key)
    raise StatusError("Conflict", "others were faster each time; try again")


def reclaimed(call: Call, new: Object, old: Object) -> Sequence[SideWrite]:
    """What an update changes in the claims; a service that now needs an address or ports gets them."""
    return _claims(call, new, old) if new["kind"] == "Service" else ()


def released(call: Call, obj: Object) -> Sequence[SideWrite]:
    """What goes with an object that is removed."""
    return [SideWrite(key, None) for key in _held(call, obj)] if obj["kind"] == "Service" else ()


def _taken(call: Call, claim: ClaimTaken, obj: Object | None) -> StatusError:
    name = call.route.name or (obj or {}).get("metadata", {}).get("name", "")
    value = claim.key.rpartition("/")[2]
    if claim.key == _key(call, NODE_PORTS, value):
        path = "spec.ports[0].nodePort" if obj is None else nodeports.path_of(obj, int(value))
        return _refused(name, path, value, "provided port is already allocated")
    why = "failed to allocate IP: provided IP is already allocated"
    return _refused(name, "spec.clusterIPs", f'["{value}"]', why)


def _refused(name: str, path: str, value: object, why: str) -> StatusError:
    return invalid("", "Service", name, [cause("FieldValueInvalid", path, f"Invalid value: {value}: {why}")])


def _claims(call: Call, new: Object, old: Object | None) -> list[SideWrite]:
    """The claims that `new` makes and gives up compared with `old`; completes `new` with what is chosen."""
    before = set(_held(call, old)) if old is not None else set()
    network = ipaddress.ip_network(call.parts.lookups.service_cidr(call.one_tenant))
    if services.needs_address(new):
        services.assign(new, _free(call, new, ADDRESSES, _addresses(network), "cluster IP: the tenant's service range"))
    nodeports.assign(new, lambda has: _port(call, new, has))
    after = _held(call, new)
    _check_addresses(new, [entry for entry in services.addresses(new) if _key(call, ADDRESSES, entry) not in before],
                     network)  # fmt: skip
    _check_ports(new)
    owner = {"namespace": new["metadata"]["namespace"], "name": new["metadata"]["name"]}
    claim = orjson.dumps({"kind": "Service", **owner, "uid": new["metadata"]["uid"]})
    made = [SideWrite(key, claim, expected=0) for key in after if key not in before]
    return made + [SideWrite(key, None) for key in sorted(before - set(after))]


def _held(call: Call, service: Object) -> list[str]:
    """The keys of all claims that a service holds."""
    addresses = [_key(call, ADDRESSES, address) for address in services.addresses(service)]
    return addresses + [_key(call, NODE_PORTS, str(number)) for number in nodeports.held(service)]


def _port(call: Call, obj: Object, has: set[int]) -> int:
    candidates = (number for number in _numbers(nodeports.FIRST, nodeports.LAST) if number not in has)
    return int(_free(call, obj, NODE_PORTS, map(str, candidates), "node port: the tenant's range"))


def _free(call: Call, obj: Object, kind: str, candidates: Iterable[str], what: str) -> str:
    """The first candidate that looks free. Raises StatusError."""
    for candidate in candidates:
        key = _key(call, kind, candidate)
        if key not in call.taken_claims and call.parts.mirror.get(key) is None:
            return candidate
    details = {"name": obj["metadata"]["name"], "kind": "services"}
    raise StatusError("InternalError", f"failed to allocate a {what} is full", details=details)


def _addresses(network: Any) -> Iterator[str]:
    # 1 and 2 are the API's and the DNS's, the last is the broadcast
    return (str(network[offset]) for offset in _numbers(3, network.num_addresses - 2))


def _numbers(first: int, last: int) -> Iterator[int]:
    """Some numbers at random, then all: the range is mostly empty, but may be full."""
    if first <= last:
        yield from (random.randint(first, last) for _ in range(_GUESSES))
        yield from range(first, last + 1)


def _check_addresses(obj: Object, addresses: Iterable[str], network: Any) -> None:
    name = obj["metadata"]["name"]
    for address in addresses:
        if ipaddress.ip_address(address) not in network:
            why = f"failed to allocate IP {address}: the provided IP is not in the valid range {network}"
            raise _refused(name, "spec.clusterIPs", f'["{address}"]', why)
        if address == tenancy.dns_address(str(network)) or (
            address == tenancy.kubernetes_address(str(network)) and not services.is_kubernetes(obj)
        ):
            raise _refused(name, "spec.clusterIPs", f'["{address}"]', "is reserved")


def _check_ports(obj: Object) -> None:
    for number in nodeports.held(obj):
        if not nodeports.FIRST <= number <= nodeports.LAST:
            why = f"provided port is not in the valid range. The range is {nodeports.FIRST}-{nodeports.LAST}"
            raise _refused(obj["metadata"]["name"], nodeports.path_of(obj, number), number, why)


def _is_service(place: Place) -> bool:
    return (place.resource.group, place.resource.name) == ("", "services")


def _key(call: Call, kind: str, value: str) -> str:
    return call.parts.keys.internal(kind, call.one_tenant, value)
