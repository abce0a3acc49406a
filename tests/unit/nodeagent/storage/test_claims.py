"""What a pod's volumes are, by its spec, its claims and their PersistentVolumes."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from hypernetes.nodeagent.storage import claims
from hypernetes.nodeagent.storage.claims import CINDER, Disk, Share
from hypernetes.nodeagent.volumes import VolumeError


def pod(volume: dict[str, Any], container: dict[str, Any] | None = None) -> Pod:
    spec = {"containers": [{"name": "c", **(container or {})}], "volumes": [{"name": "data", **volume}]}
    return Pod.from_dict({"metadata": {"name": "p", "uid": "u"}, "spec": spec})


def claim(**changes: Any) -> PersistentVolumeClaim:
    made = {"metadata": {"name": "c", "uid": "cu"}, "spec": {"volumeName": "v"}, "status": {"phase": "Bound"}}
    return PersistentVolumeClaim.from_dict({**made, **changes})


def volume(**spec: Any) -> PersistentVolume:
    made = {"claimRef": {"uid": "cu"}, "csi": {"driver": "d", "volumeHandle": "h"}, "accessModes": ["ReadWriteOnce"]}
    return PersistentVolume.from_dict({"metadata": {"name": "v"}, "spec": {**made, **spec}})


OF_CLAIM = {"persistentVolumeClaim": {"claimName": "c"}}
OWN = {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}


def test_a_claim_leads_to_the_volume_of_a_driver() -> None:
    found = claims.of_volume(pod(OF_CLAIM).spec.volumes[0], claim(), volume(mountOptions=["noatime"]))
    assert found == Disk("data", "d", "h", "v", mount_options=("noatime",), persistent_volume="v")


@pytest.mark.parametrize(
    ("given", "spec", "read_only"),
    [
        ({"claimName": "c"}, {}, False),
        ({"claimName": "c", "readOnly": True}, {}, True),
        ({"claimName": "c"}, {"accessModes": ["ReadOnlyMany"]}, True),
        ({"claimName": "c"}, {"accessModes": ["ReadOnlyMany", "ReadWriteOnce"]}, False),
        ({"claimName": "c"}, {"csi": {"driver": "d", "volumeHandle": "h", "readOnly": True}}, True),
    ],
)
def test_whoever_says_read_only_is_heard(given: dict[str, Any], spec: dict[str, Any], read_only: bool) -> None:
    found = claims.of_volume(pod({"persistentVolumeClaim": given}).spec.volumes[0], claim(), volume(**spec))
    assert found.read_only is read_only


def test_a_volume_that_is_anothers_claims_is_not_taken() -> None:
    with pytest.raises(VolumeError, match="not bound to the claim"):
        claims.of_volume(pod(OF_CLAIM).spec.volumes[0], claim(), volume(claimRef={"uid": "another"}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": {"phase": "Pending"}}, "not bound"),
        ({"spec": {}}, "not bound"),
        ({"metadata": {"name": "c", "deletionTimestamp": "2026-01-01T00:00:00Z"}}, "being deleted"),
    ],
)
def test_a_claim_that_is_not_ready_is_waited_for(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(VolumeError, match=why):
        claims.check_claim(pod(OF_CLAIM), pod(OF_CLAIM).spec.volumes[0], claim(**changes))


def test_a_pod_s_own_claim_must_be_its_own() -> None:
    own = pod(OWN)
    assert claims.claim_name(own, own.spec.volumes[0]) == "p-data"
    with pytest.raises(VolumeError, match="not created for the pod"):
        claims.check_claim(own, own.spec.volumes[0], claim())
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
    found = claim(metadata={"name": "p-data", "uid": "cu", "ownerReferences": [owner]})
    assert claims.check_claim(own, own.spec.volumes[0], found) == "v"


def test_a_share_is_mounted_from_its_server() -> None:
    source = {"server": "10.0.0.9", "path": "/export"}
    assert claims.in_line(pod({"nfs": source}).spec.volumes[0]) == Share("data", "10.0.0.9", "/export")
    found = claims.of_volume(
        pod(OF_CLAIM).spec.volumes[0],
        claim(),
        volume(csi=None, nfs={**source, "readOnly": True}, mountOptions=["hard"]),
    )
    assert found == Share("data", "10.0.0.9", "/export", True, ("hard",))


def test_what_is_named_without_a_claim_is_of_cinder() -> None:
    found = claims.in_line(pod({"cinder": {"volumeID": "x", "fsType": "xfs", "readOnly": True}}).spec.volumes[0])
    assert found == Disk("data", CINDER, "x", "x", True, file_system="xfs")


def test_a_kind_that_no_node_has_is_named() -> None:
    with pytest.raises(VolumeError, match="use csi or nfs"):
        claims.of_volume(pod(OF_CLAIM).spec.volumes[0], claim(), volume(csi=None, hostPath={"path": "/"}))


@pytest.mark.parametrize(
    ("block", "container", "why"),
    [
        (True, {"volumeMounts": [{"name": "data", "mountPath": "/d"}]}, "specified in volumeMounts"),
        (False, {"volumeDevices": [{"name": "data", "devicePath": "/dev/d"}]}, "specified in volumeDevices"),
        (True, {"volumeDevices": [{"name": "data", "devicePath": "/dev/d"}]}, None),
        (False, {"volumeMounts": [{"name": "data", "mountPath": "/d"}]}, None),
    ],
)
def test_a_device_is_used_as_one(block: bool, container: dict[str, Any], why: str | None) -> None:
    disks = [Disk("data", "d", "h", "v", block=block)]
    if why is None:
        claims.check_uses(pod(OF_CLAIM, container), iter(disks))
    else:
        with pytest.raises(VolumeError, match=why):
            claims.check_uses(pod(OF_CLAIM, container), iter(disks))
