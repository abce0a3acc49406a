"""Cluster addresses and node ports of services: claimed by keys that are written with the service, or not.

So none is handed out twice, whatever crashes, and none is lost: the key goes with the service, too. The claim of an
address is its IPAddress, that of a port is internal. claimrepair.py looks after what shouldn't be.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.status import StatusError, cause, conflict, invalid
from hypernetes.apiserver import quota, serviceranges
from hypernetes.apiserver.contents import ADDRESSES, address_claim
from hypernetes.apiserver.handlers import quotas
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.objects import ClaimTaken, Place, Written
from hypernetes.apiserver.registry import addressbands, nodeports, servicefamilies, services
from hypernetes.apiserver.registry import addresses as ipaddresses
from hypernetes.apiserver.serviceranges import Ranges
from hypernetes.apiserver.storage.base import SideWrite

Object = dict[str, Any]

_SERVICES = scheme.by_name("v1", "services")
NODE_PORTS = "nodeports"  # an internal kind
_OF_RANGES = ("Invalid", "InternalError")  # reasons that the tenant's ranges may be behind
_ATTEMPTS = 20  # of one request, each with others than those that turned out to be taken


async def create(call: Call, place: Place, obj: Object, managed: bytes, *, dry_run: bool) -> Written:
    """Creates an object; a service with its address and ports, given or chosen. Raises StatusError."""
    if not _is_service(place):
        also = quotas.charges(call, obj, None, managed)
        return await call.parts.objects.create(place, obj, managed, also=also, dry_run=dry_run)

    async def write() -> Written:
        service = copy.deepcopy(obj)
        also = [*_claims(call, service, None), *quotas.charges(call, service, None, managed)]
        return await call.parts.objects.create(place, service, managed, also=also, dry_run=dry_run)

    return await claiming(call, obj, write)


async def claiming(call: Call, obj: Object | None, write: Callable[[], Awaitable[Written]]) -> Written:
    """Writes, again and with another choice where what it chose is taken. Raises StatusError.

    Who insists on a claim that was found taken was told it by the client. `obj` is what the client sent, if known. That
    a service is refused counts once the ranges are known as they are now.
    """
    certain = call.resource.group_resource != "services"
    for _ in range(_ATTEMPTS):
        try:
            written = await write()
            _known_at(call, written.entry.revision)
            return written
        except ClaimTaken as error:
            if quota.is_ledger(call.parts.keys, error.key):
                raise
            if error.key in call.taken_claims:
                raise _taken(call, error, obj) from error
            call.taken_claims |= {error.key}
        except StatusError as error:
            if certain or error.reason not in _OF_RANGES:
                raise
            await call.parts.freshness.now()
            certain = True
        finally:
            call.parts.choices.difference_update(call.choices)
            call.choices.clear()
    raise StatusError("Conflict", "others were faster each time; try again")


def _known_at(call: Call, revision: int) -> None:
    """What was chosen stays so until the mirror knows: requests that come meanwhile would choose it again."""
    chosen, call.choices = call.choices, []
    reached = asyncio.get_running_loop().create_future()
    reached.add_done_callback(lambda _: call.parts.choices.difference_update(chosen))
    call.parts.mirror.resolve([reached], revision)


def reclaimed(call: Call, new: Object, old: Object) -> Sequence[SideWrite]:
    """What an update changes in the claims; a service that now needs an address or ports gets them."""
    return _claims(call, new, old) if new["kind"] == "Service" else ()


def released(call: Call, obj: Object) -> Sequence[SideWrite]:
    """What goes with an object that is removed. Raises StatusError for the address that a service has."""
    if obj["kind"] == "IPAddress":
        _check_free(call, obj)
    return _given_up(call, obj, _held(call, obj)) if obj["kind"] == "Service" else ()


def port_claim(keys: Keys, tenant: str, number: int, service: Object) -> SideWrite:
    """The claim of a port of the nodes for a service; it must not be there."""
    owner = {"namespace": service["metadata"]["namespace"], "name": service["metadata"]["name"]}
    claim = orjson.dumps({"kind": "Service", **owner, "uid": service["metadata"]["uid"]})
    return SideWrite(keys.internal(NODE_PORTS, tenant, str(number)), claim, expected=0)


def _check_free(call: Call, address: Object) -> None:
    """An IPAddress may go if no service has it: else another would get it, too. Raises StatusError."""
    name, mirror = address["metadata"]["name"], call.parts.mirror
    if int(address["metadata"]["resourceVersion"]) > mirror.revision:  # it may be a service's that isn't known yet
        raise conflict(ADDRESSES.group_resource, name, "it was written just now; try again")
    parent = address["spec"]["parentRef"]
    place = (parent.get("namespace") or "", parent["name"])
    entry = mirror.object(_SERVICES, call.one_tenant, *place) if ipaddresses.is_service(parent) else None
    if entry is not None and name in services.addresses(orjson.loads(entry.data)):
        message = f'{ADDRESSES.group_resource} "{name}" is forbidden: it is the address of service {"/".join(place)}'
        details = {"name": name, "group": ADDRESSES.group, "kind": ADDRESSES.name}
        raise StatusError("Forbidden", message, details=details)


def _taken(call: Call, claim: ClaimTaken, obj: Object | None) -> StatusError:
    name = call.route.name or (obj or {}).get("metadata", {}).get("name", "")
    value = claim.key.rpartition("/")[2]
    if claim.key != _address_key(call, value):
        path = "spec.ports[0].nodePort" if obj is None else nodeports.path_of(obj, int(value))
        return _refused(name, path, value, "provided port is already allocated")
    why = "failed to allocate IP: provided IP is already allocated"
    return _refused(name, "spec.clusterIPs", f'["{value}"]', why)


def _refused(name: str, path: str, value: object, why: str) -> StatusError:
    return invalid("", "Service", name, [cause("FieldValueInvalid", path, f"Invalid value: {value}: {why}")])


def _claims(call: Call, new: Object, old: Object | None) -> list[SideWrite]:
    """The claims that `new` makes and gives up compared with `old`; completes `new` with what is chosen."""
    before = _held(call, old) if old is not None else []
    ranges = serviceranges.of_tenant(call.parts.mirror, call.parts.lookups, call.one_tenant)
    causes = servicefamilies.complete(new["spec"], old["spec"] if old is not None else None, ranges.families)
    if causes:
        raise invalid("", "Service", new["metadata"]["name"], causes)
    for family in services.without_address(new):
        services.assign(new, _address(call, new, ranges, family))
    nodeports.assign(new, lambda has: _port(call, new, has))
    now = call.parts.clock()
    made = []
    for address in services.addresses(new):
        if _address_key(call, address) not in before:
            _check_address(new, address, ranges)
            made.append(address_claim(call.parts.keys, call.one_tenant, address, new, now))
    _check_ports(new)
    ports = [number for number in nodeports.held(new) if _port_key(call, number) not in before]
    made += [port_claim(call.parts.keys, call.one_tenant, number, new) for number in ports]
    after = _held(call, new)
    return made + _given_up(call, new, [key for key in before if key not in after])


def _given_up(call: Call, service: Object, keys: Iterable[str]) -> list[SideWrite]:
    """The removal of a service's claims, but not of an IPAddress that somebody made for something else."""
    found = []
    for key in keys:
        entry = call.parts.mirror.get(key)
        others = entry is not None and entry.name is not None and (
            not ipaddresses.is_claim_of(orjson.loads(entry.data), service)
        )  # fmt: skip
        if not others and (entry is None or entry.stored):
            found.append(SideWrite(key, None))
    return found


