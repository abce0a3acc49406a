"""The decision. First the tenant: nobody but users of `system` gets past the border of their own, whatever they are
inside it, and the refusal is the same whether the other tenant exists or not. Then what is the provider's in every
tenant. Then the rules for the kind of user: administrators, our own processes, RBAC for all others.
"""

from functools import lru_cache

from hypernetes.api.status import StatusError, not_found
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import sharednames
from hypernetes.apiserver.authn.users import MASTERS_GROUP, User
from hypernetes.apiserver.authz.attributes import ALLOWED, Attributes, Decision
from hypernetes.apiserver.authz.components import CONTROLLERS_NEVER, MAKES_TENANTS, SCHEDULER, TENANT_NEVER
from hypernetes.apiserver.authz.nodegraph import NodeGraph
from hypernetes.apiserver.authz.nodes import NodeAuthorizer, node_of
from hypernetes.apiserver.authz.rbac import Rbac, TenantPolicy
from hypernetes.apiserver.authz.rules import CHANGE, READ, any_matches
from hypernetes.apiserver.routing import METADATA_PATH

SCHEDULER_USER = "system:hn-scheduler"
CONTROLLERS_USER = "system:hn-controllers"

# What is no resource and yet a tenant's business. Roles may allow no other path: the rest is about the whole server.
_HEALTH_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})
_DISCOVERY_PATHS = _HEALTH_PATHS | {"/", "/api", "/apis"}
_DISCOVERY_PREFIXES = ("/api/", "/apis/", "/openapi/", "/version/", "/livez/", "/readyz/", "/.well-known/", "/openid/")

_FOREIGN_TENANT = Decision(False, "the credential is of another tenant")
_PROVIDERS = Decision(False, "only the provider may do this")
_NO_RULE = Decision(False)


class Authorizer:
    """Decides at once, from what the mirror holds."""

    def __init__(self, rbac: Rbac, graph: NodeGraph, *, tenants_follow: bool = False) -> None:
        """`tenants_follow`: hn-controllers makes tenants, as an identity provider has them."""
        self._rbac, self.nodes = rbac, NodeAuthorizer(graph)
        self._controllers_never = CONTROLLERS_NEVER if tenants_follow else (*CONTROLLERS_NEVER, *MAKES_TENANTS)

    def authorize(self, user: User, asked: Attributes) -> Decision:
        if user.tenant != SYSTEM_TENANT:
            return self._in_tenant(user, asked)
        if MASTERS_GROUP in user.groups:
            return ALLOWED
        decision = self._component(user, asked) if user.component else _NO_RULE
        if not decision.allowed and asked.tenant == SYSTEM_TENANT and self._rbac.of(SYSTEM_TENANT).allows(user, asked):
            return ALLOWED
        return decision

    def _component(self, user: User, asked: Attributes) -> Decision:
        node = node_of(user)
        if node is not None and asked.resource:
            return self.nodes.decide(node, asked)
        if user.name == SCHEDULER_USER:
            allowed = bool(asked.resource) and any_matches(SCHEDULER, asked)
        elif user.name == CONTROLLERS_USER:
            if asked.resource:
                allowed = not any_matches(self._controllers_never, asked)
            else:
                allowed = asked.verb in READ and (asked.path == METADATA_PATH or _is_discovery(asked.path))
        else:
            allowed = False
        return ALLOWED if allowed else _NO_RULE

    def policy(self, tenant: str) -> TenantPolicy:
        """The roles and bindings that count in a tenant."""
        return self._rbac.of(tenant)

    def _in_tenant(self, user: User, asked: Attributes) -> Decision:
        if not user.tenant:  # nobody has shown a credential, so this is about no tenant
            public = asked.verb == "get" and not asked.resource and not asked.tenant and asked.path in _HEALTH_PATHS
            return ALLOWED if public else _NO_RULE
        if asked.tenant != user.tenant:
            return _FOREIGN_TENANT
        if asked.resource:
            if not may_ever(asked.verb, asked.group, asked.resource, asked.subresource) or _is_shared(asked):
                return _PROVIDERS
        elif not _is_discovery(asked.path):  # which answer nobody who would change them
            return _PROVIDERS
        if MASTERS_GROUP in user.groups or self._rbac.of(user.tenant).allows(user, asked):
            return ALLOWED
        return _NO_RULE


@lru_cache(maxsize=8192)
def may_ever(verb: str, group: str, resource: str, subresource: str = "") -> bool:
    """Whether anybody of a tenant may do this at all: what discovery offers."""
    return not any_matches(TENANT_NEVER, Attributes("", verb, group, resource, subresource))


def _is_shared(asked: Attributes) -> bool:
    """Whether it would change one of the objects that are there for all tenants. A create finds it there: 409."""
    return asked.verb in (*CHANGE, "delete") and sharednames.is_reserved(asked.group, asked.resource, asked.name)


def _is_discovery(path: str) -> bool:
    return path in _DISCOVERY_PATHS or path.startswith(_DISCOVERY_PREFIXES)


def forbidden(user: User, asked: Attributes, decision: Decision) -> StatusError:
    """The refusal, in upstream's words. It repeats what the user sent, and tells nothing else."""
    if decision.absent:
        return not_found(f"{asked.resource}.{asked.group}" if asked.group else asked.resource, asked.name)
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
