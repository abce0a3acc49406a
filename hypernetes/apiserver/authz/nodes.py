"""What a node's agent may: see to its own pods, of whatever tenant they are, and to nothing else.

By name it reads what its pods name. Lists and watches are those of its own pods, and in the tenants of its pods the
services and endpoints, since every pod of a tenant reaches all of that tenant's services, and what network policies are
about: policies, namespaces, and of pods elsewhere their Ports. Of volumes it follows what is attached to its node, and
the NodeVolumes that it keeps. What a body may say beside (whose Port, whose Event,
which token) is checked on the object: admission/noderestriction.py.
"""

from collections.abc import Callable

from hypernetes.api import selectors
from hypernetes.api.tenancy import ALL_TENANTS, SYSTEM_TENANT
from hypernetes.apiserver.authn.users import NODE_USER_PREFIX, NODES_GROUP, User
from hypernetes.apiserver.authz.attributes import ALLOWED, Attributes, Decision
from hypernetes.apiserver.authz.components import HYPERNETES
from hypernetes.apiserver.authz.nodegraph import NodeGraph
from hypernetes.apiserver.authz.rules import CHANGE, READ

NODE_LEASES_NAMESPACE = "kube-node-lease"
_GONE = Decision(False, absent=True)
_NOT_ITS_OWN = Decision(False, "no pod of this node has to do with it")
_MAY_BE_GONE = frozenset({"pods", "ports", "nodevolumes"})
_READS_ONE = ("get",)
_LISTS = ("list", "watch")

Rule = Callable[["NodeAuthorizer", str, Attributes], bool]


def node_of(user: User) -> str | None:
    """The node whose agent this is; None for everybody else."""
    if user.component and NODES_GROUP in user.groups and user.name.startswith(NODE_USER_PREFIX):
        return user.name.removeprefix(NODE_USER_PREFIX) or None
    return None


class NodeAuthorizer:
    def __init__(self, graph: NodeGraph) -> None:
        self.graph = graph

    def decide(self, node: str, asked: Attributes) -> Decision:
        resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        rule = _RULES.get((asked.group, resource))
        if rule is not None and rule(self, node, asked):
            return ALLOWED
        # An agent must learn that its pod or port is gone. It is told here, so that nothing can come in between.
        gone = asked.resource in _MAY_BE_GONE and asked.name and not self.graph.exists(asked.tenant, asked)
        return _GONE if gone and rule is not None else _NOT_ITS_OWN

    # One method a resource: whether the agent of `node` may.

    def _pods(self, node: str, asked: Attributes) -> bool:
        if asked.verb in _LISTS:
            return _selects(asked.field_selector, "spec.nodeName", node)
        if asked.verb not in ("get", "delete"):
            return False
        return self.graph.pod(node, asked.tenant, asked.namespace, asked.name) is not None

    def _pod_status(self, node: str, asked: Attributes) -> bool:
        bound = self.graph.pod(node, asked.tenant, asked.namespace, asked.name)
        return asked.verb in (*CHANGE, "get") and bound is not None

    def _secrets(self, node: str, asked: Attributes) -> bool:
        return asked.verb in _READS_ONE and self.graph.names_secret(node, asked.tenant, asked.namespace, asked.name)

    def _config_maps(self, node: str, asked: Attributes) -> bool:
        where = (asked.tenant, asked.namespace, asked.name)
        return asked.verb in _READS_ONE and self.graph.names_config_map(node, *where)

    def _claims(self, node: str, asked: Attributes) -> bool:
        return asked.verb in _READS_ONE and self.graph.names_claim(node, asked.tenant, asked.namespace, asked.name)

    def _volumes(self, node: str, asked: Attributes) -> bool:
        return asked.verb in _READS_ONE and self.graph.names_volume(node, asked.tenant, asked.name)

    def _accounts(self, node: str, asked: Attributes) -> bool:
        return asked.verb in _READS_ONE and self.graph.names_account(node, asked.tenant, asked.namespace, asked.name)

    def _tokens(self, node: str, asked: Attributes) -> bool:
        return asked.verb == "create" and self.graph.names_account(node, asked.tenant, asked.namespace, asked.name)

    def _namespaces(self, node: str, asked: Attributes) -> bool:
        """All of a tenant by list, since policies select them by their labels."""
        if asked.verb in _LISTS:
            return self._has_tenant(node, asked)
        return asked.verb in _READS_ONE and self.graph.has_namespace(node, asked.tenant, asked.name)

    def _tenant_wide(self, node: str, asked: Attributes) -> bool:
        """Services, endpoints, policies: of one tenant at a time, and only where the node has its pods."""
        return asked.verb in READ and self._has_tenant(node, asked)

    def _has_tenant(self, node: str, asked: Attributes) -> bool:
        return asked.tenant != ALL_TENANTS and self.graph.has_tenant(node, asked.tenant)

    def _networks(self, node: str, asked: Attributes) -> bool:
        return asked.verb in _READS_ONE and self.graph.has_tenant(node, asked.tenant)

    def _tenants(self, node: str, asked: Attributes) -> bool:
        of_system = asked.tenant == SYSTEM_TENANT
        return asked.verb in _READS_ONE and of_system and self.graph.has_tenant(node, asked.name)

    def _ports(self, node: str, asked: Attributes) -> bool:
        if asked.verb in ("get", "patch", "delete"):  # those of pods that are gone, too: it gives their addresses back
            return self.graph.port_node(asked.tenant, asked.name) == node
        return asked.verb in ("create", *_LISTS) and self._has_tenant(node, asked)

    def _attachments(self, node: str, asked: Attributes) -> bool:
        """`patch` says how large it has made the file system."""
        if asked.verb in ("get", "patch"):
            return self.graph.attachment_node(asked.tenant, asked.name) == node
        return asked.verb in _LISTS and _selects(asked.field_selector, "spec.nodeName", node)

    def _node_volumes(self, node: str, asked: Attributes) -> bool:
        """Those it keeps, also once nobody uses them; `patch` takes its finalizer away."""
        if asked.verb in _LISTS:
            return _selects(asked.field_selector, "spec.nodeName", node)
        return asked.verb in ("get", "patch") and self.graph.volume_node(asked.tenant, asked.name) == node

    def _events(self, node: str, asked: Attributes) -> bool:
        return asked.verb in ("create", *CHANGE) and asked.tenant != ALL_TENANTS

    def _nodes(self, node: str, asked: Attributes) -> bool:
        if asked.tenant != SYSTEM_TENANT:
            return False
        own = asked.name == node
        return (asked.verb == "create" and asked.name in ("", node)) or (asked.verb in ("get", *CHANGE) and own)

    def _leases(self, node: str, asked: Attributes) -> bool:
        return asked.namespace == NODE_LEASES_NAMESPACE and self._nodes(node, asked)


