"""What a pod's status may come to: addresses that are addresses, ends that stay."""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")


def validate(new: Object, old: Object) -> Causes:
    """`new` and `old` are pods."""
    status, before, spec = new.get("status") or {}, old.get("status") or {}, old["spec"]
    causes: Causes = []
    for index, condition in enumerate(status.get("conditions") or ()):
        if condition.get("type") not in _SYSTEM_CONDITIONS:
            path = f"metadata.conditions[{index}].Type"
            causes += validation.qualified_name(condition.get("type") or "", path)
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != before.get("nominatedNodeName"):
        causes += validation.dns_subdomain(nominated, "status.nominatedNodeName")
    if status.get("qosClass") != before.get("qosClass"):
        causes += validation.invalid("status.qosClass", status.get("qosClass"), "field is immutable")
    policy = spec.get("restartPolicy")
    for name, restarts in (
        ("containerStatuses", policy), ("initContainerStatuses", policy), ("ephemeralContainerStatuses", "Never"),
    ):  # fmt: skip
        causes += _ends_stay(status.get(name) or (), before.get(name) or (), restarts, spec, f"status.{name}")
    causes += _addresses(status.get("podIPs") or (), "status.podIPs")
    return causes + _host_addresses(status)


def _ends_stay(new: Any, old: Any, policy: str | None, spec: Object, path: str) -> Causes:
    """A container that ended for good has ended for good."""
    if policy == "Always":
        return []
    running = {each.get("name") for each in new if (each.get("state") or {}).get("terminated") is None}
    own_policy = {
        container.get("name")
        for part in ("containers", "initContainers")
        for container in spec.get(part) or ()
        if container.get("restartPolicy") == "Always" or container.get("restartPolicyRules")
    }
    causes: Causes = []
    for index, status in enumerate(old):
        end, name = (status.get("state") or {}).get("terminated"), status.get("name")
        if end is None or name not in running or name in own_policy:
            continue
        if end.get("exitCode") and policy == "OnFailure":
            continue
        why = "may not be transitioned to non-terminated state"
        causes += validation.forbidden(f"{path}[{index}].state", why)
    return causes


def _addresses(entries: Any, path: str) -> Causes:
    """At most one address of each family."""
    values = [entry.get("ip") or "" for entry in entries]
    causes: Causes = []
    for index, value in enumerate(values):
        causes += validation.ip(value, f"{path}[{index}]")
    if len(values) > 1 and not causes:
        if len({ipaddress.ip_address(value).version for value in values}) != len(values):
            causes += validation.invalid(path, values, "may specify no more than one IP for each IP family")
        for index, value in enumerate(values):
            if value in values[:index]:
                causes += validation.duplicate(f"{path}[{index}]", value)
    return causes


def _host_addresses(status: Object) -> Causes:
    entries = status.get("hostIPs") or ()
    if not entries:
        return []
    causes: Causes = []
    first = entries[0].get("ip") or ""
    if status.get("hostIP", "") != first:
        causes += validation.invalid("status.hostIPs[0].ip", first, "must be equal to `hostIP`")
    return causes + _addresses(entries, "status.hostIPs")
