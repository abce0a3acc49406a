"""TenantLifecycle: a protected tenant stays, and nothing starts in one that is suspended.

What a request may do in a tenant that is suspended or ends is decided before its handler (`tenantstates`); here is what
depends on the objects.
"""

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import tenantstates
from hypernetes.apiserver.admission.request import CREATE, DELETE, Plugin, Request


def check_protection(request: Request) -> None:
    """Raises StatusError 403."""
    if request.old.get("spec", {}).get("deletionProtection"):
        raise request.forbidden("spec.deletionProtection is set: set it to false before you delete the tenant")


def check_running(request: Request) -> None:
    """Raises StatusError 403, by whose cause controllers know that there is no hurry."""
    seen = request.seen
    if seen.tenant == SYSTEM_TENANT or not tenantstates.is_suspended(seen.tenant_entry()):
        return
    refused = request.forbidden("the tenant is suspended, and nothing starts in it until it is resumed")
    cause = {"reason": tenantstates.SUSPENDED_CAUSE, "message": "the tenant is suspended", "field": "spec.suspended"}
    raise StatusError("Forbidden", refused.message, causes=[cause], details=refused.details)


PROTECTION = Plugin("TenantLifecycle", (("hypernetes.io", "tenants"),), (DELETE,), validate=check_protection)
# Jobs too: those of a CronJob would pile up.
STARTS = Plugin("TenantLifecycle", (("", "pods"), ("batch", "jobs")), (CREATE,), mutate=check_running)
