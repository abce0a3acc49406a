"""`/tenants/*/metadata`: what of all objects of all kinds and tenants matters to who collects them, as one stream.

For our own controllers: garbage is a question of owners, names and finalizers across kinds, and a watch of each kind
would tell of each object twice. An object comes with its apiVersion, kind and plural (`resource`), and of its metadata
with what `_KEPT` names. Events are left out: they own nothing, belong to nobody and are many. So are IPAddresses, which
are written at the revision of their Service: a watch that is resumed between the two would lose one.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
from aiohttp import web

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import ALL_TENANTS, TENANT_ANNOTATION
from hypernetes.apiserver import chunks, sending
from hypernetes.apiserver.authz.asking import needed
from hypernetes.apiserver.handlers import negotiation, options
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.handlers.reading import Continue, stream
from hypernetes.apiserver.mirror import Entry, Event, HistoryGone, Page
from hypernetes.apiserver.routing import METADATA_PATH, Route
from hypernetes.apiserver.views import OBJECT, View
from hypernetes.apiserver.watchers import EVERYTHING, Watcher

_KEPT = (
    "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers",
    "ownerReferences",
)  # fmt: skip
_LEFT_OUT = frozenset({"events", "ipaddresses"})
_BOOKMARK_SECONDS = 10.0
_SECONDS = 1800.0  # of a watch that says nothing of its end
_FULL = 100_000  # events that may wait: whoever is cut off reads everything again


class _Narrow(View):
    """What is shown of an object, whatever its kind."""

    def __init__(self) -> None:
        self.shape = OBJECT

    def encode(self, entry: Entry, revision: int | None = None, *, in_list: bool = False) -> bytes:
        obj, name = orjson.loads(entry.data), entry.name
        assert name is not None
        given = obj["metadata"]
        metadata: dict[str, Any] = {key: given[key] for key in _KEPT if key in given}
        metadata["resourceVersion"] = str(revision or entry.revision)
        metadata["annotations"] = {TENANT_ANNOTATION: name.tenant}
        head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "resource": name.resource}
        return orjson.dumps({**head, "metadata": metadata})

    def shows(self, event: Event) -> bool:
        return True


_VIEW = _Narrow()


def is_asked(route: Route) -> bool:
    return route.tenant == ALL_TENANTS and route.path == METADATA_PATH and route.verb in ("list", "watch")


async def serve(call: Call) -> web.StreamResponse:
    return await (_watch(call) if call.route.verb == "watch" else _list(call))


def _matches(entry: Entry) -> bool:
    return entry.name is not None and entry.name.resource not in _LEFT_OUT


async def _list(call: Call) -> web.StreamResponse:
    page = await _page(call)
    metadata = {"resourceVersion": str(page.revision)}
    if page.next_key is not None:
        start = page.next_key[len(call.parts.keys.root) :]
        metadata["continue"] = Continue(start, page.revision, call.user.tenant_uid).encode()
    return await stream(call, _pieces(page.entries, metadata), negotiation.JSON)


async def _page(call: Call) -> Page:
    """Raises StatusError: 410 for a page of a time before the log."""
    query, root = call.http.query, call.parts.keys.root
    start, revision = None, None
    if token := query.get("continue"):
        point = Continue.decode(token, call.user.tenant_uid)
        start, revision = root + point.start, point.revision
    else:
        await call.parts.freshness.now()
    try:
        return call.parts.mirror.page(
            root, limit=_number(query.get("limit")), start=start, revision=revision, match=_matches
        )
    except HistoryGone:
        raise StatusError("Expired", "the list can't be continued: begin again") from None


def _number(text: str | None) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise StatusError("BadRequest", f"not a number: {text[:20]!r}")
    return int(text)


def _pieces(entries: list[Entry], metadata: dict[str, str]) -> Iterator[bytes]:
    head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    yield orjson.dumps(head)[:-1] + b',"items":['
    for index, entry in enumerate(entries):
        yield (b"," if index else b"") + _VIEW.encode(entry)
    yield b"]}"


async def _watch(call: Call) -> web.StreamResponse:
    """From `resourceVersion` on."""
    since = options.resource_version(call.http.query)
    if since is None:
        raise StatusError("BadRequest", "a watch of all metadata goes on from a list: say its resourceVersion")
    watcher = Watcher(EVERYTHING, _VIEW, _matches, limit=_FULL)
    watcher.since = watcher.revision = since
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        for event in call.parts.mirror.since(since):
            if (event.entry or event.previous).name is not None:  # type: ignore[union-attr]  # one is there
                watcher.offer(event)
    except HistoryGone:
        watcher.expire()
    call.parts.watchers.add(watcher)
    (permission,) = needed(call.user, call.route)
    authorized = call.parts.reauthorization.of(call.user, (permission,), watcher, call.who, filtered=False)
    try:
        with call.parts.departures.told(call.http, watcher.end), authorized:
            await response.prepare(call.http)
            await _tell(call, watcher, response)
            await response.write_eof()
    except ConnectionError:
        pass  # the watcher went away
    finally:
        call.parts.watchers.remove(watcher)
    return response


async def _tell(call: Call, watcher: Watcher, response: web.StreamResponse) -> None:
    """Until the client goes, its time is up or it is cut off."""
    loop = asyncio.get_running_loop()
    end = loop.time() + (_number(call.http.query.get("timeoutSeconds")) or _SECONDS)
    watcher.outlet = chunks.of(call.http, response, lambda count: None)
    next_bookmark = loop.time() + _BOOKMARK_SECONDS
    while loop.time() < end:
        frames = await watcher.next(max(0.0, min(end, next_bookmark) - loop.time()))
        if frames:
            await sending.write(response, frames)
        elif watcher.cut_off:
            return
        elif watcher.expired:
            error = StatusError("Expired", f"too old resource version: {watcher.revision}")
            await sending.write(response, _VIEW.say("ERROR", error.to_dict()))
            return
        if watcher.idle and loop.time() >= next_bookmark:
            await sending.write(response, _bookmark(call.parts.mirror.revision))
            next_bookmark = loop.time() + _BOOKMARK_SECONDS


def _bookmark(revision: int) -> bytes:
    obj = {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": str(revision)}
    }  # fmt: skip
    return _VIEW.say("BOOKMARK", obj)
