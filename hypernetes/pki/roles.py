"""Which certificates a cluster has, and what each of them says."""

from collections.abc import Iterable

from hypernetes.api.tenancy import CLUSTER_DOMAIN, SYSTEM_TENANT, TenantSAN, system_tenant_uid
from hypernetes.pki.certificates import Profile

APISERVER = "apiserver"
KUBELET_CLIENT = "apiserver-kubelet-client"
ADMIN = "admin"
SCHEDULER = "scheduler"
CONTROLLERS = "controllers"
FRONT_PROXY_CLIENT = "front-proxy-client"  # hn-apiserver's, towards the servers that tenants' APIs are extended by

MASTERS_GROUP = "system:masters"
NODES_GROUP = "system:nodes"
KUBELET_CLIENT_USER = "system:hn-apiserver"  # the only user an agent's port lets in
_NODE_PREFIX = "node-"

# Names under which pods know the API; the addresses depend on the cluster.
_SERVING_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
    "localhost",
)

_CLIENTS = {
    KUBELET_CLIENT: (KUBELET_CLIENT_USER, ()),
    ADMIN: ("admin", (MASTERS_GROUP,)),
    SCHEDULER: ("system:hn-scheduler", ()),
    CONTROLLERS: ("system:hn-controllers", ()),
}


def node_role(node: str) -> str:
    return _NODE_PREFIX + node


def profile_of(role: str, cluster_id: str, addresses: Iterable[str] = ()) -> Profile:
    """The profile of a role's certificate. `addresses`: where a server is reached. KeyError for an unknown role."""
    san = TenantSAN(cluster_id, SYSTEM_TENANT, system_tenant_uid(cluster_id))
    ordered = tuple(dict.fromkeys(addresses))
    if role == APISERVER:
        return Profile("kube-apiserver", dns_names=_SERVING_NAMES, addresses=ordered, server=True)
    if role == FRONT_PROXY_CLIENT:
        return Profile(FRONT_PROXY_CLIENT, client=True)
    if role.startswith(_NODE_PREFIX):
        # The agent's one certificate both serves its port and opens the API.
        node = role.removeprefix(_NODE_PREFIX)
        return Profile(
            f"system:node:{node}", (NODES_GROUP,), san, dns_names=(node,), addresses=ordered, server=True, client=True
        )
    user, groups = _CLIENTS[role]
    return Profile(user, groups, san, client=True)
