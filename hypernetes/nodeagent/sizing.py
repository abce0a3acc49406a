"""How large a pod's machine is: memory in classes, to keep templates few, and some more for the guest itself."""

import math
from collections.abc import Iterable

from hypernetes.api import quantity
from hypernetes.api.models.core_v1 import Container, Pod

MEBIBYTE = 1 << 20

# What a container without a memory limit counts for at least; it counts for its request where that is more. A guest
# gives memory it doesn't use to no one else, so no more.
DEFAULT_CONTAINER_MEMORY_BYTES = 128 * MEBIBYTE
# Kernel, hn-init and HAProxy with its tables (measured: 26 MB kernel and initramfs, 20 MB HAProxy with page cache).
GUEST_OVERHEAD_BYTES = 64 * MEBIBYTE
# Classes up to 512 MiB; above, multiples of 512 MiB.
_SMALL_CLASSES_MIB = (128, 192, 256, 384, 512)

# The machine of a pod with one container that has no limits.
PLAIN_POD_MEMORY_BYTES = 192 * MEBIBYTE
PLAIN_POD_CPUS = 1

DEFAULT_SCRATCH_BYTES = 4 << 30  # sparse: only what is written takes space
SCRATCH_SPARE_BYTES = 64 * MEBIBYTE  # file system overhead and spooled output


def memory_bytes(pod: Pod) -> int:
    """The guest's memory: the larger of all containers together and each init container, plus the guest's own need."""
    sidecars = [container for container in pod.spec.init_containers if container.restart_policy == "Always"]
    steady = _memory_of([*pod.spec.containers, *sidecars])
    largest_init = max((_memory_of([container]) for container in pod.spec.init_containers), default=0)
    return memory_class(max(steady, largest_init) + GUEST_OVERHEAD_BYTES)


def memory_class(wanted_bytes: int) -> int:
    """The smallest class that holds `wanted_bytes`."""
    for mebibytes in _SMALL_CLASSES_MIB:
        if wanted_bytes <= mebibytes * MEBIBYTE:
            return mebibytes * MEBIBYTE
    step = 512 * MEBIBYTE
    return math.ceil(wanted_bytes / step) * step


def cpus(pod: Pod) -> int:
    """Virtual CPUs: the sum of the containers' limits, or of what they request, rounded up; one at least."""
    millis = sum(cpu_limit(container) or _cpu_request(container) for container in pod.spec.containers)
    return max(1, math.ceil(millis / 1000))


def scratch_bytes(pod: Pod) -> int:
    """The scratch disk: the containers' ephemeral-storage limits, where all have one."""
    limits = [_limit(container, "ephemeral-storage") for container in pod.spec.containers]
    if not limits or None in limits:
        return DEFAULT_SCRATCH_BYTES
    return sum(quantity.whole(limit) for limit in limits if limit is not None) + SCRATCH_SPARE_BYTES


def memory_limit(container: Container) -> int | None:
    """Bytes, or None for a container without a limit."""
    limit = _limit(container, "memory")
    return None if limit is None else quantity.whole(limit)


def cpu_limit(container: Container) -> int | None:
    """Millicores, or None for a container without a limit."""
    limit = _limit(container, "cpu")
    return None if limit is None else quantity.milli(limit)


def _limit(container: Container, resource: str) -> str | None:
    return container.resources.limits.get(resource) if container.resources else None


def _cpu_request(container: Container) -> int:
    return quantity.milli(_request(container, "cpu"))


def _request(container: Container, resource: str) -> str:
    return container.resources.requests.get(resource, "0") if container.resources else "0"


def _memory_of(containers: Iterable[Container]) -> int:
    return sum(map(_memory_of_one, containers))


def _memory_of_one(container: Container) -> int:
    limit = memory_limit(container)
    if limit is not None:
        return limit
    return max(DEFAULT_CONTAINER_MEMORY_BYTES, quantity.whole(_request(container, "memory")))
