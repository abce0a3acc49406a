"""Upstream's defaults that no schema says, kind by kind. Each function completes a decoded object in place."""

import base64
from collections.abc import Callable
from typing import Any

from hypernetes.apiserver.schema import pod_defaults, policy_defaults, volume_defaults, workload_defaults

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


_DEFAULTS: dict[tuple[str, str], Defaults] = {
    ("v1", "Namespace"): _namespace,
    ("v1", "Node"): _node,
    ("v1", "Pod"): pod_defaults.pod,
    ("v1", "Secret"): _secret,
    ("v1", "Service"): _service,
    ("v1", "Endpoints"): _endpoints,
    ("v1", "LimitRange"): policy_defaults.limit_range,
    ("v1", "PersistentVolume"): volume_defaults.persistent_volume,
    ("v1", "PersistentVolumeClaim"): volume_defaults.persistent_volume_claim,
    ("v1", "PodTemplate"): workload_defaults.pod_template,
    ("v1", "ReplicationController"): workload_defaults.replication_controller,
    ("apps/v1", "DaemonSet"): workload_defaults.daemon_set,
    ("apps/v1", "Deployment"): workload_defaults.deployment,
    ("apps/v1", "ReplicaSet"): workload_defaults.replica_set,
    ("apps/v1", "StatefulSet"): workload_defaults.stateful_set,
    ("autoscaling/v1", "HorizontalPodAutoscaler"): policy_defaults.autoscaler_v1,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): policy_defaults.autoscaler_v2,
    ("batch/v1", "CronJob"): workload_defaults.cron_job,
    ("batch/v1", "Job"): workload_defaults.job,
    ("discovery.k8s.io/v1", "EndpointSlice"): _endpoint_slice,
    ("networking.k8s.io/v1", "IngressClass"): policy_defaults.ingress_class,
    ("networking.k8s.io/v1", "NetworkPolicy"): policy_defaults.network_policy,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): policy_defaults.role_binding,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): policy_defaults.role_binding,
    ("scheduling.k8s.io/v1", "PriorityClass"): policy_defaults.priority_class,
    ("storage.k8s.io/v1", "CSIDriver"): volume_defaults.csi_driver,
    ("storage.k8s.io/v1", "StorageClass"): volume_defaults.storage_class,
}
