"""One change of a good pod, and the causes that it must be refused with; nothing where it must be taken."""

from typing import Any

import pytest

from tests.unit.apiserver.registry.changes import Found, Object, changed, creating

POD: Object = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "web"},
    "spec": {
        "containers": [{"name": "c", "image": "nginx"}],
        "volumes": [
            {"name": "v", "emptyDir": {}}, {"name": "pvc", "persistentVolumeClaim": {"claimName": "x"}},
            {"name": "img", "image": {"reference": "x"}},
        ],
    },
}  # fmt: skip
C, V = "spec.containers.0", "spec.volumes.0"
AT, VOLUME = "spec.containers[0]", "spec.volumes[0]"
REQUIRED_TERM = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED_TERM = "preferredDuringSchedulingIgnoredDuringExecution"

CONTAINERS = [
    (f"{C}.terminationMessagePolicy", "X", [(f"{AT}.terminationMessagePolicy", "NotSupported")]),
    (f"{C}.image", "nginx ", [(f"{AT}.image", "Invalid")]),
    (f"{C}.restartPolicy", "Sometimes", [(f"{AT}.restartPolicy", "NotSupported")]),
    (f"{C}.restartPolicy", "Never", []),
    (f"{C}.restartPolicyRules", [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}],
     [(f"{AT}.restartPolicy", "Required")]),
    (f"{C}.resizePolicy", [{"resourceName": "cpu", "restartPolicy": "NotRequired"}] * 2,
     [(f"{AT}.resizePolicy[1]", "Duplicate")]),
    (f"{C}.resizePolicy", [{"resourceName": "disk", "restartPolicy": "X"}],
     [(f"{AT}.resizePolicy", "NotSupported")] * 2),
    ("spec.initContainers", [{"name": "i", "image": "x"}] * 2, [("spec.initContainers[1].name", "Duplicate")]),
    ("spec.initContainers", [{"name": "i", "image": "x", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}],
     [("spec.initContainers[0].lifecycle", "Forbidden")]),
    ("spec.initContainers", [
        {"name": "i", "image": "x", "restartPolicy": "Always", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}
    ], []),
    ("spec.ephemeralContainers", [{"name": "e", "image": "x"}], [("spec.ephemeralContainers", "Forbidden")]),
    ("spec.containers", [
        {"name": "a", "image": "x", "ports": [{"containerPort": 1, "hostPort": 9}]},
        {"name": "b", "image": "x", "ports": [{"containerPort": 2, "hostPort": 9}]},
    ], [("spec.containers[1].ports[0].hostPort", "Duplicate")]),
    ("spec.containers", [
        {"name": "a", "image": "x", "ports": [{"containerPort": 1, "hostPort": 9, "hostIP": "10.0.0.1"}]},
        {"name": "b", "image": "x", "ports": [{"containerPort": 2, "hostPort": 9, "protocol": "UDP"}]},
    ], []),
]  # fmt: skip
ENVIRONMENT = [
    ([{"name": "A=B"}], [(f"{AT}.env[0].name", "Invalid")]),
    ([{"name": "a.b-c d"}], []),
    ([{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
     [(f"{AT}.env[0].valueFrom", "Invalid")]),
    ([{"name": "A", "valueFrom": {}}], [(f"{AT}.env[0].valueFrom", "Invalid")]),
    ([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}], []),
    ([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name['a']"}}}],
     [(f"{AT}.env[0].valueFrom.fieldRef.fieldPath", "Invalid")]),
    ([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}],
     [(f"{AT}.env[0].valueFrom.fieldRef.fieldPath", "NotSupported")]),
    ([{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.disk"}}}],
     [(f"{AT}.env[0].valueFrom.resourceFieldRef.resource", "NotSupported")]),
    ([{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "requests.hugepages-2Mi", "divisor": "1Mi"}}}], []),
    ([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a/b"}}}],
     [(f"{AT}.env[0].valueFrom.secretKeyRef.key", "Invalid")]),
    ([{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "env", "key": "A"}}}], []),
    ([{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "pvc", "path": "/env", "key": "1"}}}],
     [(f"{AT}.env[0].valueFrom.fileKeyRef.{part}", "Invalid") for part in ("volumeName", "path", "key")]),
]  # fmt: skip
MOUNTS = [
    ([{"name": "v", "mountPath": "/a"}, {"name": "pvc", "mountPath": "/a"}],
     [(f"{AT}.volumeMounts[1].mountPath", "Invalid")]),
    ([{"name": "v", "mountPath": "/a", "subPath": "a", "subPathExpr": "b"}],
     [(f"{AT}.volumeMounts[0].subPathExpr", "Invalid")]),
    ([{"name": "v", "mountPath": "/a", "subPath": "/a"}], [(f"{AT}.volumeMounts.subPath", "Invalid")]),
    ([{"name": "img", "mountPath": "/a", "subPath": "a"}], [(f"{AT}.volumeMounts[0].subPath", "Invalid")]),
    ([{"name": "v", "mountPath": "/a", "mountPropagation": "X"}],
     [(f"{AT}.volumeMounts.mountPropagation", "NotSupported")]),
    ([{"name": "v", "mountPath": "/a", "readOnly": True, "recursiveReadOnly": "Enabled"}], []),
    ([{"name": "v", "mountPath": "/a", "readOnly": True, "recursiveReadOnly": "Maybe"}],
     [(f"{AT}.volumeMounts.recursiveReadOnly", "NotSupported")]),
]  # fmt: skip
DEVICES = [
    ([{"name": "pvc", "devicePath": "/dev/x"}], []),
    ([{"name": "pvc", "devicePath": "/dev/../x"}], [(f"{AT}.volumeDevices[0].devicePath", "Invalid")]),
    ([{"name": "pvc", "devicePath": "/a"}, {"name": "pvc", "devicePath": "/b"}],
     [(f"{AT}.volumeDevices[1].name", "Invalid")]),
    ([{"name": "none", "devicePath": "/a"}], [(f"{AT}.volumeDevices[0].name", "NotFound")]),
]  # fmt: skip
RESOURCES = [
    ({"limits": {"example.com/gpu": "1"}}, []),
    ({"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "2"}}, [("requests", "Invalid")]),
    ({"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}},
     [("limits[hugepages-2Mi]", "Invalid"), ("requests[hugepages-2Mi]", "Invalid")]),
    ({"requests": {"kubernetes.io/x": "1"}}, []),
    ({"requests": {"a b": "1"}}, [("requests[a b]", "Invalid"), ("requests[a b]", "Invalid")]),
    ({"limits": {"memory": "1Gi"}, "requests": {"memory": "1024Mi", "cpu": "9"}}, []),
]  # fmt: skip
SECURITY = [
    ("spec.securityContext.supplementalGroups", [1, -1], [("spec.securityContext.supplementalGroups[1]", "Invalid")]),
    ("spec.securityContext.appArmorProfile", {"type": "Localhost"},
     [("spec.securityContext.appArmorProfile.localhostProfile", "Required")]),
    ("spec.securityContext.appArmorProfile", {"type": "Unconfined", "localhostProfile": "x"},
     [("spec.securityContext.appArmorProfile.localhostProfile", "Invalid")]),
    (f"{C}.securityContext", {"procMount": "X"}, [(f"{AT}.securityContext.procMount", "NotSupported")]),
    (f"{C}.securityContext", {"privileged": True, "allowPrivilegeEscalation": False},
     [(f"{AT}.securityContext", "Invalid")]),
    (f"{C}.securityContext", {"seccompProfile": {"type": "Localhost"}},
     [(f"{AT}.securityContext.seccompProfile.localhostProfile", "Required")]),
    ("spec.os", {"name": ""}, [("spec.os.name", "Required")]),
    (f"{C}.securityContext", {"windowsOptions": {"runAsUserName": "A\\B\\c", "gmsaCredentialSpec": ""}},
     [(f"{AT}.securityContext.windowsOptions.gmsaCredentialSpec", "Invalid"),
      (f"{AT}.securityContext.windowsOptions.runAsUserName", "Invalid")]),
]  # fmt: skip
SPECS = [
    ("spec.dnsPolicy", "None", [("spec.dnsConfig", "Required")]),
    ("spec.dnsConfig", {"searches": ["_tcp.a.b.", "."], "options": [{"value": "1"}]},
     [("spec.dnsConfig.options[0]", "Required")]),
    ("spec.hostnameOverride", "x" * 65, [("spec.hostnameOverride", "Invalid")] * 1),
    ("spec.overhead", {"cpu": "-1"}, [("spec.overhead.limits[cpu]", "Invalid")]),
    ("spec.resourceClaims", [{"name": "a"}, {"name": "a", "resourceClaimName": "x"}],
     [("spec.resourceClaims[0]", "Invalid"), ("spec.resourceClaims[1].name", "Duplicate")]),
    ("spec.resources", {"limits": {"cpu": "1"}, "requests": {"disk": "1"}},
     [("spec.resources.requests[disk]", "Invalid")]),
    ("spec.topologySpreadConstraints",
     [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}] * 2,
     [("spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}", "Duplicate")]),
    ("spec.topologySpreadConstraints",
     [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "matchLabelKeys": ["a b"]}],
     [("spec.topologySpreadConstraints[0].matchLabelKeys", "Forbidden"),
      ("spec.topologySpreadConstraints[0].matchLabelKeys[0]", "Invalid")]),
    ("spec.preemptionPolicy", "Maybe", [("spec.preemptionPolicy", "NotSupported")]),
    ("metadata.annotations", {"controller.kubernetes.io/pod-deletion-cost": "1e3"},
     [("metadata.annotations[controller.kubernetes.io/pod-deletion-cost]", "Invalid")]),
    ("metadata.annotations", {"container.apparmor.security.beta.kubernetes.io/x": "unconfined"},
     [("metadata.annotations[container.apparmor.security.beta.kubernetes.io/x]", "Invalid")]),
    ("metadata.annotations", {"seccomp.security.alpha.kubernetes.io/pod": "localhost/../x"},
     [("metadata.annotations.seccomp.security.alpha.kubernetes.io/pod", "Invalid")]),
]  # fmt: skip
AFFINITY = [
    ({"nodeAffinity": {PREFERRED_TERM: [{"weight": 1, "preference": {"matchExpressions": [
        {"key": "a", "operator": "In", "values": ["b d"]}]}}]}}, []),
    ({"nodeAffinity": {REQUIRED_TERM: {"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]}]}}},
     [(f"spec.affinity.nodeAffinity.{REQUIRED_TERM}.nodeSelectorTerms[0].matchFields[0].values", "Required")]),
    ({"podAffinity": {REQUIRED_TERM: [{"topologyKey": "k", "namespaces": ["A"]}]}},
     [(f"spec.affinity.podAffinity.{REQUIRED_TERM}[0].namespace", "Invalid")]),
    ({"podAntiAffinity": {PREFERRED_TERM: [{"weight": 5, "podAffinityTerm": {
        "topologyKey": "k", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}}]}},
     [(f"spec.affinity.podAntiAffinity.{PREFERRED_TERM}[0].podAffinityTerm.labelSelector.matchExpressions[0].operator",
       "Invalid")]),
]  # fmt: skip
VOLUMES = [
    ({"gcePersistentDisk": {"pdName": "x", "partition": 300}}, [(f"{VOLUME}.persistentDisk.partition", "Invalid")]),
    ({"fc": {}}, [(f"{VOLUME}.fc.targetWWNs", "Required")]),
    ({"fc": {"targetWWNs": ["a"], "wwids": ["b"], "lun": 256}},
     [(f"{VOLUME}.fc.targetWWNs", "Invalid"), (f"{VOLUME}.fc.lun", "Invalid")]),
    ({"azureDisk": {"diskName": "d", "diskURI": "x", "kind": "Managed", "cachingMode": "X"}},
     [(f"{VOLUME}.azureDisk.cachingMode", "NotSupported"), (f"{VOLUME}.azureDisk.diskURI", "NotSupported")]),
    ({"flexVolume": {"driver": "d", "options": {"x.kubernetes.io/a": "b"}}},
     [(f"{VOLUME}.flexVolume.options[x.kubernetes.io/a]", "Invalid")]),
    ({"flocker": {}}, [(f"{VOLUME}.flocker", "Required")]),
    ({"quobyte": {"registry": "nowhere", "volume": "v"}}, [(f"{VOLUME}.quobyte.registry", "Invalid")]),
    ({"gitRepo": {"repository": "r", "directory": "../x"}}, [(f"{VOLUME}.gitRepo.directory", "Invalid")]),
    ({"hostPath": {"path": "/x", "type": "Pipe"}}, [(f"{VOLUME}.hostPath.type", "NotSupported")]),
    ({"cinder": {"volumeID": "v", "secretRef": {}}}, [(f"{VOLUME}.cinder.secretRef.name", "Required")]),
    ({"cephfs": {"monitors": ["m"]}, "hostPath": {"path": "/"}}, [(f"{VOLUME}.cephFS", "Forbidden")]),
    ({"iscsi": {"targetPortal": "1.2.3.4", "iqn": "iqn.2001-04.com.example:a", "lun": 0, "chapAuthSession": True}},
     [(f"{VOLUME}.iscsi.secretRef", "Required")]),
    ({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 10}}]}},
     [(f"{VOLUME}.projected.sources[0].serviceAccountToken.expirationSeconds", "Invalid"),
      (f"{VOLUME}.projected.sources[0].serviceAccountToken", "Forbidden")]),
    ({"projected": {"sources": [{"clusterTrustBundle": {"path": "a"}}]}},
     [(f"{VOLUME}.projected.sources[0].clusterTrustBundle", "Required")]),
    ({"projected": {"sources": [{"secret": {"name": "a"}, "configMap": {"name": "b"}}]}},
     [(f"{VOLUME}.projected.sources[0]", "Forbidden")]),
    ({"downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
     [(f"{VOLUME}.downwardAPI.resourceFieldRef.containerName", "Required")]),
    ({"ephemeral": {"volumeClaimTemplate": {"spec": {
        "accessModes": ["ReadWriteOncePod", "ReadWriteOnce"], "resources": {"requests": {"storage": "0"}}}}}},
     [(f"{VOLUME}.ephemeral.volumeClaimTemplate.spec.accessModes", "Forbidden"),
      (f"{VOLUME}.ephemeral.volumeClaimTemplate.spec.resources[storage]", "Invalid")]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "causes"), [*CONTAINERS, *SECURITY, *SPECS])
def test_a_part_of_a_pod(path: str, value: Any, causes: Found) -> None:
    assert creating(changed(POD, path, value)) == causes


@pytest.mark.parametrize(("env", "causes"), ENVIRONMENT)
def test_a_variable(env: Any, causes: Found) -> None:
    assert creating(changed(POD, f"{C}.env", env)) == causes


@pytest.mark.parametrize(("mounts", "causes"), MOUNTS)
def test_a_mount(mounts: Any, causes: Found) -> None:
    assert creating(changed(POD, f"{C}.volumeMounts", mounts)) == causes


@pytest.mark.parametrize(("devices", "causes"), DEVICES)
def test_a_device(devices: Any, causes: Found) -> None:
    assert creating(changed(POD, f"{C}.volumeDevices", devices)) == causes


def test_a_volume_is_a_directory_or_a_device() -> None:
    both = changed(POD, f"{C}.volumeDevices", [{"name": "pvc", "devicePath": "/a"}])
    both = changed(both, f"{C}.volumeMounts", [{"name": "pvc", "mountPath": "/a"}])
    assert creating(both) == [
        (f"{AT}.volumeMounts[0].name", "Invalid"), (f"{AT}.volumeMounts[0].mountPath", "Invalid"),
        (f"{AT}.volumeDevices[0].name", "Invalid"), (f"{AT}.volumeDevices[0].devicePath", "Invalid"),
    ]  # fmt: skip


@pytest.mark.parametrize(("resources", "causes"), RESOURCES)
def test_requests_and_limits(resources: Any, causes: Found) -> None:
    expected = [(f"{AT}.resources.{field}", reason) for field, reason in causes]
    assert creating(changed(POD, f"{C}.resources", resources)) == expected


@pytest.mark.parametrize(("affinity", "causes"), AFFINITY)
def test_an_affinity(affinity: Any, causes: Found) -> None:
    assert creating(changed(POD, "spec.affinity", affinity)) == causes


@pytest.mark.parametrize(("source", "causes"), VOLUMES)
def test_the_source_of_a_volume(source: Any, causes: Found) -> None:
    assert creating(changed(POD, V, {"name": "v", **source})) == causes


def test_a_pod_within_its_own_resources() -> None:
    pod = changed(POD, f"{C}.resources", {"requests": {"cpu": "2"}, "limits": {"cpu": "3"}})
    pod = changed(pod, "spec.resources", {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})
    assert creating(pod) == [
        ("spec.resources.requests[cpu]", "Invalid"), ("spec.resources.containers[0][cpu].limits", "Invalid"),
    ]  # fmt: skip


def test_a_windows_pod_has_nothing_of_linux() -> None:
    pod = changed(POD, "spec.os", {"name": "windows"})
    pod = changed(pod, "spec.securityContext", {"runAsUser": 1})
    pod = changed(pod, "spec.hostPID", True)
    pod = changed(pod, f"{C}.securityContext", {"privileged": True})
    fields = ("spec.securityContext.runAsUser", "spec.hostPID", f"{AT}.securityContext.privileged")
    assert creating(pod) == [(field, "Forbidden") for field in fields]


def test_without_users_of_its_own_the_host_shares_nothing() -> None:
    pod = changed(changed(POD, "spec.hostUsers", False), "spec.hostPID", True)
    assert creating(pod) == [("spec.HostPID", "Forbidden")]


def test_a_sleep_is_within_the_grace_period() -> None:
    pod = changed(POD, f"{C}.lifecycle", {"preStop": {"sleep": {"seconds": 31}}})
    assert creating(pod) == [(f"{AT}.lifecycle.preStop.sleep", "Invalid")]
    assert creating(changed(pod, "spec.terminationGracePeriodSeconds", 31)) == []


def test_a_claim_that_is_made_for_the_pod_is_no_other_volume() -> None:
    ephemeral = {"volumeClaimTemplate": {"spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}  # fmt: skip
    volumes = [{"name": "e", "ephemeral": ephemeral}, {"name": "v", "persistentVolumeClaim": {"claimName": "p-e"}}]
    assert creating(changed(POD, "spec.volumes", volumes)) == [
        ("spec.volumes[1].persistentVolumeClaim.claimName", "Invalid")
    ]


def test_a_mount_of_a_volume_that_is_wrong_has_no_volume() -> None:
    pod = changed(changed(POD, V, {"name": "v", "nfs": {"server": "s", "path": "x"}}), f"{C}.volumeMounts", [
        {"name": "v", "mountPath": "/a"}])  # fmt: skip
    assert creating(pod) == [(f"{VOLUME}.nfs.path", "Invalid"), (f"{AT}.volumeMounts[0].name", "NotFound")]
