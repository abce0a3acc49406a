"""Volumes, claims and what CSI says: one change of a good object, and the causes it is refused with."""

from typing import Any

import pytest

from hypernetes.apiserver.registry import persistentvolumeclaims, persistentvolumes
from tests.unit.apiserver.registry.changes import Found, Object, changed, completed, creating, updating


def cluster(api_version: str, kind: str, **parts: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **parts}


VOLUME = cluster(
    "v1", "PersistentVolume",
    spec={"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}},
)  # fmt: skip
CSI = changed(changed(VOLUME, "spec.hostPath", None), "spec.csi", {"driver": "d.example.com", "volumeHandle": "h"})
CLAIM: Object = {
    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "web"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "s"},
}  # fmt: skip
CLASS = cluster("storage.k8s.io/v1", "StorageClass", provisioner="example.com/p")
ATTRIBUTES = cluster("storage.k8s.io/v1", "VolumeAttributesClass", driverName="d.example.com", parameters={"iops": "1"})
ATTACHMENT = cluster(
    "storage.k8s.io/v1", "VolumeAttachment",
    spec={"attacher": "d.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
)  # fmt: skip
DRIVER = cluster("storage.k8s.io/v1", "CSIDriver", spec={})
NODE = cluster("storage.k8s.io/v1", "CSINode", spec={"drivers": [{"name": "d.example.com", "nodeID": "n"}]})
CAPACITY: Object = {
    "apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity", "metadata": {"name": "c", "namespace": "web"},
    "storageClassName": "s", "capacity": "1Gi",
}  # fmt: skip
SNAPSHOT: Object = {
    "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": "s", "namespace": "web"},
    "spec": {"source": {"persistentVolumeClaimName": "c"}, "volumeSnapshotClassName": "k"},
}  # fmt: skip
CONTENT = cluster(
    "snapshot.storage.k8s.io/v1", "VolumeSnapshotContent",
    spec={
        "driver": "d.example.com", "deletionPolicy": "Delete", "source": {"snapshotHandle": "h"},
        "volumeSnapshotRef": {"namespace": "web", "name": "s"}, "sourceVolumeMode": "Filesystem",
    },
)  # fmt: skip
SNAPSHOT_CLASS = cluster(
    "snapshot.storage.k8s.io/v1", "VolumeSnapshotClass", driver="d.example.com", deletionPolicy="Retain"
)
ALL = [SNAPSHOT, CONTENT, SNAPSHOT_CLASS, VOLUME, CSI, CLAIM, CLASS, ATTRIBUTES, ATTACHMENT, DRIVER, NODE, CAPACITY]
TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}

