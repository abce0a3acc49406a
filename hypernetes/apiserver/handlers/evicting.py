"""POST of an Eviction: a pod's deletion, unless its disruption budget doesn't allow that now.

The budget is charged first and the pod deleted after, as upstream: what fails between leaves a disruption too few
allowed, which the disruption controller gives back once it sees that the pod stays.
"""

from dataclasses import replace
from typing import Any

from aiohttp import web

from hypernetes.api import scheme
from hypernetes.api.status import StatusError, conflict
from hypernetes.apiserver import codec, deletion, disruptions, schema
from hypernetes.apiserver.admission.request import Seen
from hypernetes.apiserver.disruptions import Verdict
from hypernetes.apiserver.handlers import negotiation, options
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.handlers.deleting import delete_object
from hypernetes.apiserver.handlers.options import DeleteOptions
from hypernetes.apiserver.objects import Decision, Place, Put, missing
from hypernetes.apiserver.schema import bodies

Object = dict[str, Any]

_BUDGETS = scheme.by_name("policy/v1", "poddisruptionbudgets")
_API_VERSIONS = ("policy/v1", "policy/v1beta1")  # the second is what kubectl sent before 1.22
_ATTEMPTS = 20  # against changes of the pod; upstream's figure


async def evict(call: Call) -> web.StreamResponse:
    eviction = await _read(call)
    asked = options.delete_options(call.http.query, eviction.get("deleteOptions") or {})
    for _ in range(_ATTEMPTS):
        if await _evicted(call, asked):
            success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
            return negotiation.answer(success, 201, negotiation.media_type(call.http))
    raise conflict("pods", call.route.name, "the pod changes all the time; try again")


async def _read(call: Call) -> Object:
    body, content_type = await negotiation.read_payload(call, (_API_VERSIONS[0], "Eviction"))
    value = body if isinstance(body, dict) else bodies.parse(body, content_type, find_duplicates=False)[0]
    if isinstance(value, dict) and value.get("apiVersion") in _API_VERSIONS:
        body = {**value, "apiVersion": _API_VERSIONS[0]}
    eviction, warnings = schema.for_kind(_API_VERSIONS[0], "Eviction").decode(
        body, options.write_options(call.http.query, "create").field_validation, content_type
    )
    call.warnings += warnings
    if (eviction.get("metadata") or {}).get("name") != call.route.name:
        raise StatusError("BadRequest", "name in URL does not match name in Eviction object")
    return eviction


async def _evicted(call: Call, asked: DeleteOptions) -> bool:
    """Whether it is done; else the pod has changed meanwhile, and all is to be looked at anew. Raises StatusError."""
    await call.parts.freshness.now()
    place = Place(call.resource, call.one_tenant, call.route.namespace, call.route.name)
    entry = call.parts.mirror.object(place.resource, place.tenant, place.namespace, place.name)
    if entry is None:
        raise missing(place)
    pod = codec.decode(entry.data, entry.revision)
    deletion.check_preconditions(place, pod, asked)
    as_seen = asked if asked.resource_version else replace(asked, resource_version=str(entry.revision))
    if disruptions.needs_no_budget(pod):
        return await _deleted(call, as_seen if disruptions.may_have_begun(pod) else asked, asked)
    seen = Seen(call.parts.mirror, call.one_tenant)
    budgets = disruptions.budgets_of(pod, seen.all(_BUDGETS, call.route.namespace))
    if len(budgets) > 1:
        raise disruptions.several()
    budget = budgets[0] if budgets else None
    verdict = disruptions.decide(pod, budget)
    if verdict is not Verdict.UNCHANGED:
        if budget is not None:
            await _charge(call, budget["metadata"]["name"], dry_run=asked.dry_run)
        return await _deleted(call, asked, asked)
    assert budget is not None
    if not await _deleted(call, as_seen, asked):
        raise disruptions.still_processed(budget["metadata"]["name"])
    return True


async def _deleted(call: Call, options_now: DeleteOptions, asked: DeleteOptions) -> bool:
    """False where the pod is another version than the one looked at, which the client didn't ask for."""
    try:
        await delete_object(
            call, call.route.name, options_now, mark=lambda pod: disruptions.targeted(pod, call.parts.clock())
        )
    except StatusError as error:
        if error.reason == "Conflict" and options_now is not asked:
            return False
        raise
    return True


async def _charge(call: Call, name: str, *, dry_run: bool) -> None:
    place = Place(_BUDGETS, call.one_tenant, call.route.namespace, name)

    def charged(old: Object | None) -> Decision:
        if old is None:
            raise missing(place)
        return Put(disruptions.charge(old, call.route.name, call.parts.clock()))

    await call.parts.objects.change(place, charged, dry_run=dry_run)
