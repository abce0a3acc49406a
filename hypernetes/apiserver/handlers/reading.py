"""GET of one object and of a list: a range of the mirror, written as bytes."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from hypernetes.api.status import StatusError, not_found
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import compression, deprecations, sending, sharing, views
from hypernetes.apiserver.freshness import too_large
from hypernetes.apiserver.handlers import negotiation, options, protobuflists
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.handlers.negotiation import Accepted
from hypernetes.apiserver.handlers.options import EXACT, ListOptions
from hypernetes.apiserver.keys import range_end
from hypernetes.apiserver.mirror import Entry, HistoryGone, Page
from hypernetes.apiserver.storage.base import Compacted, Unavailable
from hypernetes.apiserver.views import ProtobufView, View

_CHUNK_BYTES = 96 * 1024
_MANY = 500  # objects: to look at more takes as long as a piece of an answer
_WHOLE_BYTES = 256 * 1024  # what is smaller is sent in one piece, with its length


class PageGone(StatusError):
    """The list can't be continued at its revision; the client may go on at another with this token."""

    def __init__(self, token: str) -> None:
        message = (
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results. Continuing with the provided token results in an inconsistent list."
        )
        super().__init__("Expired", message)
        self._token = token

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "metadata": {"continue": self._token}}


@dataclass(frozen=True, slots=True)
class Continue:
    """Where a list goes on: a key below the list's range, at a revision (0: the newest)."""

    start: str
    revision: int
    tenant_uid: str  # of the caller; a token isn't good for another incarnation of the tenant

    def encode(self) -> str:
        raw = orjson.dumps([self.start, self.revision, self.tenant_uid])
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    @classmethod
    def decode(cls, token: str, tenant_uid: str) -> "Continue":
        """Raises StatusError for what is no token of this tenant."""
        bad = StatusError("BadRequest", "continue key is not valid")
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            start, revision, uid = orjson.loads(raw)
        except (binascii.Error, ValueError, TypeError) as error:
            raise bad from error
        if not isinstance(start, str) or not isinstance(revision, int) or revision < 0 or uid != tenant_uid:
            raise bad
        return cls(start, revision, uid)


async def get(call: Call) -> web.StreamResponse:
    accepted = negotiation.accepted(call)
    wanted = options.resource_version(call.http.query)
    await _fresh_enough(call, wanted)
    entry = find(call)
    view = view_for(call, accepted)
    return answer_one(accepted, view, entry)


def answer_one(accepted: Accepted, view: View, entry: Entry) -> web.Response:
    """An entry in the form that the client likes best."""
    if view.shape == views.TABLE:
        body: Any = view.table([entry])
        body["metadata"] = {"resourceVersion": str(entry.revision)}
    else:
        body = view.encode(entry)
    return negotiation.answer(body, 200, accepted.media_type)


def find(call: Call) -> Entry:
    """The entry that the call names. Raises StatusError 404."""
    route = call.route
    tenant = call.owner
    if tenant is None:
        raise StatusError("MethodNotAllowed", "one object is read on the path of its tenant")
    entry = call.parts.mirror.object(call.resource, tenant, route.namespace, route.name)
    entry = entry or sharing.find(call.parts.mirror, call.resource, tenant, route.name)
    if entry is None:
        raise not_found(call.resource.group_resource, route.name)
    return entry


def view_for(call: Call, accepted: Accepted) -> View:
    shape = accepted.shape
    include = call.http.query.get("includeObject") or "Metadata"
    if shape == views.TABLE and include not in ("None", "Metadata", "Object"):
        raise StatusError("BadRequest", f"includeObject must be None, Metadata or Object, not {include!r}")
    return views.view_of(
        call.resource, shape, include if shape == views.TABLE else "Metadata", version=accepted.version,
        annotated=call.tenant is None, projected=call.reads_shared, media_type=accepted.media_type,
    )  # fmt: skip


async def _fresh_enough(call: Call, wanted: int | None) -> None:
    if wanted is None:
        await call.parts.freshness.now()
    else:
        await call.parts.freshness.at_least(wanted)


