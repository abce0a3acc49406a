"""The decision. First the tenant: nobody but users of `system` gets past the border of their own, whatever they are
inside it, and the refusal is the same whether the other tenant exists or not. Then the rules for the kind of user.
"""

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authn.users import MASTERS_GROUP, NODE_USER_PREFIX, NODES_GROUP, User
from hypernetes.apiserver.authz.attributes import ALLOWED, Attributes, Decision
from hypernetes.apiserver.authz.components import CONTROLLERS_NEVER, SCHEDULER, TENANT_NEVER, node_rules
from hypernetes.apiserver.authz.rules import READ, any_matches

SCHEDULER_USER = "system:hn-scheduler"
CONTROLLERS_USER = "system:hn-controllers"

# Everybody with a credential may read these in the own tenant: what kubectl and client libraries ask first.
_DISCOVERY_PATHS = frozenset({"/", "/api", "/apis", "/version", "/healthz", "/livez", "/readyz"})
_DISCOVERY_PREFIXES = ("/api/", "/apis/", "/openapi/", "/version/", "/livez/", "/readyz/")
_SELF_REVIEWS = frozenset(
    {
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
    }
)

_FOREIGN_TENANT = Decision(False, "the credential is of another tenant")
_PROVIDERS = Decision(False, "only the provider may do this")
_NO_RULE = Decision(False)


def authorize(user: User, asked: Attributes) -> Decision:
    if user.tenant != SYSTEM_TENANT:
        return _in_tenant(user, asked) if asked.tenant == user.tenant else _FOREIGN_TENANT
    if MASTERS_GROUP in user.groups:
        return ALLOWED
    if asked.tenant == SYSTEM_TENANT and _is_for_everybody(asked):
        return ALLOWED
    return _component(user, asked)


def _in_tenant(user: User, asked: Attributes) -> Decision:
    if MASTERS_GROUP in user.groups:
        if not asked.resource:
            return ALLOWED if asked.verb == "get" and _is_discovery(asked.path) else _PROVIDERS
        return _PROVIDERS if any_matches(TENANT_NEVER, asked) else ALLOWED
    return ALLOWED if _is_for_everybody(asked) else _NO_RULE


def may_ever(verb: str, group: str, resource: str, subresource: str = "") -> bool:
    """Whether anybody of a tenant may do this at all: what discovery offers."""
    return not any_matches(TENANT_NEVER, Attributes("", verb, group, resource, subresource))


def _component(user: User, asked: Attributes) -> Decision:
    if user.name == SCHEDULER_USER:
        allowed = bool(asked.resource) and any_matches(SCHEDULER, asked)
    elif user.name == CONTROLLERS_USER:
        if asked.resource:
            allowed = not any_matches(CONTROLLERS_NEVER, asked)
        else:
            allowed = asked.verb in READ and _is_discovery(asked.path)
    elif NODES_GROUP in user.groups and user.name.startswith(NODE_USER_PREFIX):
        allowed = bool(asked.resource) and any_matches(node_rules(user.name.removeprefix(NODE_USER_PREFIX)), asked)
    else:
        allowed = False
    return ALLOWED if allowed else _NO_RULE


def _is_for_everybody(asked: Attributes) -> bool:
    if asked.resource:
        return asked.verb == "create" and (asked.group, asked.resource) in _SELF_REVIEWS
    return asked.verb == "get" and _is_discovery(asked.path)


def _is_discovery(path: str) -> bool:
    return path in _DISCOVERY_PATHS or path.startswith(_DISCOVERY_PREFIXES)


def forbidden(user: User, asked: Attributes, decision: Decision) -> StatusError:
    """The refusal in upstream's words. It repeats what the user sent, and tells nothing else."""
    why = f": {decision.reason}" if decision.reason else ""
    if not asked.resource:
        return StatusError("Forbidden", f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"{why}')
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    subject = f'{qualified} "{asked.name}"' if asked.name else qualified
    scope = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{user.name}" cannot {asked.verb} resource "{resource}" '
        f'in API group "{asked.group}" {scope}{why}'
    )
    details = {
        **({"name": asked.name} if asked.name else {}),
        **({"group": asked.group} if asked.group else {}),
        "kind": asked.resource,
    }
    return StatusError("Forbidden", message, details=details)
