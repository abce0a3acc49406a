"""What may still be done in a tenant that is suspended or being deleted (pure).

    suspended:     its people read, and change nothing; the provider does as always
    being deleted: nobody makes anything, its people change nothing, the provider ends what there is

Reviews are questions, and change nothing.
"""

import orjson

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.mirror import Entry
from hypernetes.apiserver.routing import Route

SUSPENDED_CAUSE = "TenantSuspended"  # of a refusal: the same will be allowed once the tenant is resumed
_REVIEWS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})  # groups of which nothing is stored
_CHANGING = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_UPDATING = frozenset({"update", "patch"})
_ENTERING = frozenset({"attach", "exec", "portforward", "proxy"})  # subresources that open a pod, with whatever verb


def ends(tenant: Entry | None) -> bool:
    """Whether it is being deleted."""
    if tenant is None or b'"deletionTimestamp"' not in tenant.data:
        return False
    return "deletionTimestamp" in orjson.loads(tenant.data)["metadata"]


def is_suspended(tenant: Entry | None) -> bool:
    if tenant is None or b'"suspended":true' not in tenant.data:
        return False
    return bool(orjson.loads(tenant.data).get("spec", {}).get("suspended"))


def concern(route: Route) -> bool:
    """Whether a request may be one that is refused: no reader need look for the tenant."""
    if route.verb not in _CHANGING and route.subresource not in _ENTERING:
        return False
    return route.resource is not None and route.resource.group not in _REVIEWS


def check(tenant: Entry | None, user_tenant: str, route: Route) -> None:
    """Raises StatusError 403 for what nobody may do in the tenant, or nobody of `user_tenant`."""
    if not concern(route):
        return
    if ends(tenant) and (route.verb == "create" or (user_tenant != SYSTEM_TENANT and route.verb in _UPDATING)):
        # upstream's cause: by it controllers know that there is nothing to be done any more
        cause = {"reason": "NamespaceTerminating", "message": "the tenant is being deleted", "field": ""}
        why = "forbidden: the tenant is being deleted; it can only be read"
        raise StatusError("Forbidden", why, causes=[cause])
    if user_tenant != SYSTEM_TENANT and is_suspended(tenant):
        cause = {"reason": SUSPENDED_CAUSE, "message": "the tenant is suspended", "field": "spec.suspended"}
        why = "forbidden: the tenant is suspended by the provider; it can only be read"
        raise StatusError("Forbidden", why, causes=[cause])
