"""Cells of services."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of
from hypernetes.apiserver.tables.labels import NONE, labels

Object = dict[str, Any]


def service(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    ports = ",".join(_port(port) for port in spec.get("ports") or ())
    return [
        obj["metadata"]["name"], spec.get("type", ""), spec.get("clusterIP") or NONE, _external(obj),
        ports or NONE, age_of(obj, now), labels(spec.get("selector")),
    ]  # fmt: skip


def _port(port: Object) -> str:
    number = f"{port['port']}:{port['nodePort']}" if port.get("nodePort") else str(port["port"])
    return f"{number}/{port.get('protocol', 'TCP')}"


def _external(obj: Object) -> str:
    spec = obj.get("spec", {})
    own = spec.get("externalIPs") or []
    kind = spec.get("type")
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind in ("LoadBalancer", "NetworkProvider"):
        ingress = (obj.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
        given = [entry.get("ip") or entry.get("hostname") or "" for entry in ingress]
        return ",".join([*filter(None, given), *own]) or "<pending>"
    return ",".join(own) or NONE


def api_service(obj: Object, now: datetime) -> list[Any]:
    """Why it isn't available is shown with that it isn't, as upstream."""
    service = obj.get("spec", {}).get("service")
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    conditions = {each["type"]: each for each in obj.get("status", {}).get("conditions") or ()}
    available = conditions.get("Available") or {"status": "Unknown"}
    said = available["status"] + (f" ({available['reason']})" if available["status"] == "False" else "")
    return [obj["metadata"]["name"], where, said, age_of(obj, now)]
