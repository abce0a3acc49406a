"""A pod's spec as a whole, of a pod itself or of a template."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.podrules import (
    affinity,
    containers,
    naming,
    resources,
    security,
    spreads,
    tolerations,
    volumes,
)
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_RESTART = ("Always", "OnFailure", "Never")
_PREEMPTION = ("Never", "PreemptLowerPriority")
_NAMES = ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName")
_MAX_SECONDS = 2**31 - 1
_LISTS = (("tolerations", tolerations.validate), ("topologySpreadConstraints", spreads.validate))


def validate(spec: Object, path: str, pod_name: str | None = None) -> Causes:
    """`pod_name` is None for a template, which may leave open what a pod may not."""
    sound, causes = volumes.validate(spec.get("volumes") or (), pod_name or "", f"{path}.volumes")
    claims, wrong = _claims(spec.get("resourceClaims") or (), f"{path}.resourceClaims")
    causes += wrong
    policy = spec.get("restartPolicy")
    around = containers.Surroundings(
        sound, claims, spec.get("terminationGracePeriodSeconds"), policy or "", spec.get("hostUsers") is not False
    )
    causes += containers.validate(spec, around, path)
    if policy not in _RESTART:
        causes += validation.one_of(policy, _RESTART, f"{path}.restartPolicy")
    if "resources" in spec:
        causes += resources.validate_pod(spec, f"{path}.resources")
    if spec.get("hostNetwork"):
        causes += _host_ports(spec, path, is_pod=pod_name is not None)
    causes += naming.validate(spec, path)
    causes += security.validate_pod(spec, path)
    if "nodeSelector" in spec:
        causes += validation.labels(spec["nodeSelector"], f"{path}.nodeSelector")
    if "affinity" in spec:
        causes += affinity.validate(spec["affinity"], f"{path}.affinity")
    for name, check in _LISTS:
        if name in spec:
            causes += check(spec[name], f"{path}.{name}")
    causes += _gates(spec, path)
    for name in _NAMES:
        if spec.get(name):
            causes += validation.dns_subdomain(spec[name], f"{path}.{name}")
    return causes + _rest(spec, path)


def _rest(spec: Object, path: str) -> Causes:
    causes: Causes = []
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_SECONDS:
        why = f"must be between 1 and {_MAX_SECONDS}, inclusive"
        causes += validation.invalid(f"{path}.activeDeadlineSeconds", deadline, why)
    preemption = spec.get("preemptionPolicy")
    if preemption is not None and preemption not in _PREEMPTION:
        causes += validation.one_of(preemption, _PREEMPTION, f"{path}.preemptionPolicy")
    if spec.get("overhead"):
        causes += resources.validate({"limits": spec["overhead"]}, frozenset(), f"{path}.overhead")
    return causes + security.validate_system(spec, path)


def _claims(claims: Any, path: str) -> tuple[frozenset[str], Causes]:
    """The names of the pod's resource claims, and what is wrong with the claims."""
    names: set[str] = set()
    causes: Causes = []
    for index, claim in enumerate(claims):
        at, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            causes += validation.required(f"{at}.name")
        elif name in names:
            causes += validation.duplicate(f"{at}.name", name)
        else:
            causes += validation.dns_label(name, f"{at}.name")
            names.add(name)
        sources = [part for part in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(part) is not None]
        if len(sources) != 1:
            why = "must specify exactly one of: `resourceClaimName`, `resourceClaimTemplateName`"
            causes += validation.invalid(at, "", why)
        for part in sources:
            causes += validation.dns_subdomain(claim[part], f"{at}.{part}")
    return frozenset(names), causes


def _host_ports(spec: Object, path: str, *, is_pod: bool) -> Causes:
    """On the host's network a container's ports are the host's. A template's get that number when pods are made."""
    causes: Causes = []
    for index, container in enumerate(spec.get("containers") or ()):
        for position, port in enumerate(container.get("ports") or ()):
            host = port.get("hostPort") or 0
            if (is_pod or host) and host != (port.get("containerPort") or 0):
                at = f"{path}.containers[{index}].ports[{position}].hostPort"
                causes += validation.invalid(at, host, "must match `containerPort` when `hostNetwork` is true")
    return causes


def _gates(spec: Object, path: str) -> Causes:
    """What must come true before a pod is ready, or is scheduled."""
    causes: Causes = []
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        at = f"{path}.readinessGates[{index}].conditionType"
        causes += validation.qualified_name(gate.get("conditionType") or "", at)
    names: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        at, name = f"{path}.schedulingGates[{index}]", gate.get("name") or ""
        causes += validation.qualified_name(name, at)
        if name in names:
            causes += validation.duplicate(at, name)
        names.add(name)
    return causes
