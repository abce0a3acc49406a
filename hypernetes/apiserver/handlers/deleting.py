"""DELETE of one object, or of all that a list would show."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError
from hypernetes.apiserver import admission, codec, contents, deletion, registry, schema
from hypernetes.apiserver.handlers import claims, negotiation, options, quotas, users
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.handlers.options import DeleteOptions
from hypernetes.apiserver.handlers.reading import answer_list, view_for
from hypernetes.apiserver.handlers.writing import answer
from hypernetes.apiserver.mirror import Entry
from hypernetes.apiserver.objects import Decision, Place, Put, Remove, Written, missing
from hypernetes.apiserver.schema import bodies

Object = dict[str, Any]
Mark = Callable[[Object], Object]

_OPTIONS_KIND = "DeleteOptions"
_AT_ONCE = 32  # objects of one deletecollection whose removal is under way; the store writes them together


async def delete(call: Call) -> web.StreamResponse:
    accepted = negotiation.accepted(call)
    asked = await _options(call)
    _warn(call, asked)
    written = await delete_object(call, call.route.name, asked)
    if call.resource.kind in ("Namespace", "Tenant"):
        # whoever has the answer can rely on it that nothing new is taken: admission looks at the mirror
        await call.parts.freshness.at_least(written.entry.revision)
    if call.resource is contents.TENANTS:
        call.parts.contents.look(call.route.name)
    if not written.removed or registry.of(call.resource).returns_deleted:
        return answer(call, written, accepted)
    uid = orjson.loads(written.entry.data)["metadata"]["uid"]
    return negotiation.answer(_success(call.resource, call.route.name, uid), 200, accepted.media_type, call.warnings)


async def delete_collection(call: Call) -> web.StreamResponse:
    """Deletes all that the selectors match, or the first `limit` of them; answers with them as they were found."""
    accepted = negotiation.accepted(call, of_list=True)
    selected = options.list_options(call.http.query, call.resource, watch=False)
    asked = await _options(call)
    _warn(call, asked)
    await call.parts.freshness.now()
    mirror = call.parts.mirror
    prefix = mirror.keys.range(call.resource, call.one_tenant, call.route.namespace)
    found = mirror.page(prefix, limit=selected.limit, match=selected.matcher()).entries
    gone: list[Entry] = []
    for start in range(0, len(found), _AT_ONCE):
        gone += await _delete_all(call, found[start : start + _AT_ONCE], asked)
    view = view_for(call, accepted)
    return await answer_list(call, accepted, view, gone, {"resourceVersion": str(mirror.revision)})


async def _delete_all(call: Call, entries: list[Entry], asked: DeleteOptions) -> list[Entry]:
    """Those that this request has deleted. Raises what one of them is refused for, once all have been tried."""

    async def one(entry: Entry) -> bool:
        assert entry.name is not None
        try:
            await delete_object(call, entry.name.name, asked, namespace=entry.name.namespace)
        except StatusError as error:
            if error.reason == "NotFound":  # somebody else was faster
                return False
            raise
        return True

    results = await asyncio.gather(*(one(entry) for entry in entries), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [entry for entry, deleted in zip(entries, results, strict=True) if deleted]


async def delete_object(
    call: Call, name: str, asked: DeleteOptions, namespace: str | None = None, mark: Mark = lambda obj: obj
) -> Written:
    """Deletes, or begins to; `mark` says why, on an object that stays for now. Raises StatusError."""
    strategy = registry.of(call.resource)
    place = Place(call.resource, call.one_tenant, call.route.namespace if namespace is None else namespace, name)

    replaced: Object | None = None  # what another one has come in the place of

    def decided(old: Object | None) -> Decision:
        nonlocal replaced
        if old is None:
            raise missing(place)
        deletion.check_preconditions(place, old, asked)
        admission.check(admission.request(call, admission.DELETE, None, old, name=name))
        decision = deletion.decide(place, strategy, old, asked, call.parts.clock())
        renewed = call.parts.implied.renewed(call.parts.mirror, place)
        replaced = old if isinstance(decision, Remove) and renewed is not None else None
        if replaced is not None and renewed is not None:
            return Put(renewed, quotas.charges(call, renewed, old))
        if isinstance(decision, Remove):
            return Remove(
                [*claims.released(call, old), *users.released(call, old), *quotas.charges(call, None, old)],
                decision.last,
            )
        return Put(mark(decision.obj), decision.also)

    async def write() -> Written:
        return await call.parts.objects.change(place, decided, dry_run=asked.dry_run)

    written = await quotas.write(call, write, dry_run=asked.dry_run)
    if replaced is not None:
        entry = written.entry
        return Written(Entry(entry.key, entry.revision, codec.encode(replaced)), removed=True)
    if written.removed or asked.dry_run:
        return written
    now = codec.decode(written.entry.data, written.entry.revision)
    if not deletion.finished(now, strategy):
        return written
    asked = replace(asked, uid=now["metadata"]["uid"], resource_version="")
    try:
        return await quotas.write(call, write)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        return replace(written, removed=True)  # whoever runs it was faster


def _warn(call: Call, asked: DeleteOptions) -> None:
    warning = registry.of(call.resource).delete_warning
    if warning and not asked.propagation:
        call.warnings.append(warning)


async def _options(call: Call) -> DeleteOptions:
    if not (await negotiation.read_body(call.http)).strip():
        return options.delete_options(call.http.query, {})
    body, content_type = await negotiation.read_payload(call, ("v1", _OPTIONS_KIND))
    value = body if isinstance(body, dict) else bodies.parse(body, content_type, find_duplicates=False)[0]
    if isinstance(value, dict) and value.get("kind", _OPTIONS_KIND) == _OPTIONS_KIND:
        body = {**value, "apiVersion": "v1"}  # clients name the group of what they delete
    decoded, _ = schema.for_kind("v1", "DeleteOptions").decode(body, "Ignore", content_type)
    return options.delete_options(call.http.query, decoded)


def _success(resource: Resource, name: str, uid: str) -> Object:
    details = {"name": name, **({"group": resource.group} if resource.group else {}), "kind": resource.name, "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
