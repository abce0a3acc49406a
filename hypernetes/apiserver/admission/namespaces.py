"""Nothing is created in a namespace that isn't there or is ending."""

from typing import TYPE_CHECKING

import orjson

from hypernetes.api.status import StatusError, not_found

if TYPE_CHECKING:
    from hypernetes.apiserver.handlers.context import Call


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
