"""What the quotas of a namespace and that of the tenant have in common: a turn, and ledgers that are known early."""

import asyncio

from hypernetes.api.status import StatusError
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.objects import Object, Written
from hypernetes.apiserver.quota import Turn
from hypernetes.apiserver.storage.base import Item, Unavailable

_TURN_SECONDS = 10.0  # to wait for one's turn; upstream's figure for an answer about quotas


class NeedsTurn(Exception):
    """The write changes what a quota counts, so it has to wait for its turn."""


class Exceeded(StatusError):
    """A refusal for a quota's sake, which others may have made room in meanwhile."""


def refused(call: Call, new: Object | None, why: str) -> Exceeded:
    resource = call.resource.stored
    name = (new or {}).get("metadata", {}).get("name") or call.route.name
    group = {"group": resource.group} if resource.group else {}
    return Exceeded(
        "Forbidden", f'{resource.group_resource} "{name}" is forbidden: {why}',
        details={"name": name, "kind": resource.name, **group},
    )  # fmt: skip


async def take(turn: Turn) -> None:
    """Raises StatusError where the turn doesn't come."""
    try:
        async with asyncio.timeout(_TURN_SECONDS):
            await turn.lock.acquire()
    except TimeoutError:
        raise StatusError("InternalError", "resource quota evaluation timed out") from None


def ledger(call: Call, turn: Turn, key: str) -> Item | None:
    """A ledger as it is known: by the mirror, or earlier by who wrote it."""
    entry, latest = call.parts.mirror.get(key), turn.latest.get(key)
    if entry is None or (latest is not None and latest.revision > entry.revision):
        return latest
    turn.latest.pop(key, None)
    return Item(key, entry.data, entry.revision)


async def note(call: Call, turn: Turn, key: str, value: bytes, written: Written) -> None:
    """Remembers what was written, until the mirror hears of it."""
    if written.removed:  # it isn't told at which revision
        await learn(call, turn, key)
    else:
        turn.latest[key] = Item(key, value, written.entry.revision)


async def learn(call: Call, turn: Turn, key: str) -> None:
    """Reads a ledger that somebody else has written meanwhile. Raises StatusError."""
    try:
        item = await call.parts.store.get(key)
    except Unavailable as error:
        raise StatusError("ServiceUnavailable", "the store does not answer; try again") from error
    if item is None:
        turn.latest.pop(key, None)
        await call.parts.freshness.now()
    else:
        turn.latest[key] = item
