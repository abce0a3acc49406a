"""POST tenants/NAME/tokenkeys: has another key sign the tenant's service-account tokens.

`spec.overlapSeconds` says for how long the former key verifies: by default until every token that it has signed has
ended. 0 ends them all, as after a key has become known.
"""

from datetime import timedelta

import orjson
from aiohttp import web

from hypernetes.api import times
from hypernetes.api.status import StatusError, cause, invalid, not_found
from hypernetes.apiserver.authn.serviceaccounts import CLOCK_SKEW, MAX_LIFETIME
from hypernetes.apiserver.handlers import negotiation
from hypernetes.apiserver.handlers.context import Call

_OVERLAP = MAX_LIFETIME + CLOCK_SKEW


async def rotate(call: Call) -> web.StreamResponse:
    overlap = _overlap(await negotiation.read_body(call.http), call.route.name)
    await call.parts.freshness.now()
    tenant = call.route.name
    uid = call.parts.lookups.tenant_uid(tenant)
    if uid is None:
        raise not_found("tenants.hypernetes.io", tenant)
    ring = await call.parts.token_keys.rotate(tenant, uid, call.parts.clock(), overlap)
    await call.parts.freshness.at_least(ring.revision)
    call.parts.legacy_tokens.rotated(tenant)
    keys = [{"id": each.id, "until": times.format_time(each.until) if each.until else None} for each in ring.keys]
    body = {
        "apiVersion": "hypernetes.io/v1", "kind": "TokenKeys", "metadata": {"name": tenant},
        "spec": {"overlapSeconds": int(overlap.total_seconds())}, "status": {"keys": keys},
    }  # fmt: skip
    return negotiation.answer(body, 201)


def _overlap(body: bytes, name: str) -> timedelta:
    try:
        spec = orjson.loads(body)["spec"]
        seconds = spec.get("overlapSeconds")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StatusError("BadRequest", "the body must be an object with a spec") from error
    if seconds is None:
        return _OVERLAP
    most = int(_OVERLAP.total_seconds())
    if isinstance(seconds, int) and not isinstance(seconds, bool) and 0 <= seconds <= most:
        return timedelta(seconds=seconds)
    why = cause("FieldValueInvalid", "spec.overlapSeconds", f"must be between 0 and {most}")
    raise invalid("hypernetes.io", "TokenKeys", name, [why])
