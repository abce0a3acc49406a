"""componentstatuses: how the other processes of the control plane are, as far as the API server can tell.

Nothing of it is stored. The store is asked; the scheduler and the controllers are well while they hold their leases.
The names are those that upstream gives these three, and that people's scripts look for.
"""

from datetime import datetime, timedelta
from typing import Any

import orjson
from aiohttp import web

from hypernetes.api import scheme, times
from hypernetes.api.status import not_found
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import codec
from hypernetes.apiserver.handlers import negotiation, options, reading
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.mirror import Entry

Object = dict[str, Any]

_LEASES = scheme.by_name("coordination.k8s.io/v1", "leases")
_HOLDERS = {"controller-manager": "hn-controllers", "scheduler": "hn-scheduler"}  # component -> its lease
_STORE = "etcd-0"
_DEPRECATED = "v1 ComponentStatus is deprecated in v1.19+"


async def list_(call: Call) -> web.StreamResponse:
    accepted = negotiation.accepted(call, of_list=True)
    match = options.list_options(call.http.query, call.resource, watch=False).matcher()
    entries = [entry for entry in await _entries(call) if match is None or match(entry)]
    view = reading.view_for(call, accepted)
    return _warned(await reading.answer_list(call, accepted, view, entries, {}))


async def get(call: Call) -> web.StreamResponse:
    accepted = negotiation.accepted(call)
    found = [entry for entry in await _entries(call) if entry.name is not None and entry.name.name == call.route.name]
    if not found:
        raise not_found(call.resource.group_resource, call.route.name)
    view = reading.view_for(call, accepted)
    return _warned(reading.answer_one(accepted, view, found[0]))


def _warned(response: web.StreamResponse) -> web.StreamResponse:
    response.headers.add("Warning", f'299 - "{_DEPRECATED}"')
    return response


async def _entries(call: Call) -> list[Entry]:
    store = (await call.parts.health.results("/livez", ["store"]))["store"]
    errors = {
        _STORE: store and "it does not answer",
        **{name: _holder(call, lease) for name, lease in _HOLDERS.items()},
    }
    found = []
    for name, error in sorted(errors.items()):
        key = call.parts.keys.of(call.resource, call.tenant or SYSTEM_TENANT, "", name)
        found.append(Entry(key, 0, codec.encode(component_status(name, error))))
    return found


def _holder(call: Call, lease: str) -> str | None:
    """What is wrong with the process that holds a lease; None where nothing is."""
    entry = call.parts.mirror.object(_LEASES, SYSTEM_TENANT, "kube-system", lease)
    return "there is none" if entry is None else expired(orjson.loads(entry.data)["spec"], call.parts.clock())


def expired(spec: Object, now: datetime) -> str | None:
    """What is wrong with a lease (its spec); None while somebody holds it."""
    renewed, seconds = spec.get("renewTime"), spec.get("leaseDurationSeconds", 0)
    if not spec.get("holderIdentity") or renewed is None:
        return "nobody holds its lease"
    if now > times.parse_time(renewed) + timedelta(seconds=seconds):
        return f"its lease was last renewed at {renewed}"
    return None


def component_status(name: str, error: str | None) -> Object:
    condition = {"type": "Healthy", "status": "True", "message": "ok"}
    if error is not None:
        condition = {"type": "Healthy", "status": "False", "message": "unhealthy", "error": error}
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "ComponentStatus", "metadata": metadata, "conditions": [condition]}
