"""Cells of our own kinds: networks and ports."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of
from hypernetes.apiserver.tables.labels import NONE

Object = dict[str, Any]


def network(obj: Object, now: datetime) -> list[Any]:
    subnets = obj.get("spec", {}).get("subnets") or {}
    shown = ",".join(subnet.get("cidr", "") for _, subnet in sorted(subnets.items()))
    phase = obj.get("status", {}).get("phase", "")
    return [obj["metadata"]["name"], shown or NONE, phase, age_of(obj, now)]


def port(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    owner = spec.get("podRef") or {}
    pod = "/".join(filter(None, (owner.get("namespace"), owner.get("name"))))
    return [
        obj["metadata"]["name"], spec.get("network", ""), spec.get("address", ""), pod or NONE,
        spec.get("nodeName") or NONE, age_of(obj, now),
    ]  # fmt: skip
