"""Nothing is created in a namespace that isn't there or is ending; pods in one keep their network."""

from typing import TYPE_CHECKING, Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.status import StatusError, not_found
from hypernetes.api.tenancy import DEFAULT_NETWORK
from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

if TYPE_CHECKING:
    from hypernetes.apiserver.handlers.context import Call

Object = dict[str, Any]

_PODS = scheme.by_name("v1", "pods")


async def admit(call: "Call", object_name: str) -> None:
    """Raises StatusError 404 or 403."""
    tenant, name = call.one_tenant, call.route.namespace
    lookups = call.parts.lookups
    entry = lookups.namespace(tenant, name)
    if entry is None:
        await call.parts.freshness.now()  # it may be so new that the mirror hasn't heard of it
        entry = lookups.namespace(tenant, name)
    if entry is None:
        raise not_found("namespaces", name)
    if b'"deletionTimestamp"' in entry.data and "deletionTimestamp" in orjson.loads(entry.data)["metadata"]:
        message = f"unable to create new content in namespace {name} because it is being terminated"
        resource = call.resource
        group = {"group": resource.group} if resource.group else {}
        raise StatusError(
            "Forbidden",
            f"{resource.group_resource} is forbidden: {message}",
            causes=[{
                "reason": "NamespaceTerminating",
                "message": f"namespace {name} is being terminated",
                "field": "metadata.namespace",
            }],
            details={"name": object_name, "kind": resource.name, **group},
        )  # fmt: skip


def check_network(call: "Call", new: Object, old: Object) -> Causes:
    """The network changes only while the namespace has no pods: theirs can't be changed any more."""
    before, after = (obj.get("spec", {}).get("network") or DEFAULT_NETWORK for obj in (old, new))
    mirror = call.parts.mirror
    pods = mirror.range(mirror.keys.range(_PODS, call.one_tenant, new["metadata"]["name"]))
    if before == after or next(iter(pods), None) is None:
        return []
    return validation.forbidden("spec.network", "may not change while the namespace has pods")
