"""Roles and bindings: nobody grants what they don't have (upstream does this where it stores them)."""

from hypernetes.api.status import StatusError, already_exists
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.admission.request import CREATE, UPDATE, Plugin, Request
from hypernetes.apiserver.authz import defaultroles, escalation
from hypernetes.apiserver.authz.defaultroles import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, RBAC_GROUP


def check_role(request: Request) -> None:
    _check_free(request)
    assert request.authorizer is not None
    why = escalation.of_role(
        request.authorizer, request.user, request.seen.tenant, request.obj, request.old or None
    )  # fmt: skip
    if why:
        raise request.forbidden(why)


def check_binding(request: Request) -> None:
    _check_free(request)
    assert request.authorizer is not None
    try:
        why = escalation.of_binding(
            request.authorizer, request.user, request.seen.tenant, request.obj, request.old or None
        )
    except escalation.NoSuchRole as error:
        name, resource = str(error), request.resource
        details = {"name": name, "group": resource.group, "kind": resource.name}
        raise StatusError("NotFound", f'the role "{name}" that is to be bound is not found', details=details) from error
    if why:
        raise request.forbidden(why)


def _check_free(request: Request) -> None:
    """A name that all tenants share is taken in each of them. Raises StatusError 409."""
    resource = request.resource
    if request.operation != CREATE or request.seen.tenant == SYSTEM_TENANT:
        return
    if defaultroles.is_default(resource.group, resource.name, request.name):
        raise already_exists(resource.group_resource, request.name)


ROLES = Plugin(
    "PrivilegeEscalation/roles", ((RBAC_GROUP, "roles"), (RBAC_GROUP, CLUSTER_ROLES)), (CREATE, UPDATE),
    validate=check_role,
)  # fmt: skip
BINDINGS = Plugin(
    "PrivilegeEscalation/bindings", ((RBAC_GROUP, "rolebindings"), (RBAC_GROUP, CLUSTER_ROLE_BINDINGS)),
    (CREATE, UPDATE), validate=check_binding,
)  # fmt: skip