async def list_(call: Call) -> web.StreamResponse:
    accepted = negotiation.accepted(call, of_list=True)
    asked = options.list_options(call.http.query, call.resource, watch=False)
    view = view_for(call, accepted)
    mirror = call.parts.mirror
    if mirror.count(mirror.keys.range(call.resource, call.owner, call.route.namespace)) > _MANY:
        await call.turn()
    page, token = await _page(call, asked)
    metadata: dict[str, Any] = {"resourceVersion": str(page.revision)}
    if token:
        metadata["continue"] = token
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    return await answer_list(call, accepted, view, page.entries, metadata)


async def answer_list(
    call: Call, accepted: Accepted, view: View, entries: list[Entry], metadata: dict[str, Any]
) -> web.StreamResponse:
    """The entries in the form that the client likes best."""
    if view.shape == views.TABLE:
        table = view.table(entries)
        return negotiation.answer({**table, "metadata": metadata}, 200, accepted.media_type, call.warnings)
    if isinstance(view, ProtobufView):
        return await stream(call, await protobuflists.pieces(view, entries, metadata), accepted.media_type)
    pieces = _pieces(view, entries, metadata)
    if accepted.media_type != negotiation.JSON:
        return negotiation.answer(b"".join(pieces), 200, accepted.media_type, call.warnings)
    return await stream(call, pieces, accepted.media_type)


async def _page(call: Call, asked: ListOptions) -> tuple[Page, str]:
    """The page that is asked for, and the token of the next one ("" on the last)."""
    mirror = call.parts.mirror
    prefix = mirror.keys.range(call.resource, call.owner, call.route.namespace)
    start, revision = None, None
    if asked.continue_token:
        point = Continue.decode(asked.continue_token, call.user.tenant_uid)
        start, revision = prefix + point.start, point.revision or None
        await _known(call, revision)
    elif asked.match == EXACT or (asked.limit and asked.resource_version and not asked.match):
        revision = asked.resource_version
        assert revision is not None
        if revision > mirror.revision:
            await _at_exactly(call, revision)
    else:
        await _fresh_enough(call, asked.resource_version)
    try:
        _same_tenant(call, revision)
        page = _page_of_mirror(call, asked, prefix, start, revision)
    except HistoryGone:
        page = await _page_from_store(call, asked, prefix, start, revision or 0)
    if page.next_key is None:
        return page, ""
    return page, Continue(page.next_key[len(prefix) :], page.revision, call.user.tenant_uid).encode()


def _page_of_mirror(call: Call, asked: ListOptions, prefix: str, start: str | None, revision: int | None) -> Page:
    mirror, resource, tenant = call.parts.mirror, call.resource, call.tenant
    match = call.seen(asked.matcher(call.shown_labels))
    if tenant is not None and sharing.concerns(resource, tenant):
        return sharing.page(mirror, resource, tenant, limit=asked.limit, start=start, revision=revision, match=match)
    return mirror.page(
        prefix, limit=asked.limit, start=start, revision=revision, match=match, having=asked.having
    )  # fmt: skip


async def _known(call: Call, revision: int | None) -> None:
    """A token's revision that isn't there: the mirror is behind, or the store was set back. Raises StatusError 410."""
    if revision is None or revision <= call.parts.mirror.revision:
        return
    await call.parts.freshness.now()
    if revision > call.parts.mirror.revision:
        raise StatusError("Expired", "the continue parameter is from a revision that this server doesn't know")


async def _at_exactly(call: Call, revision: int) -> None:
    """A revision that isn't there yet: perhaps only the mirror is behind."""
    await call.parts.freshness.now()
    if revision > call.parts.mirror.revision:
        raise too_large(revision, call.parts.mirror.revision)


def _same_tenant(call: Call, revision: int | None) -> None:
    """An older revision may lie before this incarnation of the tenant: what was there then is not its to read."""
    tenant = call.tenant
    if revision is None or tenant is None or tenant == SYSTEM_TENANT or call.reads_shared:
        return
    if not call.parts.lookups.tenant_existed(tenant, revision):
        raise StatusError("Expired", f"The resourceVersion for the provided list is too old: {revision}")


