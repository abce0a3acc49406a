"""The ClusterRoles and ClusterRoleBindings that every tenant has: data.

They lie once, in the tenant `system`; every tenant sees them, read-only, and its decisions count them as its own.
Names, verbs and resources are upstream's, so that what Helm charts and people bind to means what they expect.

    project-member ◄─ admin ◄─ edit ◄─ view ─► project-reader

Each of the five is the union of the roles labelled so that they aggregate to it. The last two are ours: what people get
who have a role in the tenant's Keystone project.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

from hypernetes.api import scheme
from hypernetes.api.usernames import KEYSTONE_PREFIX
from hypernetes.apiserver.authn.users import (
    AUTHENTICATED_GROUP,
    MASTERS_GROUP,
    SERVICE_ACCOUNTS_GROUP,
    UNAUTHENTICATED_GROUP,
)
from hypernetes.apiserver.authz.policyrules import PolicyRule

Object = dict[str, Any]

RBAC_GROUP = "rbac.authorization.k8s.io"
API_VERSION = f"{RBAC_GROUP}/v1"
CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS = "clusterroles", "clusterrolebindings"
AUTOUPDATE_ANNOTATION = "rbac.authorization.kubernetes.io/autoupdate"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE_LABEL = f"{RBAC_GROUP}/aggregate-to-"

_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_CORE = ("",)
_EVENTS = ("", "events.k8s.io")
_CERTIFICATES = ("certificates.k8s.io",)
_AUTHENTICATION, _AUTHORIZATION = ("authentication.k8s.io",), ("authorization.k8s.io",)
_NETWORKS = ("", "hypernetes.io")
_SNAPSHOTS = ("snapshot.storage.k8s.io",)
_COORDINATION, _DISCOVERY = ("coordination.k8s.io",), ("discovery.k8s.io",)


def _rule(verbs: tuple[str, ...], groups: tuple[str, ...], resources: str, *names: str) -> PolicyRule:
    return PolicyRule(verbs, groups, tuple(resources.split()), names)


def _urls(urls: str) -> PolicyRule:
    return PolicyRule(("get",), non_resource_urls=tuple(urls.split()))


def _approver(signer: str) -> tuple[PolicyRule, ...]:
    return (_rule(("approve",), _CERTIFICATES, "signers", f"kubernetes.io/{signer}"),)


_CALLS_SERVERS = (
    _rule(("create",), _AUTHENTICATION, "tokenreviews"),
    _rule(("create",), _AUTHORIZATION, "subjectaccessreviews"),
)
_WRITES_EVENTS = _rule(("create", "patch", "update"), _EVENTS, "events")


def _elects(name: str) -> tuple[PolicyRule, ...]:
    return (
        _rule(("create",), _COORDINATION, "leases"),
        _rule(("get", "update"), _COORDINATION, "leases", name),
    )


def _namespaced() -> tuple[PolicyRule, ...]:
    """Everything that lies in a namespace; roles without the verbs that get around what one holds."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for each in scheme.served():
        if each.namespaced:
            found[each.group].update((each.name, *(f"{each.name}/{sub}" for sub in each.subresources)))
    return tuple(
        PolicyRule(_ALL if group == RBAC_GROUP else ("*",), (group,), tuple(sorted(names)))
        for group, names in sorted(found.items())
    )


_READS_WHAT_NAMESPACES_USE = (
    _rule(_READ, _CORE, "nodes persistentvolumes"),
    _rule(_READ, _NETWORKS, "networks"),
    _rule(_READ, ("hypernetes.io",), "ports"),
    _rule(_READ, ("networking.k8s.io",), "ingressclasses"),
    _rule(_READ, ("node.k8s.io",), "runtimeclasses"),
    _rule(_READ, ("scheduling.k8s.io",), "priorityclasses"),
    _rule(_READ, ("storage.k8s.io",), "csidrivers csinodes csistoragecapacities storageclasses"),
    _rule(_READ, ("storage.k8s.io",), "volumeattributesclasses"),
    _rule(_READ, _SNAPSHOTS, "volumesnapshotclasses volumesnapshotcontents"),
)

