"""Cells of ingresses, their classes, network policies, and the objects that stand for service addresses."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of
from hypernetes.apiserver.tables.labels import NONE, first_few, selector

Object = dict[str, Any]


def ingress(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    given = (status.get("loadBalancer") or {}).get("ingress") or ()
    addresses = {entry.get("ip") or entry.get("hostname") or "" for entry in given} - {""}
    return [
        obj["metadata"]["name"], spec.get("ingressClassName", NONE), first_few(hosts, "*"),
        ",".join(sorted(addresses)), "80, 443" if spec.get("tls") else "80", age_of(obj, now),
    ]  # fmt: skip


def ingress_class(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    return [obj["metadata"]["name"], spec.get("controller", ""), _parameters(spec), age_of(obj, now)]


def _parameters(spec: Object) -> str:
    found = spec.get("parameters")
    if not found:
        return NONE
    group = f".{found['apiGroup']}" if "apiGroup" in found else ""
    return f"{found.get('kind', '')}{group}/{found.get('name', '')}"


def network_policy(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], selector(obj.get("spec", {}).get("podSelector")), age_of(obj, now)]


def ip_address(obj: Object, now: datetime) -> list[Any]:
    """Upstream gives an age, though it has no column for it."""
    parent = obj.get("spec", {}).get("parentRef") or {}
    resource = ".".join(filter(None, (parent.get("resource"), parent.get("group"))))
    owner = "/".join(filter(None, (resource, parent.get("namespace"), parent.get("name"))))
    return [obj["metadata"]["name"], owner, age_of(obj, now)]


def service_cidr(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], ",".join(obj.get("spec", {}).get("cidrs") or ()), age_of(obj, now)]
