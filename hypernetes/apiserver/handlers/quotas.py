"""Writes in a namespace with quotas: in turn, each with the ledgers it changes, and told in the quotas' status after.

Within this process a namespace's writers wait for each other, since the ledger lets one through at a time anyway; other
processes are kept out by compare-and-swap. A namespace without quotas pays for a look at the mirror.

Who writes a quota's status decides what is bounded (`status.hard`). What `status.used` then doesn't say, is counted
here: hn-controllers writes `hard` alone, as a quota changes and now and then, so that whatever went uncounted is found.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import orjson
import structlog

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError, conflict
from hypernetes.apiserver import amounts, quota
from hypernetes.apiserver.amounts import Amounts
from hypernetes.apiserver.handlers import charging, tenantquotas
from hypernetes.apiserver.handlers.charging import Exceeded, NeedsTurn
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.mirror import Entry
from hypernetes.apiserver.objects import ClaimTaken, Decision, Place, Put, Written, missing
from hypernetes.apiserver.quota import Ledger, Turn, usage
from hypernetes.apiserver.storage.base import Item, SideWrite

Object = dict[str, Any]
Write = Callable[[], Awaitable[Written]]

QUOTAS = scheme.by_name("v1", "resourcequotas")
_ATTEMPTS = 30  # of one request, against writers of other processes that are faster each time
_COUNTED_AT_ONCE = 200  # objects, between two looks at what else there is to do

log = structlog.get_logger()


async def write(call: Call, writing: Write, *, dry_run: bool = False) -> Written:
    """What `writing` writes, with what it changes in ledgers. Raises StatusError.

    Most updates change nothing that a quota counts: they find out before they wait for anybody.
    """
    revision = None
    try:
        written = await _write(call, writing, dry_run=dry_run)
        revision = None if dry_run or written.removed else written.entry.revision
        return written
    finally:
        call.parts.tenant_quotas.settle(id(call), call.one_tenant, revision)


async def _write(call: Call, writing: Write, *, dry_run: bool) -> Written:
    if not _will_charge(call) and not _will_charge_tenant(call):
        try:
            return await writing()
        except NeedsTurn:
            log.debug("a write is counted", resource=call.resource.name, namespace=call.route.namespace)
    with call.parts.turns.of(call.one_tenant, call.route.namespace) as turn:
        await charging.take(turn)
        try:
            async with tenantquotas.turn(call):
                with turn.held_by(call):
                    written = await _in_turn(call, turn, writing)
                    changed = set() if dry_run else await _note(call, turn, written)
        except Exceeded:
            if not dry_run:
                await _tell_all(call, turn, set())  # who is refused finds the reason in the quota
            raise
        finally:
            turn.lock.release()
        if not dry_run:
            await _tell_all(call, turn, changed)
    return written


def charges(call: Call, new: Object | None, old: Object | None, managed: bytes = b"") -> Sequence[SideWrite]:
    """The ledgers that a write within `write` changes. Raises StatusError where a quota doesn't allow it; NeedsTurn.

    The quota of the whole tenant comes first.
    """
    if new is not None:
        name = new["metadata"]["name"]
        place = Place(call.resource, call.one_tenant, call.route.namespace, name)
        tenant = call.parts.lookups.tenant(call.one_tenant)
        call.parts.tenant_quotas.charge(id(call), call.user.tenant, tenant, place, new, managed)
    whole = tenantquotas.charges(call, new, old)
    if not _is_counted(call):
        return whole
    turn = call.parts.turns.held(call.one_tenant, call.route.namespace, call)
    if turn is None:
        resource = call.resource.stored
        if any(quota.is_changed(orjson.loads(entry.data), resource, new, old) for entry in _quotas(call)):
            raise NeedsTurn
        return whole
    if call.resource.stored == QUOTAS and old is not None:
        return [*whole, *_charges_of_quota(call, turn, new, old)]
    return [*whole, *_charges(call, turn, new, old)]


def _is_counted(call: Call) -> bool:
    """Whether quotas can have to do with the request."""
    return call.resource.namespaced and bool(call.route.namespace)


def _will_charge(call: Call) -> bool:
    """Whether the write changes a ledger for sure, or nearly so."""
    if not _is_counted(call):
        return False
    if call.resource.stored == QUOTAS:
        return True
    if call.route.verb in ("update", "patch"):
        return False
    resource = call.resource.stored
    hard = (orjson.loads(entry.data).get("status", {}).get("hard") or {} for entry in _quotas(call))
    return any(usage.names(resource, names) for names in hard)


def _will_charge_tenant(call: Call) -> bool:
    return call.route.verb not in ("update", "patch") and bool(tenantquotas.bounds(call))


async def _in_turn(call: Call, turn: Turn, writing: Write) -> Written:
    fresh = False
    for _ in range(_ATTEMPTS):
        turn.charges.clear()
        await tenantquotas.prepare(call)
        if _is_status(call):
            await call.parts.freshness.now()
            await _count(call, turn)
        try:
            return await writing()
        except ClaimTaken as error:
            if not quota.is_ledger(call.parts.keys, error.key):
                raise
            await charging.learn(call, tenantquotas.turn_of(call, error.key) or turn, error.key)
        except Exceeded:
            if fresh:
                raise
            fresh = True
            await call.parts.freshness.now()
    raise conflict(call.resource.group_resource, call.route.name, "others were faster each time; try again")


def _charges(call: Call, turn: Turn, new: Object | None, old: Object | None) -> Iterator[SideWrite]:
    resource, free = call.resource.stored, call.route.subresource == "status"
    for entry in _quotas(call):
        bounding = orjson.loads(entry.data)
        if not usage.names(resource, (bounding.get("status") or {}).get("hard") or {}):
            continue
        item = _ledger(call, turn, bounding["metadata"]["name"])
        before = _used(item, bounding)
        if before != (bounding["status"].get("used") or {}):
            turn.untold.add(bounding["metadata"]["name"])  # a process ended before it told
        try:
            after = quota.charged(bounding, before, resource, new, old, free=free)
        except quota.Refused as error:
            raise charging.refused(call, new, str(error)) from None
        if after != before:
            yield _charge(call, turn, bounding, item, after)


def _charges_of_quota(call: Call, turn: Turn, new: Object | None, old: Object) -> list[SideWrite]:
    """A quota takes its ledger with it; its status says what is bounded, and may correct what is used."""
    name = old["metadata"]["name"]
    item = _ledger(call, turn, name)
    if new is None:
        return [] if item is None else [SideWrite(item.key, None)]
    if not _is_status(call):
        return []
    status, former = new.get("status") or {}, (old.get("status") or {}).get("used") or {}
    before, stated, counted = _used(item, old), status.get("used") or {}, turn.counted.get(name, {})
    used: Amounts = {}
    for key in status.get("hard") or {}:
        if key in stated:
            # what is only repeated may be older than the ledger
            used[key] = before.get(key, stated[key]) if stated[key] == former.get(key) else stated[key]
        elif key in counted:
            used[key] = counted[key]
    if used:
        new["status"] = {**status, "used": dict(sorted(used.items()))}
    return [_charge(call, turn, new, item, used)] if item is None or used != before else []


def _charge(call: Call, turn: Turn, bounding: Object, item: Item | None, used: Amounts) -> SideWrite:
    name = bounding["metadata"]["name"]
    turn.charges[name] = Ledger(bounding["metadata"]["uid"], used).encode()
    return SideWrite(_key(call, name), turn.charges[name], expected=0 if item is None else item.revision)


def _used(item: Item | None, bounding: Object) -> Amounts:
    if item is not None:
        ledger = Ledger.decode(item.value)
        if ledger.uid == bounding["metadata"]["uid"]:
            return ledger.used
    return (bounding.get("status") or {}).get("used") or {}


def _ledger(call: Call, turn: Turn, name: str) -> Item | None:
    return charging.ledger(call, turn, _key(call, name))


async def _note(call: Call, turn: Turn, written: Written) -> set[str]:
    """Remembers what was written, until the mirror hears of it; the quotas whose status has to tell it."""
    await tenantquotas.note(call, written)
    for name, value in turn.charges.items():
        await charging.note(call, turn, _key(call, name), value, written)
    if call.resource.stored == QUOTAS:
        return set()
    turn.untold |= turn.charges.keys()
    return set(turn.charges)


async def _tell_all(call: Call, turn: Turn, changed: set[str]) -> None:
    """Returns once the status of those that this request changed tells it, whoever wrote that."""
    for name in sorted(changed | turn.untold):
        async with turn.telling.setdefault(name, asyncio.Lock()):
            if name in turn.untold:
                turn.untold.discard(name)
                await _tell(call, turn, name)


async def _tell(call: Call, turn: Turn, name: str) -> None:
    """Shows a ledger in its quota's status. No harm if that fails: the next to come finds it behind."""
    place = Place(QUOTAS, call.one_tenant, call.route.namespace, name)

    def told(old: Object | None) -> Decision:
        if old is None:
            raise missing(place)
        status = old.get("status") or {}
        hard = status.get("hard") or {}
        used = {key: text for key, text in sorted(_used(_ledger(call, turn, name), old).items()) if key in hard}
        return Put({**old, "status": {**status, "used": used}})

    try:
        await call.parts.objects.change(place, told)
    except StatusError as error:
        log.info("a quota's status was not written", tenant=place.tenant, namespace=place.namespace, quota=name,
                 error=error.message)  # fmt: skip


