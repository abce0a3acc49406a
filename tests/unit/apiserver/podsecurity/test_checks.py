"""Each control of the Pod Security Standards' document: a value that is allowed, one that isn't, and at which level."""

from typing import Any

import pytest

from hypernetes.apiserver.podsecurity import LevelVersion, violations

Object = dict[str, Any]

HARDENED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
HARDENED_POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def pod(container: Object | None = None, *, security: Object | None = None, **spec: Any) -> Object:
    """A pod that is fine at level restricted but for what is given."""
    own = {"name": "c", **(container or {})}
    own["securityContext"] = {**HARDENED, **own.get("securityContext", {})}
    return {"containers": [own], "securityContext": {**HARDENED_POD, **(security or {})}, **spec}


def context(**values: Any) -> Object:
    return pod({"securityContext": values})


def reasons(spec: Object, level: str, version: str = "latest", annotations: Object | None = None) -> list[str]:
    found = violations(LevelVersion(level, version), {"annotations": annotations or {}}, spec)
    return [violation.reason for violation in found]


BASELINE = [
    ("host network", pod(hostNetwork=True), "host namespaces"),
    ("host pids", pod(hostPID=True), "host namespaces"),
    ("host ipc", pod(hostIPC=True), "host namespaces"),
    ("privileged", context(privileged=True), "privileged"),
    ("an added capability", context(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "non-default capabilities"),
    ("a host path", pod(volumes=[{"name": "h", "hostPath": {"path": "/"}}]), "hostPath volumes"),
    ("a host port", pod({"ports": [{"hostPort": 80}]}), "hostPort"),
    ("AppArmor off", context(appArmorProfile={"type": "Unconfined"}), "forbidden AppArmor profile"),
    ("AppArmor off for the pod", pod(security={"appArmorProfile": {"type": "X"}}), "forbidden AppArmor profile"),
    ("an SELinux type", context(seLinuxOptions={"type": "spc_t"}), "seLinuxOptions"),
    ("an SELinux user", context(seLinuxOptions={"user": "u"}), "seLinuxOptions"),
    ("an SELinux role", pod(security={"seLinuxOptions": {"role": "r"}}), "seLinuxOptions"),
    ("an unmasked /proc", context(procMount="Unmasked"), "procMount"),
    ("seccomp off", context(seccompProfile={"type": "Unconfined"}), "seccompProfile"),
    ("a sysctl", pod(security={"sysctls": [{"name": "kernel.msgmax"}]}), "forbidden sysctls"),
    ("a probe of another host", pod({"livenessProbe": {"httpGet": {"host": "1.2.3.4"}}}), "probe or lifecycle host"),
    (
        "a hook to another host",
        pod({"lifecycle": {"preStop": {"tcpSocket": {"host": "h"}}}}),
        "probe or lifecycle host",
    ),
    ("a Windows host process", context(windowsOptions={"hostProcess": True}), "hostProcess"),
]
RESTRICTED = [
    ("escalation", context(allowPrivilegeEscalation=None), "allowPrivilegeEscalation != false"),
    ("kept capabilities", context(capabilities={}), "unrestricted capabilities"),
    ("a harmless capability", context(capabilities={"drop": ["ALL"], "add": ["CHOWN"]}), "unrestricted capabilities"),
    ("an NFS volume", pod(volumes=[{"name": "n", "nfs": {}}]), "restricted volume types"),
    ("root by flag", context(runAsNonRoot=False), "runAsNonRoot != true"),
    ("root by silence", pod(security={"runAsNonRoot": None}), "runAsNonRoot != true"),
    ("root by number", pod(security={"runAsUser": 0}), "runAsUser=0"),
    ("no seccomp profile", pod(security={"seccompProfile": None}), "seccompProfile"),
]
FINE = [
    ("the hardened pod", pod()),
    ("NET_BIND_SERVICE", context(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})),
    ("a claim", pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])),
    ("a safe sysctl", pod(security={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]})),
    ("root in users of its own", pod(security={"runAsUser": 0, "runAsNonRoot": False}, hostUsers=False)),
    ("an SELinux type of containers", context(seLinuxOptions={"type": "container_t", "level": "s0"})),
    ("a local profile", context(seccompProfile={"type": "Localhost", "localhostProfile": "p"})),
    ("a probe of itself", pod({"livenessProbe": {"httpGet": {"port": 80}}})),
]


