"""PATCH: of an object, or of its status, on the object as it is when it is written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from hypernetes.api.status import StatusError
from hypernetes.apiserver import admission, patch, registry, schema, versions
from hypernetes.apiserver.handlers import applying, negotiation, options, writing
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.jsonvalues import clone
from hypernetes.apiserver.largebodies import LARGE_PATCH_BYTES
from hypernetes.apiserver.objects import Decision, Stored, missing
from hypernetes.apiserver.registry import metadata

Object = dict[str, Any]
Patch = Callable[[Stored], "Patched"]
Patched = tuple[Object, list[str]]  # the object, and warnings for the client

# A patch without these says nothing of who manages what: so it need not see that.
_SPEAKS_OF_MANAGERS = (b"managedFields", b"\\u", b'"/metadata"')
_ATTEMPTS = 3  # to apply a large patch ahead of its write, while others change the object


class _Changed(Exception):
    """The object is no longer the one that the patch was applied to."""


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What a large patch makes of the object at one revision."""

    revision: str
    outcome: Patched | StatusError

    def of(self, old: Stored) -> Patched:
        """Raises StatusError as the patch did, _Changed."""
        if old["metadata"]["resourceVersion"] != self.revision:
            raise _Changed
        if isinstance(self.outcome, StatusError):
            raise self.outcome
        obj, warnings = self.outcome
        return clone(obj), warnings


async def patch_(call: Call) -> web.StreamResponse:
    accepted = negotiation.accepted(call)
    content_type = call.http.headers.get("Content-Type", "")
    if patch.check_content_type(content_type) == patch.APPLY:
        return await applying.apply(call)
    asked = options.write_options(call.http.query, "patch")
    body = await negotiation.read_body(call.http)
    await admission.prepare(call)
    strategy = registry.of(call.resource, call.route.subresource)
    kind = schema.for_kind(call.resource.api_version, call.resource.kind)

    def patched(old: Stored) -> Patched:
        shown = versions.served(call.resource, old)
        if old.managed and any(mark in body for mark in _SPEAKS_OF_MANAGERS):
            shown = {**shown, "metadata": {**shown["metadata"], "managedFields": orjson.loads(old.managed)}}
        return patch.decode(kind, patch.apply(content_type, shown, body, kind), asked.field_validation)

    for attempt in range(_ATTEMPTS + 1):
        ahead = len(body) > LARGE_PATCH_BYTES and attempt < _ATTEMPTS
        result = await _ahead(call, patched) if ahead else patched

        def changed(old: Stored | None, result: Patch = result) -> Decision:
            if old is None:
                raise missing(writing.place_of(call))
            obj, warnings = result(old)
            obj.setdefault("metadata", {})
            obj = versions.stored(call.resource, obj)
            writing.check_place(call, obj, False)
            metadata.drop_tenant(obj["metadata"])
            call.warnings[:] = warnings + metadata.drop_equal_owners(obj["metadata"])
            return writing.decide_update(call, strategy, obj, old)

        try:
            return writing.answer(call, await writing.change(call, changed, dry_run=asked.dry_run), accepted)
        except _Changed:
            await call.parts.freshness.now()
    raise AssertionError("unreachable")


async def _ahead(call: Call, patched: Patch) -> Patch:
    """`patched`, done before the object is written, since then nothing may be waited for."""
    place = writing.place_of(call)
    entry = call.parts.mirror.object(call.resource, place.tenant, place.namespace, place.name)
    if entry is None:
        await call.parts.freshness.now()
        entry = call.parts.mirror.object(call.resource, place.tenant, place.namespace, place.name)
        if entry is None:
            raise missing(place)
    old = Stored.of(entry)
    try:
        outcome: Patched | StatusError = await call.parts.large_bodies.read(patched, old)
    except StatusError as error:
        outcome = error
    return _Ahead(str(entry.revision), outcome).of
