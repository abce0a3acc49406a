"""Builds Table, PartialObjectMetadata and PartialObjectMetadataList from objects."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any

from hypernetes.api import facts, times
from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError
from hypernetes.apiserver.tables import (
    autoscalers,
    certificates,
    endpoints,
    events,
    ingresses,
    networks,
    nodes,
    plain,
    pods,
    policies,
    services,
    snapshots,
    volumes,
    workloads,
)

Object = dict[str, Any]
Cells = Callable[[Object, datetime], list[Any]]

INCLUDE_NONE, INCLUDE_METADATA, INCLUDE_OBJECT = "None", "Metadata", "Object"  # the values of ?includeObject=

# (kind, its key in facts/columns.json, its cells)
_KINDS: dict[str, tuple[str, Cells]] = {
    "APIService": ("apiService", services.api_service),
    "CertificateSigningRequest": ("certificateSigningRequest", certificates.signing_request),
    "ComponentStatus": ("componentStatus", plain.component_status),
    "ClusterRoleBinding": ("clusterRoleBindings", policies.role_binding),
    "ConfigMap": ("configMap", plain.config_map),
    "ControllerRevision": ("controllerRevision", workloads.controller_revision),
    "CronJob": ("cronJob", workloads.cron_job),
    "CSIDriver": ("csiDriver", volumes.csi_driver),
    "CSINode": ("csiNode", volumes.csi_node),
    "DaemonSet": ("daemonSet", workloads.daemon_set),
    "Deployment": ("deployment", workloads.deployment),
    "Endpoints": ("endpoint", endpoints.endpoints),
    "EndpointSlice": ("endpointSlice", endpoints.endpoint_slice),
    "Event": ("event", events.event),
    "HorizontalPodAutoscaler": ("horizontalPodAutoscaler", autoscalers.autoscaler),
    "Ingress": ("ingress", ingresses.ingress),
    "IngressClass": ("ingressClass", ingresses.ingress_class),
    "IPAddress": ("ipAddress", ingresses.ip_address),
    "Job": ("job", workloads.job),
    "Lease": ("lease", plain.lease),
    "Namespace": ("namespace", plain.phase),
    "Network": ("network", networks.network),
    "NetworkPolicy": ("networkPolicy", ingresses.network_policy),
    "Node": ("node", nodes.node),
    "NodeVolume": ("nodeVolume", networks.node_volume),
    "PersistentVolume": ("persistentVolume", volumes.volume),
    "PersistentVolumeClaim": ("persistentVolumeClaim", volumes.claim),
    "Pod": ("pod", pods.pod),
    "PodDisruptionBudget": ("podDisruptionBudget", policies.disruption_budget),
    "PodTemplate": ("podTemplate", workloads.pod_template),
    "Port": ("port", networks.port),
    "PriorityClass": ("priorityClass", policies.priority_class),
    "ReplicaSet": ("replicaSet", workloads.replica_set),
    "ReplicationController": ("replicationController", workloads.replication_controller),
    "ResourceQuota": ("resourceQuota", policies.resource_quota),
    "RoleBinding": ("roleBindings", policies.role_binding),
    "RuntimeClass": ("runtimeClass", policies.runtime_class),
    "Scale": ("scale", workloads.scale),
    "Secret": ("secret", plain.secret),
    "Service": ("service", services.service),
    "ServiceAccount": ("serviceAccount", plain.name_and_age),
    "ServiceCIDR": ("serviceCIDR", ingresses.service_cidr),
    "StatefulSet": ("statefulSet", workloads.stateful_set),
    "StorageClass": ("storageClass", volumes.storage_class),
    "Tenant": ("tenant", networks.tenant),
    "User": ("user", networks.user),
    "VolumeAttachment": ("volumeAttachment", volumes.attachment),
    "VolumeAttributesClass": ("volumeAttributesClass", volumes.attributes_class),
    "VolumeSnapshot": ("volumeSnapshot", snapshots.snapshot),
    "VolumeSnapshotClass": ("volumeSnapshotClass", snapshots.snapshot_class),
    "VolumeSnapshotContent": ("volumeSnapshotContent", snapshots.content),
}
_OTHER_COLUMNS = [
    {"name": "Name", "type": "string", "format": "name", "priority": 0},
    {"name": "Created At", "type": "date", "format": "", "priority": 0},
]


def table(
    resource: Resource, objects: Iterable[Object], include: str = INCLUDE_METADATA, *, now: datetime | None = None,
    list_metadata: Object | None = None, version: str = "v1", with_columns: bool = True,
) -> Object:  # fmt: skip
    """A Table with one row per object; `list_metadata` is the list's resourceVersion and so on.

    Ages are counted to `now`, by default the clock's. In a watch only the first event's table has columns. `include` is
    the request's ?includeObject; StatusError 400 for a value that it can't have.
    """
    if include not in (INCLUDE_NONE, INCLUDE_METADATA, INCLUDE_OBJECT):
        raise StatusError("BadRequest", f"unrecognized includeObject value: {include!r}")
    moment = now or times.now()
    columns, cells = _of_kind(resource.kind)
    rows = [_row(obj, cells, moment, include, version) for obj in objects]
    return {
        "kind": "Table", "apiVersion": f"meta.k8s.io/{version}", "metadata": list_metadata or {},
        "columnDefinitions": columns if with_columns else [],
        "rows": rows if rows or resource.kind in _KINDS else None,  # as upstream's; its clients take both
    }  # fmt: skip


def partial_metadata(obj: Object, version: str = "v1") -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj.get("metadata", {}),
    }


def partial_metadata_list(objects: Iterable[Object], list_metadata: Object, version: str = "v1") -> Object:
    return {
        "kind": "PartialObjectMetadataList", "apiVersion": f"meta.k8s.io/{version}", "metadata": list_metadata,
        "items": [partial_metadata(obj, version) for obj in objects] or None,
    }  # fmt: skip


def _row(obj: Object, cells: Cells, now: datetime, include: str, version: str) -> Object:
    row: Object = {"cells": cells(obj, now)}
    if obj.get("kind") == "Pod":
        conditions = pods.row_conditions(obj)
        if conditions:
            row["conditions"] = conditions
    if include == INCLUDE_METADATA:
        row["object"] = partial_metadata(obj, version)
    elif include == INCLUDE_OBJECT:
        row["object"] = obj
    else:
        row["object"] = None
    return row


@cache
def _of_kind(kind: str) -> tuple[list[facts.Column], Cells]:
    key, cells = _KINDS.get(kind, ("", plain.name_and_birth))
    columns = facts.columns()[key] if key else _OTHER_COLUMNS
    return [_column(kind, column) for column in columns], cells


def _column(kind: str, column: facts.Column) -> facts.Column:
    form = "name" if column["name"] == "Name" else column["format"]
    return {**column, "format": form, "description": f"{column['name']} of the {kind}."}