@pytest.mark.parametrize(("spec", "reason"), [row[1:] for row in BASELINE], ids=[row[0] for row in BASELINE])
def test_baseline_forbids(spec, reason):
    assert reason in reasons(spec, "baseline")
    assert reasons(spec, "restricted")
    assert not reasons(spec, "privileged")


@pytest.mark.parametrize(("spec", "reason"), [row[1:] for row in RESTRICTED], ids=[row[0] for row in RESTRICTED])
def test_restricted_forbids_what_baseline_allows(spec, reason):
    assert reasons(spec, "restricted") == [reason]
    assert not reasons(spec, "baseline")


@pytest.mark.parametrize("spec", [row[1] for row in FINE], ids=[row[0] for row in FINE])
def test_restricted_allows(spec):
    assert reasons(spec, "restricted") == []


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
def test_every_kind_of_container_is_looked_at(kind):
    spec = {**pod(), kind: [{"name": "i", "securityContext": {"privileged": True}}]}
    assert reasons(spec, "baseline") == ["privileged"]


@pytest.mark.parametrize(
    ("spec", "level", "before", "after"),
    [
        (pod({"livenessProbe": {"httpGet": {"host": "h"}}}), "baseline", "v1.34", "v1.33"),
        (pod(security={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}), "baseline", "v1.31", "v1.32"),
        (pod(security={"sysctls": [{"name": "net.ipv4.tcp_fin_timeout"}]}), "baseline", "v1.28", "v1.29"),
        (context(seLinuxOptions={"type": "container_engine_t"}), "baseline", "v1.30", "v1.31"),
        (pod(context(procMount="Unmasked")["containers"][0], hostUsers=False), "baseline", "v1.34", "v1.35"),
        (context(allowPrivilegeEscalation=True), "restricted", "v1.8", "v1.7"),
        (context(capabilities={}), "restricted", "v1.22", "v1.21"),
        (pod(security={"runAsUser": 0}), "restricted", "v1.23", "v1.22"),
        (pod(security={"seccompProfile": None}), "restricted", "v1.19", "v1.18"),
    ],
)
def test_a_pinned_version_means_its_own_rules(spec, level, before, after):
    """`before` forbids it, `after` doesn't."""
    assert reasons(spec, level, before)
    assert not reasons(spec, level, after)


def test_pods_for_windows_need_no_linux_hardening():
    spec = {"os": {"name": "windows"}, "containers": [{"name": "c"}], "securityContext": {"runAsNonRoot": True}}
    assert reasons(spec, "restricted") == []
    assert reasons(spec, "restricted", "v1.24")


def test_annotations_counted_before_there_were_fields():
    profile = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    assert reasons(pod(), "baseline", "v1.18", profile) == ["seccompProfile"]
    assert reasons(pod(), "baseline", "v1.19", profile) == []
    apparmor = {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}
    assert reasons(pod(), "baseline", "latest", apparmor) == ["forbidden AppArmor profile"]


def test_the_message_names_containers_and_values():
    spec = {"containers": [{"name": "b", "ports": [{"hostPort": 90}, {"hostPort": 80}]}, {"name": "a"}]}
    (found,) = violations(LevelVersion("baseline"), {}, spec)
    assert str(found) == 'hostPort (container "b" uses hostPorts 80, 90)'


def test_what_restricted_includes_is_told_once():
    spec = pod({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, volumes=[{"name": "h", "hostPath": {}}])
    assert reasons(spec, "restricted") == ["unrestricted capabilities", "restricted volume types"]