CREATES: list[tuple[Object, str, Any, Found]] = [
    (SNAPSHOT, "spec.source", {}, [("spec.source", "Invalid")]),
    (SNAPSHOT, "spec.source.volumeSnapshotContentName", "x", [("spec.source", "Invalid")]),
    (SNAPSHOT, "spec.source", {"volumeSnapshotContentName": "x"}, []),
    (SNAPSHOT, "spec.source.persistentVolumeClaimName", "", [("spec.source", "Invalid")]),
    (SNAPSHOT, "spec.volumeSnapshotClassName", "A_b", [("spec.volumeSnapshotClassName", "Invalid")]),
    (CONTENT, "spec.deletionPolicy", "Burn", [("spec.deletionPolicy", "NotSupported")]),
    (CONTENT, "spec.driver", "", [("spec.driver", "Required")]),
    (CONTENT, "spec.source", {"snapshotHandle": "h", "volumeHandle": "v"}, [("spec.source", "Invalid")]),
    (CONTENT, "spec.volumeSnapshotRef", {"name": "s"}, [("spec.volumeSnapshotRef", "Invalid")]),
    (CONTENT, "spec.sourceVolumeMode", "Tape", [("spec.sourceVolumeMode", "NotSupported")]),
    (SNAPSHOT_CLASS, "deletionPolicy", "", [("deletionPolicy", "Required")]),
    (SNAPSHOT_CLASS, "parameters", {"": "x"}, [("parameters", "Invalid")]),
    (VOLUME, "spec.hostPath", None, [("spec", "Required")]),
    (VOLUME, "spec.nfs", {"server": "s", "path": "/p"}, [("spec.nfs", "Forbidden")]),
    (VOLUME, "spec.hostPath.path", "/a/../b", [("spec.hostPath.path", "Invalid")]),
    (VOLUME, "spec.hostPath.type", "Pipe", [("spec.hostPath.type", "NotSupported")]),
    (VOLUME, "spec.capacity", {"storage": "1Gi", "cpu": "1"}, [("spec.capacity", "NotSupported")]),
    (VOLUME, "spec.capacity", {"storage": "0"}, [("spec.capacity[storage]", "Invalid")]),
    (VOLUME, "spec.accessModes", ["ReadWriteOncePod", "ReadWriteMany"], [("spec.accessModes", "Forbidden")]),
    (VOLUME, "spec.persistentVolumeReclaimPolicy", "Burn", [("spec.persistentVolumeReclaimPolicy", "NotSupported")]),
    (VOLUME, "spec", {**VOLUME["spec"], "hostPath": {"path": "/./"}, "persistentVolumeReclaimPolicy": "Recycle"},
     [("spec.persistentVolumeReclaimPolicy", "Forbidden")]),
    (VOLUME, "spec.volumeMode", "Tape", [("spec.volumeMode", "NotSupported")]),
    (VOLUME, "spec.storageClassName", "A_b", [("spec.storageClassName", "Invalid")]),
    (VOLUME, "spec.nodeAffinity", {}, [("spec.nodeAffinity.required", "Required")]),
    (VOLUME, "spec.nodeAffinity", {"required": {"nodeSelectorTerms": [TERM]}}, []),
    (VOLUME, "spec.volumeAttributesClassName", "a", [("spec.csi", "Required")]),
    (CSI, "spec.volumeAttributesClassName", "", [("spec.volumeAttributesClassName", "Required")]),
    (CSI, "spec.csi.driver", "bad_name", [("spec.csi.driver", "Invalid")]),
    (CSI, "spec.csi.nodePublishSecretRef", {"name": "s"}, [("spec.csi.nodePublishSecretRef.namespace", "Required")]),
    (changed(CSI, "spec.csi", None), "spec.iscsi", {"targetPortal": "p", "iqn": "x", "lun": 256},
     [("spec.iscsi.iqn", "Invalid"), ("spec.iscsi.lun", "Invalid")]),
    (changed(CSI, "spec.csi", None), "spec.fc", {"targetWWNs": ["w"]}, [("spec.fc.lun", "Required")]),
    (changed(CSI, "spec.csi", None), "spec.fc", {}, [("spec.fc.targetWWNs", "Required")]),
    (changed(CSI, "spec.csi", None), "spec.local", {"path": "/d"}, [("spec.nodeAffinity", "Required")]),
    (CLAIM, "spec.resources.requests.storage", "0", [("spec.resources[storage]", "Invalid")]),
    (CLAIM, "spec.dataSource", {"kind": "PersistentVolumeClaim"},
     [("spec.dataSource.name", "Required"), ("spec.dataSourceRef.name", "Required")]),
    (CLAIM, "spec.dataSource", {"kind": "ConfigMap", "name": "x"}, []),  # is dropped
    (CLAIM, "spec.dataSourceRef", {"apiGroup": "a.io", "kind": "K", "name": "x", "namespace": "n"}, []),  # as well
    (CLAIM, "spec.storageClassName", "A", [("spec.storageClassName", "Invalid")]),
    (CLASS, "provisioner", "", [("provisioner", "Required")]),
    (CLASS, "reclaimPolicy", "Recycle", [("reclaimPolicy", "NotSupported")]),
    (CLASS, "allowedTopologies", [{"matchLabelExpressions": [{"key": "a"}]}],
     [("allowedTopologies[0].matchLabelExpressions[0].values", "Required")]),
    (CLASS, "parameters", {f"k{n}": "" for n in range(513)}, [("parameters", "TooLong")]),
    (ATTRIBUTES, "parameters", None, [("parameters", "Required")]),
    (ATTACHMENT, "spec.source", {"persistentVolumeName": "v", "inlineVolumeSpec": {}}, [("spec.source", "Forbidden")]),
    (ATTACHMENT, "spec.attacher", "a" * 64, [("spec.attacher", "TooLong")]),
    (DRIVER, "spec.nodeAllocatableUpdatePeriodSeconds", 9, [("spec.nodeAllocatableUpdatePeriodSeconds", "Invalid")]),
    (NODE, "spec.drivers.0.nodeID", "n" * 193, [("spec.drivers[0].nodeID", "Invalid")]),
    (NODE, "spec.drivers", [NODE["spec"]["drivers"][0]] * 2, [("spec.drivers[1].name", "Duplicate")]),
    (CAPACITY, "maximumVolumeSize", "-1", [("maximumVolumeSize", "Invalid")]),
]  # fmt: skip
UPDATES: list[tuple[Object, str, Any, Found]] = [
    (SNAPSHOT, "spec.source.persistentVolumeClaimName", "d", [("spec.source.persistentVolumeClaimName", "Invalid")]),
    (SNAPSHOT, "spec.volumeSnapshotClassName", "other", []),
    (CONTENT, "spec.source.snapshotHandle", "i", [("spec.source.snapshotHandle", "Invalid")]),
    (CONTENT, "spec.driver", "e.example.com", [("spec.driver", "Invalid")]),
    (CONTENT, "spec.deletionPolicy", "Retain", []),
    (CONTENT, "spec.volumeSnapshotRef.uid", "u", []),
    (CONTENT, "spec.volumeSnapshotRef.name", "t", [("spec.volumeSnapshotRef", "Invalid")]),
    (CONTENT, "spec.sourceVolumeMode", "Block", [("spec.sourceVolumeMode", "Invalid")]),
    (VOLUME, "spec.hostPath.path", "/other", [("spec.persistentvolumesource", "Forbidden")]),
    (VOLUME, "spec.capacity.storage", "2Gi", []),
    (VOLUME, "spec.nodeAffinity", {"required": {"nodeSelectorTerms": [TERM]}}, []),
    (changed(VOLUME, "spec.nodeAffinity", {"required": {"nodeSelectorTerms": [TERM]}}), "spec.nodeAffinity", None,
     [("spec.nodeAffinity", "Invalid")]),
    (CSI, "spec.csi.nodeExpandSecretRef", {"name": "s", "namespace": "n"}, []),
    (VOLUME, "spec.volumeMode", "Block", [("volumeMode", "Invalid")]),
    (CLAIM, "spec.volumeName", "v", []),
    (CLAIM, "spec.resources.requests.storage", "2Gi", [("spec", "Forbidden")]),  # it isn't bound
    (CLAIM, "spec.storageClassName", "other", [("spec", "Forbidden")]),
    (changed(CLAIM, "spec.storageClassName", None), "spec.storageClassName", "other", []),
    (CLAIM, "spec.accessModes", ["ReadOnlyMany"], [("spec", "Forbidden")]),
    (CLASS, "parameters", {"a": "b"}, [("parameters", "Invalid")]),
    (CLASS, "allowVolumeExpansion", True, []),
    (CLASS, "volumeBindingMode", "WaitForFirstConsumer", [("volumeBindingMode", "Invalid")]),
    (ATTRIBUTES, "parameters", {"iops": "2"}, [("parameters", "Forbidden")]),
    (ATTACHMENT, "spec.nodeName", "m", [("spec", "Invalid")]),
    (DRIVER, "spec.attachRequired", False, [("spec.attachRequired", "Invalid")]),
    (DRIVER, "spec.storageCapacity", True, []),
    (NODE, "spec.drivers.0.nodeID", "m", [("CSINodeDriver", "Invalid")]),
    (NODE, "spec.drivers.0.allocatable", {"count": 5}, []),
    (CAPACITY, "capacity", "2Gi", []),
    (CAPACITY, "storageClassName", "t", [("storageClassName", "Invalid")]),
]  # fmt: skip


