"""Watches: first what is there already, if asked for, then every change, each once and in order."""

import asyncio
import itertools
import random
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

import structlog
from aiohttp import hdrs, web

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import chunks, deprecations, sending, sharing, views
from hypernetes.apiserver.authz.asking import attributes
from hypernetes.apiserver.handlers import negotiation, options
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.handlers.options import ListOptions
from hypernetes.apiserver.handlers.reading import view_for
from hypernetes.apiserver.mirror import Entry, HistoryGone
from hypernetes.apiserver.views import View
from hypernetes.apiserver.watchers import Scope, Watcher

log = structlog.get_logger()

BOOKMARK_SECONDS = 10.0
DEFAULT_TIMEOUT_SECONDS = 1800.0  # doubled at random, so that clients don't all come back at once; as upstream
_PIECE_BYTES = 64 * 1024
SEND_DEADLINE_SECONDS = 60.0  # for one piece: a client that takes none for this long is gone
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


async def watch(call: Call) -> web.StreamResponse:
    accepted = negotiation.accepted(call, streamed=True)
    asked = options.list_options(call.http.query, call.resource, watch=True)
    view = view_for(call, accepted)
    await _fresh_enough(call, asked)
    watcher = Watcher(_scope(call, asked), view, call.seen(asked.matcher(call.shown_labels)))
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: view.stream_type})
    negotiation.warn(response, [*call.warnings, *deprecations.warnings(call.route)])
    first: Iterable[bytes] = ()
    try:
        first = _begin(call, asked, watcher)
    except HistoryGone:
        watcher.revision = asked.resource_version or 0
        watcher.expire()
    try:
        with call.parts.departures.told(call.http, watcher.end), _authorized(call, watcher):
            await response.prepare(call.http)
            await _serve(call, asked, watcher, response, first)
            await response.write_eof()
    except ConnectionError:
        log.debug("a watcher went away", path=call.route.path)
    finally:
        call.parts.watchers.remove(watcher)
    return response


def _authorized(call: Call, watcher: Watcher) -> AbstractContextManager[None]:
    """The watch goes on for as long as its user may watch."""
    selector = call.http.query.get("fieldSelector", "")
    permission = attributes(call.user, call.route, call.route.name, selector)
    filtered = call.visible is not None
    return call.parts.reauthorization.of(call.user, (permission,), watcher, call.who, filtered=filtered)


async def _fresh_enough(call: Call, asked: ListOptions) -> None:
    """A watch that starts from now must know what now is; one that resumes waits for nothing."""
    if asked.resource_version is None:
        await call.parts.freshness.now()
    elif asked.send_initial_events:
        await call.parts.freshness.at_least(asked.resource_version)


def _scope(call: Call, asked: ListOptions) -> Scope:
    stored = call.resource.stored
    shared = sharing.concerns(stored, call.tenant)
    return Scope(
        stored.group or "core", stored.name, call.owner,
        namespace=call.route.namespace or asked.field("metadata.namespace"),
        name=call.route.name or asked.field("metadata.name"),
        node=asked.field("spec.nodeName"),
        shared=shared, overlay=sharing.Overlay(call.parts.mirror, stored, call.one_tenant) if shared else None,
    )  # fmt: skip


def _begin(call: Call, asked: ListOptions, watcher: Watcher) -> Iterable[bytes]:
    """Registers the watcher and gives what it is told first. No await lies between, so nothing is lost or repeated."""
    first: Iterable[bytes] = ()
    mirror = call.parts.mirror
    revision = asked.resource_version
    from_now = asked.send_initial_events is False and not revision
    if asked.send_initial_events or (not revision and not from_now):
        present = list(_present(call, watcher))
        first = _added(watcher.view, present)
        watcher.began = bool(present)
        if asked.send_initial_events and asked.bookmarks:
            first = itertools.chain(first, [bookmark(watcher.view, mirror.revision, initial_end=True)])
    else:
        since = mirror.revision if from_now or revision is None else revision
        if not _tenant_existed(call, since):
            raise HistoryGone
        watcher.since = watcher.revision = since
        for event in mirror.since(since):
            entry = event.entry or event.previous
            if entry is not None and entry.name is not None and watcher.scope.holds(event):
                watcher.offer(event)
    call.parts.watchers.add(watcher)
    return first


