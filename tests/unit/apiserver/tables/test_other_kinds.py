"""Rows of storage, networking and policy: what of their state shows."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hypernetes.api import scheme
from hypernetes.apiserver import tables

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BORN = "2029-12-31T23:55:00Z"


def cells(api_version: str, kind: str, metadata: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    obj = {"kind": kind, "metadata": {"name": "x", "creationTimestamp": BORN, **(metadata or {})}, **parts}
    table = tables.table(scheme.by_kind(api_version, kind), [obj], now=NOW)
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=False))


def shown(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def test_a_volume_tells_its_claim_and_modes_in_short() -> None:
    spec = {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "storageClassName": "s",
        "claimRef": {"namespace": "n", "name": "c"}, "persistentVolumeReclaimPolicy": "Delete", "volumeMode": "Block",
    }  # fmt: skip
    row = cells("v1", "PersistentVolume", spec=spec, status={"phase": "Bound", "reason": "R"})
    assert shown(row, "Capacity", "Access Modes", "Status", "Claim") == ("1Gi", "RWO,RWX", "Bound", "n/c")
    assert shown(row, "StorageClass", "VolumeAttributesClass", "Reason", "VolumeMode") == ("s", "<unset>", "R", "Block")
    ending = cells("v1", "PersistentVolume", {"deletionTimestamp": BORN}, spec=spec, status={"phase": "Bound"})
    assert ending["Status"] == "Terminating"


def test_a_claim_has_a_size_once_it_has_a_volume() -> None:
    status = {"phase": "Bound", "capacity": {"storage": "5Gi"}, "accessModes": ["ReadOnlyMany"]}
    old_class = {"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}}
    row = cells("v1", "PersistentVolumeClaim", old_class, spec={"volumeName": "v"}, status=status)
    assert shown(row, "Volume", "Capacity", "Access Modes", "StorageClass") == ("v", "5Gi", "ROX", "old")
    row = cells("v1", "PersistentVolumeClaim", spec={"storageClassName": "s"}, status={**status, "phase": "Pending"})
    assert shown(row, "Volume", "Capacity", "Access Modes", "StorageClass") == ("", "", "", "s")


def test_the_default_class_says_so() -> None:
    default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    row = cells("storage.k8s.io/v1", "StorageClass", default, provisioner="p", allowVolumeExpansion=True)
    assert shown(row, "Name", "AllowVolumeExpansion", "ReclaimPolicy") == ("x (default)", True, "Delete")


def test_an_ingress_tells_its_hosts_and_addresses() -> None:
    rules = [{"host": f"{name}.example.com"} for name in "abcd"]
    status = {"loadBalancer": {"ingress": [{"hostname": "z"}, {"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}]}}
    row = cells("networking.k8s.io/v1", "Ingress", spec={"rules": rules, "tls": [{}]}, status=status)
    assert row["Hosts"] == "a.example.com,b.example.com,c.example.com + 1 more..."
    assert shown(row, "Class", "Address", "Ports") == ("<none>", "1.2.3.4,z", "80, 443")


def test_an_ingress_class_tells_its_parameters() -> None:
    spec = {"controller": "c", "parameters": {"apiGroup": "a.io", "kind": "K", "name": "n"}}
    assert cells("networking.k8s.io/v1", "IngressClass", spec=spec)["Parameters"] == "K.a.io/n"


def test_a_binding_sorts_its_subjects_by_kind() -> None:
    subjects = [
        {"kind": "User", "name": "anna"}, {"kind": "User", "name": "otto"}, {"kind": "Group", "name": "g"},
        {"kind": "ServiceAccount", "namespace": "n", "name": "a"},
    ]  # fmt: skip
    role = {"kind": "Role", "name": "r"}
    row = cells("rbac.authorization.k8s.io/v1", "RoleBinding", roleRef=role, subjects=subjects)
    assert shown(row, "Role", "Users", "Groups", "ServiceAccounts") == ("Role/r", "anna, otto", "g", "n/a")


def test_a_quota_tells_what_is_used_of_what() -> None:
    status = {"hard": {"pods": "5", "limits.cpu": "2", "cpu": "1"}, "used": {"pods": "3"}}
    row = cells("v1", "ResourceQuota", status=status)
    assert shown(row, "Request", "Limit") == ("cpu: 0/1, pods: 3/5", "limits.cpu: 0/2")


def test_an_autoscaler_tells_where_it_is_and_where_it_wants_to_be() -> None:
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    metrics = [
        {"type": "Resource", "resource": resource},
        {"type": "Object", "object": {"target": {"type": "AverageValue", "averageValue": "10"}}},
        {"type": "External", "external": {"target": {"type": "Value", "value": "30"}}},
    ]
    current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 50}}}]
    row = cells(
        "autoscaling/v2", "HorizontalPodAutoscaler",
        spec={"metrics": metrics, "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}},
        status={"currentMetrics": current, "currentReplicas": 2},
    )  # fmt: skip
    assert row["Targets"] == "cpu: 50%/80%, <unknown>/10 (avg) + 1 more..."
    assert shown(row, "Reference", "MinPods", "MaxPods", "Replicas") == ("Deployment/d", "<unset>", 3, 2)


@pytest.mark.parametrize(
    ("kinds", "certificate", "state"),
    [
        ([], "", "Pending"), (["Approved"], "", "Approved"), (["Approved"], "x", "Approved,Issued"),
        (["Denied"], "", "Denied"), (["Approved", "Failed"], "", "Approved,Failed"),
    ],
)  # fmt: skip
def test_a_signing_request_tells_how_far_it_is(kinds: list[str], certificate: str, state: str) -> None:
    status = {"conditions": [{"type": kind} for kind in kinds], "certificate": certificate}
    row = cells(
        "certificates.k8s.io/v1", "CertificateSigningRequest",
        spec={"username": "anna", "expirationSeconds": 7200}, status=status,
    )  # fmt: skip
    assert shown(row, "Condition", "Requestor", "RequestedDuration", "SignerName") == (state, "anna", "120m", "<none>")


def test_what_drivers_say_of_themselves_and_of_nodes() -> None:
    spec = {"attachRequired": False, "tokenRequests": [{"audience": "a"}, {"audience": "b"}]}
    row = cells("storage.k8s.io/v1", "CSIDriver", spec=spec)
    assert shown(row, "AttachRequired", "TokenRequests", "Modes") == (False, "a,b", "<none>")
    assert cells("storage.k8s.io/v1", "CSINode", spec={"drivers": [{}, {}]})["Drivers"] == 2
    spec = {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    row = cells("storage.k8s.io/v1", "VolumeAttachment", spec=spec, status={"attached": True})
    assert shown(row, "Attacher", "PV", "Node", "Attached") == ("d", "v", "n", True)


def test_kinds_without_columns_tell_when_they_were_made() -> None:
    assert cells("rbac.authorization.k8s.io/v1", "Role") == {"Name": "x", "Created At": BORN}
    empty = tables.table(scheme.by_kind("rbac.authorization.k8s.io/v1", "Role"), [], now=NOW)
    assert empty["rows"] is None


def test_a_snapshot_tells_of_what_it_is_and_whether_it_is_ready() -> None:
    group = "snapshot.storage.k8s.io/v1"
    spec = {"source": {"persistentVolumeClaimName": "data"}, "volumeSnapshotClassName": "k"}
    status = {
        "readyToUse": True, "restoreSize": "1Gi", "boundVolumeSnapshotContentName": "c", "creationTime": BORN,
    }  # fmt: skip
    row = cells(group, "VolumeSnapshot", spec=spec, status=status)
    assert shown(row, "ReadyToUse", "SourcePVC", "RestoreSize", "SnapshotClass") == (True, "data", "1Gi", "k")
    assert shown(row, "SnapshotContent", "CreationTime", "Age") == ("c", "5m", "5m")
    new = cells(group, "VolumeSnapshot", spec={"source": {"volumeSnapshotContentName": "c"}})
    assert shown(new, "ReadyToUse", "SourceSnapshotContent", "CreationTime") == (None, "c", None)
    content = {
        "driver": "d", "deletionPolicy": "Delete", "source": {"volumeHandle": "v"},
        "volumeSnapshotRef": {"namespace": "n", "name": "s"},
    }  # fmt: skip
    row = cells(group, "VolumeSnapshotContent", spec=content, status={"readyToUse": False, "restoreSize": 5})
    assert shown(row, "ReadyToUse", "RestoreSize", "Driver", "VolumeSnapshot", "VolumeSnapshotNamespace") == (
        False, 5, "d", "s", "n",
    )  # fmt: skip
    row = cells(group, "VolumeSnapshotClass", driver="d", deletionPolicy="Retain")
    assert shown(row, "Driver", "DeletionPolicy") == ("d", "Retain")
