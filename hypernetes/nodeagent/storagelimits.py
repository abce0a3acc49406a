"""What a pod may keep on its scratch disk: sizeLimit of emptyDirs, ephemeral-storage limits of containers.

As upstream (https://kubernetes.io/docs/concepts/storage/ephemeral-storage/): nothing is in the way of a write, but a
pod that is found beyond a limit is evicted. `Limits` is what there is to look at, pure; `first_excess` looks. What is
in memory has its limit in the guest's kernel.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hypernetes.api import quantity
from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent.containers import ContainerRecord, Phase
from hypernetes.nodeagent.runtime.base import Machine

LOOK_SECONDS = 10.0
_RESOURCE = "ephemeral-storage"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, and how the API wrote them."""

    volumes: Mapping[str, str]
    containers: Mapping[str, str]
    on_disk: tuple[str, ...]  # all emptyDirs that count for the pod

    @property
    def any(self) -> bool:
        return bool(self.volumes or self.containers)

    @property
    def whole(self) -> int | None:
        """Of the pod: the sum, where any container has a limit."""
        return sum(map(quantity.whole, self.containers.values())) if self.containers else None


def limits(pod: Pod) -> Limits:
    on_disk = [each for each in pod.spec.volumes if each.empty_dir is not None and each.empty_dir.medium != "Memory"]
    volumes = {each.name: each.empty_dir.size_limit for each in on_disk if each.empty_dir and each.empty_dir.size_limit}
    containers = {
        each.name: each.resources.limits[_RESOURCE]
        for each in pod.spec.containers
        if each.resources is not None and _RESOURCE in each.resources.limits
    }
    return Limits(volumes, containers, tuple(each.name for each in on_disk))


async def first_excess(pod: Pod, records: Mapping[str, ContainerRecord], machine: Machine) -> str:
    """Upstream's words for the first limit that is exceeded, "" for none. Raises MachineError."""
    found = limits(pod)
    used = {name: await machine.measure(volume=name) for name in found.on_disk}
    for name, text in found.volumes.items():
        if used[name] > quantity.whole(text):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{text}". '
    layers = {
        each.name: await machine.measure(container_id=records[each.name].id)
        for each in pod.spec.containers
        if records[each.name].phase is Phase.RUNNING
    }
    for name, text in found.containers.items():
        if layers.get(name, 0) > quantity.whole(text):
            return f'Container {name} exceeded its local ephemeral storage limit "{text}". '
    whole = found.whole
    if whole is not None and sum(used.values()) + sum(layers.values()) > whole:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {whole}. "
    return ""