def _tenant_existed(call: Call, revision: int) -> bool:
    tenant = call.tenant
    if tenant is None or tenant == SYSTEM_TENANT or call.reads_shared or revision >= call.parts.mirror.revision:
        return True
    return call.parts.lookups.tenant_existed(tenant, revision)


def _present(call: Call, watcher: Watcher) -> Iterator[Entry]:
    """Everything that is there now."""
    mirror = call.parts.mirror
    entries = mirror.range(mirror.keys.range(call.resource, call.owner, watcher.scope.namespace))
    if watcher.scope.shared:
        entries = itertools.chain(entries, sharing.present(mirror, call.resource, call.one_tenant))
    return (entry for entry in entries if _in_scope(entry, watcher))


def _added(view: View, entries: list[Entry]) -> Iterator[bytes]:
    """The entries as if they had just been added, in pieces of some size, each made when it is to be sent."""
    lines: list[bytes] = []
    size = 0
    for index, entry in enumerate(entries):
        lines.append(view.line("ADDED", entry, first=index == 0))
        size += len(lines[-1])
        if size > _PIECE_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)


def _in_scope(entry: Entry, watcher: Watcher) -> bool:
    assert entry.name is not None
    wanted = watcher.scope.name
    return (not wanted or entry.name.name == wanted) and (watcher.match is None or watcher.match(entry))


async def _serve(
    call: Call, asked: ListOptions, watcher: Watcher, response: web.StreamResponse, first: Iterable[bytes]
) -> None:
    """Sends until the client goes, its time is up or the watcher is cut off."""
    loop = asyncio.get_running_loop()
    seconds = asked.timeout_seconds or DEFAULT_TIMEOUT_SECONDS * random.uniform(1, 2)
    end = loop.time() + max(seconds, 0)
    for frame in first:
        await _send(call, watcher.view, response, frame)
    watcher.outlet = chunks.of(call.http, response, call.parts.observer.metrics.counting(call.resource))
    next_bookmark = loop.time() + BOOKMARK_SECONDS * random.uniform(0.5, 1)
    while loop.time() < end:
        frames = await watcher.next(max(0.0, min(end, next_bookmark if asked.bookmarks else end) - loop.time()))
        if frames:
            await _send(call, watcher.view, response, frames)
        elif watcher.cut_off:
            return
        elif watcher.expired:
            await _send(call, watcher.view, response, _gone(watcher.view, watcher.revision))
            return
        if asked.bookmarks and watcher.idle and loop.time() >= next_bookmark:
            await _send(call, watcher.view, response, bookmark(watcher.view, call.parts.mirror.revision))
            next_bookmark = loop.time() + BOOKMARK_SECONDS


async def _send(call: Call, view: View, response: web.StreamResponse, frames: bytes) -> None:
    try:
        async with asyncio.timeout(SEND_DEADLINE_SECONDS):
            await sending.write(response, frames)
            call.parts.observer.metrics.watched(call.resource, view.events_in(frames))
    except TimeoutError as error:
        if call.http.transport is not None:
            call.http.transport.abort()  # closing it in order would wait for the client, too
        raise ConnectionResetError("the client takes nothing") from error


def bookmark(view: View, revision: int, *, initial_end: bool = False) -> bytes:
    """How far the watch has come, for a client that may have seen no event for a while."""
    metadata: dict[str, object] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_end:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    meta = f"{views.META_GROUP}/{view.version}"
    obj: dict[str, object]
    if view.shape == views.OBJECT:
        kind, api_version = view.resource.kind, view.resource.api_version
        obj = {"kind": kind, "apiVersion": api_version, "metadata": metadata}
    elif view.shape == views.METADATA:
        obj = {"kind": "PartialObjectMetadata", "apiVersion": meta, "metadata": metadata}
    else:
        shown = {"kind": "PartialObjectMetadata", "apiVersion": meta, "metadata": metadata}
        obj = {
            "kind": "Table", "apiVersion": meta, "metadata": {"resourceVersion": str(revision)},
            "columnDefinitions": [], "rows": [{"cells": [], "object": shown}],
        }  # fmt: skip
    return view.say("BOOKMARK", obj)


def _gone(view: View, revision: int) -> bytes:
    error = StatusError("Expired", f"too old resource version: {revision}")
    return view.say("ERROR", error.to_dict())
