"""Upstream's defaults that no schema says, kind by kind. Each function completes a decoded object in place."""

import base64
from collections.abc import Callable
from typing import Any

from hypernetes.apiserver.schema import pod_defaults

Defaults = Callable[[dict[str, Any]], None]

_CLIENT_AFFINITY_SECONDS = 10800


def for_kind(api_version: str, kind: str) -> Defaults | None:
    return _DEFAULTS.get((api_version, kind))


def _namespace(obj: dict[str, Any]) -> None:
    name = obj["metadata"].get("name")
    if name:
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    obj["status"].setdefault("phase", "Active")


def _node(obj: dict[str, Any]) -> None:
    spec, status = obj["spec"], obj["status"]
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])


def _secret(obj: dict[str, Any]) -> None:
    plain = obj.pop("stringData", None)
    if plain:
        data = obj.setdefault("data", {})
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in plain.items()})
    obj.setdefault("type", "Opaque")


def _service(obj: dict[str, Any]) -> None:
    spec = obj["spec"]
    kind = spec.setdefault("type", "ClusterIP")
    if spec.setdefault("sessionAffinity", "None") == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client.setdefault("timeoutSeconds", _CLIENT_AFFINITY_SECONDS)
    elif spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    for port in spec.get("ports") or ():
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]
    balanced = kind in ("NodePort", "LoadBalancer")
    if balanced or (kind == "ClusterIP" and spec.get("externalIPs")):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if balanced or kind == "ClusterIP":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _endpoints(obj: dict[str, Any]) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _endpoint_slice(obj: dict[str, Any]) -> None:
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _deployment(obj: dict[str, Any]) -> None:
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec["strategy"]
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    pod_defaults.template(spec["template"])


def _replica_set(obj: dict[str, Any]) -> None:
    obj["spec"].setdefault("replicas", 1)
    pod_defaults.template(obj["spec"]["template"])


def _replication_controller(obj: dict[str, Any]) -> None:
    spec = obj["spec"]
    template = spec.get("template")
    if template is not None:
        labels = (template.get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)
        pod_defaults.template(template)
    spec.setdefault("replicas", 1)


_DEFAULTS: dict[tuple[str, str], Defaults] = {
    ("v1", "Namespace"): _namespace,
    ("v1", "Node"): _node,
    ("v1", "Pod"): pod_defaults.pod,
    ("v1", "Secret"): _secret,
    ("v1", "Service"): _service,
    ("v1", "Endpoints"): _endpoints,
    ("v1", "ReplicationController"): _replication_controller,
    ("apps/v1", "Deployment"): _deployment,
    ("apps/v1", "ReplicaSet"): _replica_set,
    ("discovery.k8s.io/v1", "EndpointSlice"): _endpoint_slice,
}