async def _count(call: Call, turn: Turn) -> None:
    """What the objects that are there use of the quota whose status is written."""
    name = call.route.name
    entry = call.parts.mirror.object(QUOTAS, call.one_tenant, call.route.namespace, name)
    if entry is None:
        return
    bounding = orjson.loads(entry.data)
    bounded = [*{**(bounding["spec"].get("hard") or {}), **((bounding.get("status") or {}).get("hard") or {})}]
    total: Amounts = dict.fromkeys(bounded, amounts.ZERO)
    for resource in scheme.served():
        if resource.stored is resource and usage.names(resource, bounded):
            total |= await _count_of(call, bounding, bounded, resource)
    turn.counted[name] = total


async def _count_of(call: Call, bounding: Object, bounded: list[str], resource: Resource) -> Amounts:
    mirror = call.parts.mirror
    entries = list(mirror.range(mirror.keys.range(resource, call.one_tenant, call.route.namespace)))
    total: Amounts = {}
    for start in range(0, max(len(entries), 1), _COUNTED_AT_ONCE):
        objects = (orjson.loads(entry.data) for entry in entries[start : start + _COUNTED_AT_ONCE])
        total = amounts.add(total, quota.counted(bounding, bounded, resource, objects))
        await asyncio.sleep(0)
    return total


def _quotas(call: Call) -> Iterator[Entry]:
    mirror = call.parts.mirror
    return mirror.range(mirror.keys.range(QUOTAS, call.one_tenant, call.route.namespace))


def _is_status(call: Call) -> bool:
    return call.resource.stored == QUOTAS and call.route.subresource == "status"


def _key(call: Call, name: str) -> str:
    return quota.ledger_key(call.parts.keys, call.one_tenant, call.route.namespace, name)
