"""The downward API: what a container may learn of its own pod, by environment variable or file."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hypernetes.api import quantity
from hypernetes.api.models.core_v1 import Container, Pod, ResourceFieldSelector

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]\Z")


class FieldError(Exception):
    """A fieldRef or resourceFieldRef that names nothing."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a pod's spec doesn't say of itself."""

    pod_ip: str
    host_ip: str
    machine_cpu_millis: int  # stands in for absent limits, as the node's allocatable does upstream
    machine_memory_bytes: int


def field_value(pod: Pod, path: str, facts: PodFacts) -> str:
    """The text of a fieldRef; FieldError for a path that isn't supported."""
    meta, spec = pod.metadata, pod.spec
    match path:
        case "metadata.name":
            return meta.name or ""
        case "metadata.namespace":
            return meta.namespace or ""
        case "metadata.uid":
            return meta.uid or ""
        case "metadata.labels":
            return format_map(meta.labels)
        case "metadata.annotations":
            return format_map(meta.annotations)
        case "spec.nodeName":
            return spec.node_name or ""
        case "spec.serviceAccountName":
            return spec.service_account_name or ""
        case "status.hostIP" | "status.hostIPs":
            return facts.host_ip
        case "status.podIP" | "status.podIPs":
            return facts.pod_ip
    if match := _SUBSCRIPT.match(path):
        values = meta.labels if match[1] == "labels" else meta.annotations
        return values.get(match[2], "")
    raise FieldError(f"fieldRef {path!r} is not supported")


def format_map(values: Mapping[str, str]) -> str:
    """Labels or annotations as a downward API file holds them: sorted `key="escaped value"` lines."""
    return "\n".join(f"{key}={json.dumps(values[key], ensure_ascii=False)}" for key in sorted(values))


def resource_value(containers: Mapping[str, Container], own: str, ref: ResourceFieldSelector, facts: PodFacts) -> str:
    """The text of a resourceFieldRef, in multiples of its divisor, rounded up."""
    container = containers.get(ref.container_name or own)
    if container is None:
        raise FieldError(f"resourceFieldRef names the container {ref.container_name!r}, which the pod doesn't have")
    kind, _, resource = ref.resource.partition(".")
    if kind not in ("limits", "requests") or not resource:
        raise FieldError(f"resourceFieldRef {ref.resource!r} is not of the form limits.cpu or requests.memory")
    resources = container.resources
    limit = resources.limits.get(resource) if resources else None
    request = resources.requests.get(resource) if resources else None
    value = (request or limit) if kind == "requests" else limit
    if value is None:
        value = _default(kind, resource, facts)
    divisor = quantity.parse(ref.divisor) if ref.divisor else quantity.parse("1")
    if divisor == 0:
        divisor = quantity.parse("1")
    return str(math.ceil(quantity.parse(value) / divisor))


def _default(kind: str, resource: str, facts: PodFacts) -> str:
    if kind == "limits" and resource == "cpu":
        return f"{facts.machine_cpu_millis}m"
    if kind == "limits" and resource == "memory":
        return str(facts.machine_memory_bytes)
    return "0"