_RULES: dict[str, tuple[PolicyRule, ...]] = {
    "cluster-admin": (PolicyRule(("*",), ("*",), ("*",)), PolicyRule(("*",), non_resource_urls=("*",))),
    "system:aggregate-to-admin": (
        _rule(("create",), _AUTHORIZATION, "localsubjectaccessreviews"),
        _rule(_ALL, (RBAC_GROUP,), "rolebindings roles"),
    ),
    "system:aggregate-to-edit": (
        _rule(_READ, _CORE, "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        _rule(("impersonate",), _CORE, "serviceaccounts"),
        _rule(_WRITE, _CORE, "pods pods/attach pods/exec pods/portforward pods/proxy"),
        _rule(("create",), _CORE, "pods/eviction"),
        _rule(
            _WRITE, _CORE, "configmaps events persistentvolumeclaims replicationcontrollers "
            "replicationcontrollers/scale secrets serviceaccounts services services/proxy",
        ),
        _rule(("create",), _CORE, "serviceaccounts/token"),
        _rule(
            _WRITE, ("apps",), "daemonsets deployments deployments/rollback deployments/scale replicasets "
            "replicasets/scale statefulsets statefulsets/scale",
        ),
        _rule(_WRITE, ("autoscaling",), "horizontalpodautoscalers"),
        _rule(_WRITE, ("batch",), "cronjobs jobs"),
        _rule(_WRITE, ("policy",), "poddisruptionbudgets"),
        _rule(_WRITE, ("networking.k8s.io",), "ingresses networkpolicies"),
        _rule(_ALL, _COORDINATION, "leases"),
    ),
    # elsewhere the add-on's that serves these metrics
    "system:aggregated-metrics-reader": (_rule(_READ, ("metrics.k8s.io",), "nodes pods"),),
    # elsewhere nobody's but an administrator's, since snapshots are an add-on
    "system:aggregated-volumesnapshots": (_rule(_WRITE, _SNAPSHOTS, "volumesnapshots"),),
    "system:aggregate-to-project-member": (
        *_namespaced(),
        *_READS_WHAT_NAMESPACES_USE,
        _rule(_ALL, _CORE, "namespaces"),
        _rule(_ALL, _NETWORKS, "networks"),
    ),
    "system:aggregate-to-project-reader": _READS_WHAT_NAMESPACES_USE,
    "system:aggregate-to-view": (
        _rule(
            _READ, _CORE, "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
            "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
        ),
        _rule(
            _READ, _CORE, "bindings events limitranges namespaces/status pods/log pods/status "
            "replicationcontrollers/status resourcequotas resourcequotas/status",
        ),
        _rule(_READ, _CORE, "namespaces"),
        _rule(_READ, _DISCOVERY, "endpointslices"),
        _rule(
            _READ, ("apps",), "controllerrevisions daemonsets daemonsets/status deployments deployments/scale "
            "deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale "
            "statefulsets/status",
        ),
        _rule(_READ, ("autoscaling",), "horizontalpodautoscalers horizontalpodautoscalers/status"),
        _rule(_READ, ("batch",), "cronjobs cronjobs/status jobs jobs/status"),
        _rule(_READ, ("policy",), "poddisruptionbudgets poddisruptionbudgets/status"),
        _rule(_READ, ("networking.k8s.io",), "ingresses ingresses/status networkpolicies"),
    ),
    "system:auth-delegator": _CALLS_SERVERS,
    "system:basic-user": (
        _rule(("create",), _AUTHORIZATION, "selfsubjectaccessreviews selfsubjectrulesreviews"),
        _rule(("create",), _AUTHENTICATION, "selfsubjectreviews"),
    ),
    "system:discovery": (
        _urls("/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"),
        _urls("/.well-known /.well-known/*"),
    ),
    "system:public-info-viewer": (_urls("/healthz /livez /readyz /version /version/"),),
    "system:service-account-issuer-discovery": (
        _urls(
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"
        ),
    ),
    "system:monitoring": (
        _urls("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),
    ),
    "system:heapster": (_rule(_READ, _CORE, "events namespaces nodes pods"),),
    "system:kube-aggregator": (_rule(_READ, _CORE, "endpoints services"),),
    "system:kube-dns": (
        _rule(("list", "watch"), _CORE, "endpoints services"),
        _rule(("list", "watch"), _DISCOVERY, "endpointslices"),
    ),
    "system:kube-controller-manager": (
        _WRITES_EVENTS,
        *_elects("kube-controller-manager"),
        _rule(("create",), _CORE, "secrets serviceaccounts serviceaccounts/token"),
        _rule(("delete",), _CORE, "secrets"),
        _rule(("get",), _CORE, "configmaps namespaces secrets serviceaccounts"),
        _rule(("update",), _CORE, "secrets serviceaccounts"),
        *_CALLS_SERVERS,
        PolicyRule(("list", "watch"), ("*",), ("*",)),
    ),
    "system:kube-scheduler": (
        _WRITES_EVENTS,
        *_elects("kube-scheduler"),
        _rule(_READ, _CORE, "namespaces nodes replicationcontrollers services"),
        _rule(_READ, _CORE, "persistentvolumeclaims persistentvolumes"),
        _rule(("delete", "get", "list", "watch"), _CORE, "pods"),
        _rule(("create",), _CORE, "bindings pods/binding"),
        _rule(("patch", "update"), _CORE, "pods/status"),
        _rule(_READ, ("apps",), "replicasets statefulsets"),
        _rule(_READ, ("policy",), "poddisruptionbudgets"),
        _rule(_READ, ("storage.k8s.io",), "csidrivers csinodes csistoragecapacities"),
        *_CALLS_SERVERS,
    ),
    "system:volume-scheduler": (
        _rule(("get", "list", "patch", "update", "watch"), _CORE, "persistentvolumes"),
        _rule(_READ, ("storage.k8s.io",), "storageclasses"),
        _rule(("get", "list", "patch", "update", "watch"), _CORE, "persistentvolumeclaims"),
    ),
    "system:node-bootstrapper": (
        _rule(("create", "get", "list", "watch"), _CERTIFICATES, "certificatesigningrequests"),
    ),
    "system:node-problem-detector": (
        _rule(("get",), _CORE, "nodes"),
        _rule(("patch",), _CORE, "nodes/status"),
        _WRITES_EVENTS,
    ),
    "system:node-proxier": (
        _rule(("list", "watch"), _CORE, "endpoints services"),
        _rule(_READ, _CORE, "nodes"),
        _WRITES_EVENTS,
        _rule(("list", "watch"), _DISCOVERY, "endpointslices"),
    ),
    "system:persistent-volume-provisioner": (
        _rule(("create", "delete", "get", "list", "watch"), _CORE, "persistentvolumes"),
        _rule(("get", "list", "update", "watch"), _CORE, "persistentvolumeclaims"),
        _rule(_READ, ("storage.k8s.io",), "storageclasses"),
        _rule(("watch",), _CORE, "events"),
        _WRITES_EVENTS,
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        _rule(("create",), _CERTIFICATES, "certificatesigningrequests/nodeclient"),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        _rule(("create",), _CERTIFICATES, "certificatesigningrequests/selfnodeclient"),
    ),
    "system:certificates.k8s.io:kube-apiserver-client-approver": _approver("kube-apiserver-client"),
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": _approver("kube-apiserver-client-kubelet"),
    "system:certificates.k8s.io:kubelet-serving-approver": _approver("kubelet-serving"),
    "system:certificates.k8s.io:legacy-unknown-approver": _approver("legacy-unknown"),
}  # fmt: skip

# role -> what aggregates into it, directly
AGGREGATED = {
    "admin": ("edit", "system:aggregate-to-admin"),
    "edit": ("system:aggregate-to-edit", "system:aggregated-volumesnapshots", "view"),
    "project-member": ("admin", "system:aggregate-to-project-member"),
    "project-reader": ("system:aggregate-to-project-reader", "view"),
    "view": ("system:aggregate-to-view", "system:aggregated-metrics-reader"),
}


def _role_group(role: str) -> str:
    """The group of those who have a role in the tenant's Keystone project."""
    return f"{KEYSTONE_PREFIX}role:{role}"


_GROUPS_BOUND = {
    "cluster-admin": (MASTERS_GROUP, _role_group("admin")),
    "project-member": tuple(map(_role_group, ("_member_", "manager", "member"))),
    "project-reader": (_role_group("reader"),),
    "system:basic-user": (AUTHENTICATED_GROUP,),
    "system:discovery": (AUTHENTICATED_GROUP,),
    "system:monitoring": ("system:monitoring",),
    "system:public-info-viewer": (AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP),
    "system:service-account-issuer-discovery": (SERVICE_ACCOUNTS_GROUP,),
}
_USERS_BOUND = {
    "system:kube-controller-manager": "system:kube-controller-manager",
    "system:kube-dns": "",
    "system:kube-scheduler": "system:kube-scheduler",
    "system:node-proxier": "system:kube-proxy",
    "system:volume-scheduler": "system:kube-scheduler",
}

NAMES: dict[str, frozenset[str]] = {
    CLUSTER_ROLES: frozenset((*_RULES, *AGGREGATED)),
    CLUSTER_ROLE_BINDINGS: frozenset((*_GROUPS_BOUND, *_USERS_BOUND)),
}


def is_default(group: str, resource: str, name: str) -> bool:
    """Whether this is the name of an object that every tenant is shown."""
    return group == RBAC_GROUP and name in NAMES.get(resource, ())


@cache
def rules_of(role: str) -> tuple[PolicyRule, ...]:
    """The rules of a default role; of an aggregated one, all that aggregates into it."""
    if role in _RULES:
        return _RULES[role]
    return tuple(rule for part in AGGREGATED[role] for rule in rules_of(part))


def objects() -> Iterator[tuple[str, Object]]:
    """(resource, object) of all of them."""
    for name in sorted(NAMES[CLUSTER_ROLES]):
        yield CLUSTER_ROLES, _role(name)
    for name, groups in _GROUPS_BOUND.items():
        yield CLUSTER_ROLE_BINDINGS, _binding(name, [_subject("Group", group) for group in groups])
    for name, user in _USERS_BOUND.items():
        account = {"kind": "ServiceAccount", "name": "kube-dns", "namespace": "kube-system"}
        yield CLUSTER_ROLE_BINDINGS, _binding(name, [_subject("User", user) if user else account])


def _metadata(name: str, labels: dict[str, str] | None = None) -> Object:
    return {"name": name, "labels": {**_LABELS, **(labels or {})}, "annotations": {AUTOUPDATE_ANNOTATION: "true"}}


def _role(name: str) -> Object:
    into = [target for target, parts in AGGREGATED.items() if name in parts]
    labels = {_AGGREGATE_LABEL + target: "true" for target in into}
    role: Object = {
        "apiVersion": API_VERSION, "kind": "ClusterRole", "metadata": _metadata(name, labels),
        "rules": [rule.to_dict() for rule in rules_of(name)],
    }  # fmt: skip
    if name in AGGREGATED:
        role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {_AGGREGATE_LABEL + name: "true"}}]}
    return role


def _subject(kind: str, name: str) -> Object:
    return {"kind": kind, "apiGroup": RBAC_GROUP, "name": name}


def _binding(role: str, subjects: list[Object]) -> Object:
    return {
        "apiVersion": API_VERSION, "kind": "ClusterRoleBinding", "metadata": _metadata(role), "subjects": subjects,
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role},
    }  # fmt: skip