def _held(call: Call, service: Object) -> list[str]:
    """The keys of all claims that a service holds."""
    keys = [_address_key(call, address) for address in services.addresses(service)]
    return keys + [_port_key(call, number) for number in nodeports.held(service)]


def _address(call: Call, service: Object, ranges: Ranges, family: str) -> str:
    for network in ranges.of(family):
        for address in addressbands.addresses(network):
            if address not in ranges.reserved and _chosen(call, _address_key(call, address)):
                return address
    raise _full(service, "cluster IP: the tenant's service ranges are")


def _port(call: Call, service: Object, has: set[int]) -> int:
    for number in addressbands.ports():
        if number not in has and _chosen(call, _port_key(call, number)):
            return number
    raise _full(service, "node port: the tenant's range is")


def _chosen(call: Call, key: str) -> bool:
    """Whether it is free, as far as is known, and so this request's. Who is wrong is told by ClaimTaken."""
    if key in call.taken_claims or key in call.parts.choices or call.parts.mirror.get(key) is not None:
        return False
    call.parts.choices.add(key)
    call.choices.append(key)
    return True


def _full(service: Object, what: str) -> StatusError:
    details = {"name": service["metadata"]["name"], "kind": "services"}
    return StatusError("InternalError", f"failed to allocate a {what} full", details=details)


def _check_address(service: Object, address: str, ranges: Ranges) -> None:
    name, shown = service["metadata"]["name"], f'["{address}"]'
    if not ranges.hold(address):
        valid = ", ".join(map(str, ranges.networks))
        why = f"failed to allocate IP {address}: the provided IP is not in the valid range {valid}"
        raise _refused(name, "spec.clusterIPs", shown, why)
    if address in ranges.reserved and not (address == ranges.api and services.is_kubernetes(service)):
        raise _refused(name, "spec.clusterIPs", shown, "is reserved")


def _check_ports(obj: Object) -> None:
    first, last = addressbands.FIRST_PORT, addressbands.LAST_PORT
    for number in nodeports.held(obj):
        if not first <= number <= last:
            why = f"provided port is not in the valid range. The range is {first}-{last}"
            raise _refused(obj["metadata"]["name"], nodeports.path_of(obj, number), number, why)


def _is_service(place: Place) -> bool:
    return (place.resource.group, place.resource.name) == ("", "services")


def _address_key(call: Call, address: str) -> str:
    return call.parts.keys.of(ADDRESSES, call.one_tenant, "", address)


def _port_key(call: Call, number: int) -> str:
    return call.parts.keys.internal(NODE_PORTS, call.one_tenant, str(number))
