"""The quota of the whole tenant as a write meets it: beside those of the namespace, and charged like them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import tenantledgers
from hypernetes.apiserver.amounts import Amounts
from hypernetes.apiserver.handlers import charging
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.objects import ClaimTaken, Object, Written
from hypernetes.apiserver.quota import Ledger, Refused, Turn, whole
from hypernetes.apiserver.storage.base import SideWrite
from hypernetes.apiserver.tenantledgers import WHOLE


def bounds(call: Call) -> Amounts:
    """What the tenant's quota bounds of the request's kind of objects: mostly nothing."""
    hard = _hard(call)
    return {name: hard[name] for name in whole.names(call.resource.stored, hard)} if hard else hard


def _hard(call: Call) -> Amounts:
    tenant = call.parts.lookups.tenant(call.one_tenant)
    return {} if tenant is None else tenantledgers.bounded(tenant)


def charges(call: Call, new: Object | None, old: Object | None) -> list[SideWrite]:
    """The ledger as a write changes it. Raises StatusError, NeedsTurn; ClaimTaken where the quota changed meanwhile."""
    hard, resource = bounds(call), call.resource.stored
    if not hard:
        return []
    try:
        if new is not None and old is None and resource.kind == "Pod":
            whole.check_stated(new, hard)
        changed = whole.change(resource, hard, new, old)
        if not changed:
            return []
        turn = call.parts.turns.held(call.one_tenant, WHOLE, call)
        if turn is None:
            raise charging.NeedsTurn
        key, every = tenantledgers.key_of(call.parts.keys, call.one_tenant), _hard(call)
        item, uid = charging.ledger(call, turn, key), call.parts.lookups.tenant_uid(call.one_tenant)
        used = tenantledgers.used(None if item is None else item.value, uid, every) or turn.counted.get(WHOLE)
        if used is None or used.keys() != every.keys() or uid is None:
            raise ClaimTaken(key)
        after = whole.charged(hard, used, changed, free=_is_free(call, old))
    except Refused as error:
        raise charging.refused(call, new, str(error)) from None
    turn.charges[WHOLE] = Ledger(uid, after).encode()
    return [SideWrite(key, turn.charges[WHOLE], expected=0 if item is None else item.revision)]


def _is_free(call: Call, old: Object | None) -> bool:
    """What must be told, and what the provider's processes change of what is there, is counted and not refused."""
    return call.route.subresource == "status" or (call.user.tenant == SYSTEM_TENANT and old is not None)


@asynccontextmanager
async def turn(call: Call) -> AsyncIterator[None]:
    """The tenant's turn, where its quota has to do with the request. Raises StatusError where it doesn't come."""
    if not bounds(call):
        yield
        return
    with call.parts.turns.of(call.one_tenant, WHOLE) as turn:
        await charging.take(turn)
        try:
            with turn.held_by(call):
                yield
        finally:
            turn.lock.release()


async def prepare(call: Call) -> None:
    """Counts what is used, where no ledger says it yet. Raises StatusError."""
    turn = call.parts.turns.held(call.one_tenant, WHOLE, call)
    if turn is None:
        return
    turn.charges.clear()
    hard = _hard(call)
    item = charging.ledger(call, turn, tenantledgers.key_of(call.parts.keys, call.one_tenant))
    uid = call.parts.lookups.tenant_uid(call.one_tenant)
    if tenantledgers.used(None if item is None else item.value, uid, hard) is None:
        await call.parts.freshness.now()
        turn.counted[WHOLE] = await tenantledgers.count(call.parts.mirror, call.one_tenant, hard)


def turn_of(call: Call, key: str) -> Turn | None:
    """The tenant's turn, if the request has it and the key is that of its ledger."""
    if key != tenantledgers.key_of(call.parts.keys, call.one_tenant):
        return None
    return call.parts.turns.held(call.one_tenant, WHOLE, call)


async def note(call: Call, written: Written) -> None:
    """Remembers what was written, until the mirror hears of it."""
    turn = call.parts.turns.held(call.one_tenant, WHOLE, call)
    if turn is not None and WHOLE in turn.charges:
        key = tenantledgers.key_of(call.parts.keys, call.one_tenant)
        await charging.note(call, turn, key, turn.charges[WHOLE], written)
