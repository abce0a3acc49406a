"""NodeRestriction: an agent writes about its own node and what runs there, and steers nothing to itself by labels.

What kinds and verbs agents have at all is authz's; here is which objects of those. An agent is our own process on a
machine that a hostile guest may have broken out to: it must not harm more than what runs on it anyway.
"""

from collections.abc import Callable
from typing import Any

from hypernetes.api import scheme, tenancy
from hypernetes.apiserver.admission.request import CREATE, DELETE, UPDATE, Plugin, Request
from hypernetes.apiserver.authz.nodes import node_of

Object = dict[str, Any]

_PODS = scheme.by_name("v1", "pods")
_RESERVED = "node-restriction.kubernetes.io"  # labels that people steer pods by, and agents must not set
# Labels of Kubernetes' own domains that an agent may set, and the domains that are its own.
_LABELS = frozenset({
    "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os",
    "node.kubernetes.io/instance-type", "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
    "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type", "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
})  # fmt: skip
_FILE_SYSTEM_BYTES = "hypernetes.io/file-system-bytes"
_LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")


def validate(request: Request) -> None:
    node = node_of(request.user)
    if node is not None:
        _CHECKS[request.resource.group, request.resource.name](request, node)


def _pod(request: Request, node: str) -> None:
    if request.operation == CREATE:
        raise request.forbidden(f'node "{node}" can not create pods')
    if request.old["spec"].get("nodeName") != node:
        what = "delete pods" if request.operation == DELETE else "update pod status for pods"
        raise request.forbidden(f'node "{node}" can only {what} with spec.nodeName set to itself')
    if request.operation == UPDATE and _labels(request.obj) != _labels(request.old):
        raise request.forbidden(f'node "{node}" cannot update labels through pod status')


def _node(request: Request, node: str) -> None:
    if request.name != node:
        raise request.forbidden(f'node "{node}" is not allowed to modify node "{request.name}"')
    if request.operation == UPDATE:
        before, after = (obj.get("spec", {}).get("taints") or [] for obj in (request.old, request.obj))
        if before != after:
            raise request.forbidden(f'node "{node}" is not allowed to modify taints')
    new, old = _labels(request.obj), _labels(request.old)
    changed = {name for name in new.keys() | old.keys() if new.get(name) != old.get(name)}
    wrong = sorted(name for name in changed if not may_label(name))
    if wrong:
        raise request.forbidden(f'node "{node}" is not allowed to modify labels: {", ".join(wrong)}')


def may_label(name: str) -> bool:
    """Whether an agent may set this label of its node."""
    domain = name.rpartition("/")[0]
    if domain == _RESERVED or domain.endswith(f".{_RESERVED}"):
        return False
    if name in _LABELS or any(domain == own or domain.endswith(f".{own}") for own in _LABEL_DOMAINS):
        return True
    return not any(domain == root or domain.endswith(f".{root}") for root in ("kubernetes.io", "k8s.io"))


def _lease(request: Request, node: str) -> None:
    if request.namespace == "kube-node-lease" and request.name != node:
        raise request.forbidden(f'node "{node}" can only touch the lease of its own name')


def _port(request: Request, node: str) -> None:
    for obj in (request.old, request.obj):
        if obj and obj["spec"].get("nodeName") != node:
            raise request.forbidden(f'node "{node}" can only touch ports with spec.nodeName set to itself')
    if request.operation != DELETE:
        pod = _of_own_pod(request, node, request.obj["spec"].get("podRef") or {})
        if request.obj["spec"].get("macAddress") != tenancy.mac_address(pod["metadata"]["uid"]):
            raise request.forbidden(f'node "{node}" can only give a port the MAC address of its pod')
        if _labels(request.obj) != _labels(pod):  # policies let in by them
            raise request.forbidden(f'node "{node}" can only label a port as its pod is labelled')


def _node_volume(request: Request, node: str) -> None:
    """It says in the status what it has made, and takes its finalizer away once the file is gone."""
    if request.operation != UPDATE or request.old["spec"].get("nodeName") != node:
        raise request.forbidden(f'node "{node}" can only update volumes with spec.nodeName set to itself')
    if request.obj["spec"] != request.old["spec"] or _labels(request.obj) != _labels(request.old):
        raise request.forbidden(f'node "{node}" can only update the status and finalizers of its volumes')


def _attachment(request: Request, node: str) -> None:
    """It says in an annotation how large it has made the file system."""
    own = request.operation == UPDATE and request.old["spec"].get("nodeName") == node
    if not own or _but_size(request.obj) != _but_size(request.old):
        raise request.forbidden(f'node "{node}" can only say of its attachments how large the file system is')


def _but_size(attachment: Object) -> Object:
    metadata = attachment.get("metadata") or {}
    others = {key: text for key, text in (metadata.get("annotations") or {}).items() if key != _FILE_SYSTEM_BYTES}
    kept = {key: metadata.get(key) or None for key in ("labels", "finalizers", "ownerReferences")}
    return {"spec": attachment.get("spec"), "status": attachment.get("status"), "annotations": others, **kept}


def _event(request: Request, node: str) -> None:
    for obj in (request.old, request.obj):
        if not obj:
            continue
        about = obj.get("involvedObject") or {}
        if about.get("kind") == "Node" and about.get("name") == node:
            continue
        _of_own_pod(request, node, about)


def _of_own_pod(request: Request, node: str, reference: Object) -> Object:
    """What is referred to: a pod that is bound to the node."""
    pod = None
    if reference.get("kind") == "Pod":
        pod = request.seen.one(_PODS, reference.get("namespace") or "", reference.get("name") or "")
    if pod is None or pod["spec"].get("nodeName") != node or pod["metadata"]["uid"] != reference.get("uid"):
        raise request.forbidden(f'node "{node}" can only refer to itself and to pods that are bound to it')
    return pod


def _labels(obj: Object) -> dict[str, str]:
    return obj.get("metadata", {}).get("labels") or {}


_CHECKS: dict[tuple[str, str], Callable[[Request, str], None]] = {
    ("", "pods"): _pod,
    ("", "nodes"): _node,
    ("coordination.k8s.io", "leases"): _lease,
    ("hypernetes.io", "ports"): _port,
    ("hypernetes.io", "nodevolumes"): _node_volume,
    ("storage.k8s.io", "volumeattachments"): _attachment,
    ("", "events"): _event,
}
_SUBRESOURCES = ("", "status", "eviction")
PLUGIN = Plugin("NodeRestriction", tuple(_CHECKS), (CREATE, UPDATE, DELETE), _SUBRESOURCES, validate=validate)