@pytest.mark.parametrize("good", ALL, ids=lambda good: str(good["kind"]))
def test_a_good_object_is_taken_and_may_stay_as_it_is(good: Object) -> None:
    assert creating(good) == []
    assert updating(good) == []


@pytest.mark.parametrize(("obj", "path", "value", "causes"), CREATES)
def test_a_bad_object_is_refused_with_what_is_wrong(obj: Object, path: str, value: Any, causes: Found) -> None:
    assert creating(changed(obj, path, value)) == causes


@pytest.mark.parametrize(("obj", "path", "value", "causes"), UPDATES)
def test_what_is_fixed_stays(obj: Object, path: str, value: Any, causes: Found) -> None:
    assert updating(obj, (path, value)) == causes


def test_a_bound_claim_grows_and_does_not_shrink_below_what_it_has() -> None:
    bound = completed(CLAIM) | {"status": {"phase": "Bound", "capacity": {"storage": "5Gi"}}}
    bound["spec"]["resources"]["requests"]["storage"] = "10Gi"  # still to be expanded

    def resized(amount: str) -> Found:
        new = changed(bound, "spec.resources.requests.storage", amount)
        causes = persistentvolumeclaims.validate_update(new, bound)
        return [(cause["field"], cause["reason"].removeprefix("FieldValue")) for cause in causes]

    assert resized("20Gi") == resized("6Gi") == []
    assert resized("5Gi") == [("spec.resources.requests.storage", "Forbidden")]


def test_the_two_fields_for_a_claims_source_say_the_same() -> None:
    source = {"apiGroup": None, "kind": "PersistentVolumeClaim", "name": "x"}
    assert completed(changed(CLAIM, "spec.dataSource", source))["spec"]["dataSourceRef"] == source
    other = {"apiGroup": "a.io", "kind": "K", "name": "x"}
    assert completed(changed(CLAIM, "spec.dataSourceRef", other))["spec"]["dataSource"] == other
    assert "dataSource" not in completed(changed(CLAIM, "spec.dataSource", other))["spec"]


def test_a_volume_remembers_when_its_phase_changed() -> None:
    old = completed(VOLUME)
    since = old["status"]["lastPhaseTransitionTime"]
    same = changed(old, "status", {"phase": "Pending"})
    persistentvolumes.prepare_status(same, old)
    assert same["status"]["lastPhaseTransitionTime"] == since
    said = changed(old, "status", {"phase": "Bound", "lastPhaseTransitionTime": "2020-01-01T00:00:00Z"})
    persistentvolumes.prepare_status(said, old)
    assert said["status"]["lastPhaseTransitionTime"] == "2020-01-01T00:00:00Z"
    left = changed(old, "status", {"phase": "Bound", "lastPhaseTransitionTime": since})
    persistentvolumes.prepare_status(left, old)
    assert left["status"]["lastPhaseTransitionTime"] > since


def test_what_is_deprecated_warns() -> None:
    assert persistentvolumes.warnings(completed(VOLUME), None) == []
    assert len(persistentvolumes.warnings(changed(VOLUME, "spec.persistentVolumeReclaimPolicy", "Recycle"), None)) == 1