_RULES: dict[tuple[str, str], Rule] = {
    ("", "pods"): NodeAuthorizer._pods,
    ("", "pods/status"): NodeAuthorizer._pod_status,
    ("", "secrets"): NodeAuthorizer._secrets,
    ("", "configmaps"): NodeAuthorizer._config_maps,
    ("", "persistentvolumeclaims"): NodeAuthorizer._claims,
    ("", "persistentvolumes"): NodeAuthorizer._volumes,
    ("", "serviceaccounts"): NodeAuthorizer._accounts,
    ("", "serviceaccounts/token"): NodeAuthorizer._tokens,
    ("", "namespaces"): NodeAuthorizer._namespaces,
    ("", "services"): NodeAuthorizer._tenant_wide,
    ("discovery.k8s.io", "endpointslices"): NodeAuthorizer._tenant_wide,
    ("networking.k8s.io", "networkpolicies"): NodeAuthorizer._tenant_wide,
    ("", "networks"): NodeAuthorizer._networks,
    (HYPERNETES, "networks"): NodeAuthorizer._networks,
    (HYPERNETES, "tenants"): NodeAuthorizer._tenants,
    (HYPERNETES, "ports"): NodeAuthorizer._ports,
    (HYPERNETES, "nodevolumes"): NodeAuthorizer._node_volumes,
    (HYPERNETES, "nodevolumes/status"): NodeAuthorizer._node_volumes,
    ("storage.k8s.io", "volumeattachments"): NodeAuthorizer._attachments,
    ("", "events"): NodeAuthorizer._events,
    ("events.k8s.io", "events"): NodeAuthorizer._events,
    ("", "nodes"): NodeAuthorizer._nodes,
    ("", "nodes/status"): NodeAuthorizer._nodes,
    ("coordination.k8s.io", "leases"): NodeAuthorizer._leases,
}


def _selects(field_selector: str, path: str, value: str) -> bool:
    """Whether the selector lets nothing through but what has this value."""
    try:
        terms = selectors.parse_fields(field_selector)
    except ValueError:
        return False  # the handler says what is wrong with it, to those who may ask
    return any(term.path == path and term.value == value and not term.negated for term in terms)