async def _page_from_store(call: Call, asked: ListOptions, prefix: str, start: str | None, revision: int) -> Page:
    """A page of a revision before the log, from the store's own history. Raises StatusError 410."""
    if sharing.concerns(call.resource, call.tenant):
        raise StatusError("Expired", f"The resourceVersion for the provided list is too old: {revision}")
    match = call.seen(asked.matcher(call.shown_labels))
    found: list[Entry] = []
    try:
        while True:
            page = await call.parts.store.list(prefix, limit=asked.limit, start=start, revision=revision)
            stored = [Entry.of(item, call.parts.mirror.interner) for item in page.items]
            end = page.next_key or range_end(prefix)
            for entry in await _with_implied(call, stored, start or prefix, end, revision):
                if match is not None and not match(entry):
                    continue
                if asked.limit and len(found) == asked.limit:
                    return Page(found, revision, entry.key, None)
                found.append(entry)
            start = page.next_key
            if start is None:
                return Page(found, revision, None, None)
            if asked.limit and len(found) == asked.limit:
                return Page(found, revision, start, None)
    except Compacted as error:
        if not asked.continue_token:
            raise StatusError("Expired", f"The resourceVersion for the provided list is too old: {revision}") from error
        point = Continue.decode(asked.continue_token, call.user.tenant_uid)
        raise PageGone(Continue(point.start, 0, point.tenant_uid).encode()) from error
    except Unavailable as error:
        raise StatusError("ServiceUnavailable", "the store does not answer; try again") from error


async def _with_implied(call: Call, stored: list[Entry], start: str, end: str, revision: int) -> list[Entry]:
    """The entries of a part of a range as it was at a revision, with those that others implied. Raises Compacted."""
    implied = call.parts.implied
    sources = implied.sources_of(call.resource, call.owner)
    if sources is None:
        return stored
    found = {entry.key: entry for entry in stored}
    next_key: str | None = sources
    while next_key is not None:
        page = await call.parts.store.list(sources, start=next_key, revision=revision)
        for source in page.items:
            if not implied.implies(source.key):
                continue
            for entry in implied.of(Entry.of(source, call.parts.mirror.interner)):
                if start <= entry.key < end:
                    found.setdefault(entry.key, entry)
        next_key = page.next_key
    return sorted(found.values(), key=lambda entry: entry.key)


def _pieces(view: View, entries: list[Entry], metadata: dict[str, Any]) -> Iterator[bytes]:
    head = {"kind": f"{view.kind}List", "apiVersion": view.api_version, "metadata": metadata}
    if not entries and view.shape == views.METADATA:
        yield orjson.dumps({**head, "items": None})  # as upstream
        return
    yield orjson.dumps(head)[:-1] + b',"items":['
    for index, entry in enumerate(entries):
        item = view.encode(entry, in_list=True)
        yield b"," + item if index else item
    yield b"]}"


async def stream(call: Call, pieces: Iterator[bytes], media_type: str) -> web.StreamResponse:
    """Short lists in one piece; long ones chunk by chunk, so that they cost a chunk of memory."""
    chunk = _take(pieces, _WHOLE_BYTES)
    if len(chunk) < _WHOLE_BYTES:
        return negotiation.answer(chunk, 200, media_type, call.warnings)
    gzip = compression.Stream() if negotiation.takes_gzip(call.http) else None
    response = web.StreamResponse(headers={"Content-Type": media_type, **(compression.HEADERS if gzip else {})})
    negotiation.warn(response, [*call.warnings, *deprecations.warnings(call.route)])
    await response.prepare(call.http)
    while chunk:
        await sending.write(response, await gzip.add(chunk) if gzip else chunk, call.turn)
        await call.turn()
        chunk = _take(pieces, _CHUNK_BYTES)
    if gzip:
        await sending.write(response, await gzip.end())
    await response.write_eof()
    return response


def _take(pieces: Iterator[bytes], size: int) -> bytes:
    taken, length = [], 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if length >= size:
            break
    return b"".join(taken)
