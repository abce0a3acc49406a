"""Other requests and limits for containers that run (KEP-1287): what is to be done, given what they have. Pure.

A machine's size is that of its start. What fits into it is a new limit in the guest's control group, or a restart where
the container's resizePolicy says so; what doesn't is infeasible, and the containers go on as they are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hypernetes.api.models.core_v1 import Container, Pod, ResourceRequirements
from hypernetes.nodeagent import sizing
from hypernetes.nodeagent.containers import ContainerRecord, Phase, is_sidecar

_RESOURCES = ("cpu", "memory")


class Means(StrEnum):
    NOTHING = "nothing"  # what is enforced stays
    LIMIT = "limit"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Change:
    container: Container
    means: Means


def resources_of(container: Container) -> dict[str, Any]:
    """As a record keeps them."""
    found = container.resources
    return {"limits": dict(found.limits), "requests": dict(found.requests)} if found is not None else {}


def changes(pod: Pod, records: Mapping[str, ContainerRecord]) -> Iterator[Change]:
    """Of the running containers that have other resources than the pod says now."""
    for container in (*filter(is_sidecar, pod.spec.init_containers), *pod.spec.containers):
        record = records[container.name]
        if record.phase is Phase.RUNNING and record.resources is not None:
            wanted = resources_of(container)
            if wanted != record.resources:
                yield Change(container, _means(container, record.resources, wanted))


def _means(container: Container, had: Mapping[str, Any], wanted: Mapping[str, Any]) -> Means:
    changed = {name for name in _RESOURCES if _of(had, name) != _of(wanted, name)}
    if any(each.resource_name in changed and each.restart_policy == "RestartContainer"
           for each in container.resize_policy):  # fmt: skip
        return Means.RESTART
    limits = {name for name in _RESOURCES if _of(had, name)[0] != _of(wanted, name)[0]}
    return Means.LIMIT if limits else Means.NOTHING


def _of(resources: Mapping[str, Any], name: str) -> tuple[str | None, str | None]:
    """(limit, request)"""
    return resources.get("limits", {}).get(name), resources.get("requests", {}).get(name)


def infeasible(pod: Pod, memory_bytes: int, cpus: int) -> str:
    """Why the pod's machine of this size can't hold what it says now; "" where it can."""
    wanted_memory, wanted_cpus = sizing.memory_bytes(pod), sizing.cpus(pod)
    if wanted_memory > memory_bytes:
        return (
            f"the pod's machine has {memory_bytes >> 20} MiB of memory and the pod would need {wanted_memory >> 20}; "
            "delete the pod to have it in a larger machine"
        )
    if wanted_cpus > cpus:
        return (
            f"the pod's machine has {cpus} CPUs and the pod would need {wanted_cpus}; "
            "delete the pod to have it in a larger machine"
        )
    return ""


def shown(record: ContainerRecord) -> ResourceRequirements | None:
    """For status: what is in force; None where nothing runs."""
    return None if record.resources is None else ResourceRequirements.from_dict(record.resources)
