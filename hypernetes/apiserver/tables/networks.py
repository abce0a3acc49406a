"""Cells of our own kinds: tenants, users, networks, ports and volumes of nodes."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of
from hypernetes.apiserver.tables.labels import NONE, labels

Object = dict[str, Any]


def tenant(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status", {})
    stored = f"{status.get('storedBytes', 0) / 1024**2:.1f}Mi"
    return [
        obj["metadata"]["name"], status.get("phase", ""), status.get("pods", 0), stored, age_of(obj, now),
        status.get("namespaces", 0), status.get("objects", 0),
    ]  # fmt: skip


def user(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    groups = ",".join(spec.get("groups") or ()) or NONE
    return [obj["metadata"]["name"], groups, bool(spec.get("disabled")), age_of(obj, now), spec.get("displayName", "")]


def network(obj: Object, now: datetime) -> list[Any]:
    """The columns of the original's user guide, and then some."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    subnets = spec.get("subnets") or status.get("subnets") or {}
    shown = ",".join(subnet.get("cidr", "") for _, subnet in sorted(subnets.items()))
    return [
        obj["metadata"]["name"], shown or NONE, spec.get("providerNetworkID") or "",
        labels(obj["metadata"].get("labels")), status.get("phase", ""), age_of(obj, now), status.get("message") or NONE,
    ]  # fmt: skip


def port(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    owner = spec.get("podRef") or {}
    pod = "/".join(filter(None, (owner.get("namespace"), owner.get("name"))))
    return [
        obj["metadata"]["name"], spec.get("network", ""), spec.get("address", ""), pod or NONE,
        spec.get("nodeName") or NONE, age_of(obj, now),
    ]  # fmt: skip


def node_volume(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"]["name"], spec.get("nodeName", ""), status.get("size") or spec.get("size", ""),
        bool(spec.get("snapshot")), status.get("phase", ""), age_of(obj, now),
    ]  # fmt: skip
