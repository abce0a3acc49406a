"""Nodes: the provider's machines, and what a tenant sees of them."""

from collections.abc import Mapping
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import resourcenames
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

# Labels of a node that say nothing of other tenants.
_SHOWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region", "node.kubernetes.io/instance-type",
    }
)  # fmt: skip
_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_MAX_RANGES = 2  # of pods' addresses: one of each family
_SHOWN_NODE_INFO = ("architecture", "operatingSystem", "kubeletVersion")


def shown_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Those that a tenant sees, and may select by."""
    return {key: value for key, value in labels.items() if key in _SHOWN_LABELS}


def project(node: Object) -> Object:
    """A node as a tenant sees it: its name, a few labels, whether it is ready and takes pods.

    An allow-list: no addresses, images, capacity, heartbeat times or anything else that would tell of other tenants.
    """
    metadata, spec, status = node["metadata"], node.get("spec", {}), node.get("status", {})
    labels = shown_labels(metadata.get("labels") or {})
    ready = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    info = status.get("nodeInfo") or {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": metadata["name"],
            "uid": metadata["uid"],
            "creationTimestamp": metadata["creationTimestamp"],
            **({"labels": labels} if labels else {}),
        },
        "spec": {"unschedulable": True} if spec.get("unschedulable") else {},
        "status": {
            **({"conditions": [_shown(ready)]} if ready else {}),
            "nodeInfo": {key: info[key] for key in _SHOWN_NODE_INFO if key in info},
        },
    }


def _shown(condition: Object) -> Object:
    return {
        "type": condition["type"],
        "status": condition["status"],
        "lastTransitionTime": condition.get("lastTransitionTime"),
    }


def prepare_create(node: Object) -> None:
    node["spec"].pop("configSource", None)  # no node reads its configuration from there any more


def prepare_update(new: Object, old: Object) -> None:
    new["spec"].pop("configSource", None)


def validate(node: Object) -> Causes:
    spec, status = node["spec"], node.get("status") or {}
    causes = _taints(spec.get("taints") or (), "metadata.taints")
    for part in ("capacity", "allocatable"):
        for name, amount in (status.get(part) or {}).items():
            causes += resourcenames.amount(name, amount, f"status.{part}.{name}")
    ranges = spec.get("podCIDRs") or []
    for index, cidr in enumerate(ranges):
        causes += validation.cidr(cidr, f"spec.podCIDRs[{index}]")
    if len(ranges) > _MAX_RANGES:
        causes += validation.invalid("spec.podCIDRs", ranges, "may specify no more than one CIDR for each IP family")
    return causes


def _taints(taints: Any, path: str) -> Causes:
    causes: Causes = []
    seen: set[tuple[Any, Any]] = set()
    for index, taint in enumerate(taints):
        at, effect = f"{path}[{index}]", taint.get("effect") or ""
        causes += validation.qualified_name(taint.get("key") or "", f"{at}.key")
        causes += validation.label_value(taint.get("value") or "", f"{at}.value")
        causes += validation.one_of(effect, _EFFECTS, f"{at}.effect")
        pair = (taint.get("key"), effect)
        if pair in seen:
            causes += validation.duplicate(at, f"{pair[0]}:{pair[1]}")
        seen.add(pair)
    return causes


def validate_update(new: Object, old: Object) -> Causes:
    spec, before = new["spec"], old["spec"]
    causes: Causes = []
    if before.get("podCIDRs") and spec.get("podCIDRs") != before["podCIDRs"]:
        why = 'node updates may not change podCIDR except from "" to valid'
        causes += validation.forbidden("spec.podCIDRs", why)
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        why = 'node updates may not change providerID except from "" to valid'
        causes += validation.forbidden("spec.providerID", why)
    if spec.get("externalID") != before.get("externalID"):
        why = "node updates may only change labels, taints, or capacity"
        causes += validation.forbidden("spec", why)
    return causes


def validate_status(new: Object, old: Object) -> Causes:
    causes = validate(new)
    seen: set[tuple[Any, Any]] = set()
    for index, address in enumerate((new.get("status") or {}).get("addresses") or ()):
        pair = (address.get("type"), address.get("address"))
        if pair in seen:
            causes += validation.duplicate(f"status.addresses[{index}]", pair[1])
        seen.add(pair)
    return causes


def warnings(node: Object, old: Object | None) -> list[str]:
    if node["spec"].get("externalID"):
        return ["spec.externalID: this field is deprecated, and is unused"]
    return []


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    status_on_create=True,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
)
