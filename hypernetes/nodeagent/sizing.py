"""How large a pod's machine is: memory in classes, to keep templates few, and some more for the guest itself."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

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

# Of a processor: kernel, hn-init and HAProxy work for the pod, too; with less, probes would time out.
LEAST_MACHINE_MILLIS = 200

DEFAULT_SCRATCH_BYTES = 4 << 30  # sparse: only what is written takes space
SCRATCH_SPARE_BYTES = 64 * MEBIBYTE  # file system overhead and spooled output


@dataclass(frozen=True, slots=True)
class MachineSize:
    """What a pod's machine gets, and why. `cpu_millis` is what the host lets it use; None: all its CPUs."""

    memory_bytes: int
    cpus: int
    cpu_millis: int | None
    reason: str  # what the memory follows from: PodLimit, ContainerLimits, Requests or Default
    message: str


def of(pod: Pod) -> MachineSize:
    """All containers and sidecars together, or the largest init container where that is more; plus, of memory, the
    guest's own need. `spec.resources` of the pod stands for all of them."""
    memory, count = memory_bytes(pod), cpus(pod)
    throttle = throttle_millis(pod)
    reason, why = _why(pod)
    used = "all of them" if throttle is None else f"at most {throttle / 1000:g} of them"
    message = (
        f"{memory // MEBIBYTE} MiB of memory and {_plural(count, 'CPU')} ({used}): {why}, and "
        f"{GUEST_OVERHEAD_BYTES // MEBIBYTE} MiB for the machine itself"
    )
    return MachineSize(memory, count, throttle, reason, message)


def _why(pod: Pod) -> tuple[str, str]:
    if (whole := pod_limit(pod, "memory")) is not None:
        return "PodLimit", f"the pod's limit is {quantity.whole(whole) // MEBIBYTE} MiB"
    unlimited = [each.name for each in pod.spec.containers if memory_limit(each) is None]
    if not unlimited:
        return "ContainerLimits", "the containers' limits"
    names = ", ".join(unlimited)
    if all(_memory_of_one(each) > DEFAULT_CONTAINER_MEMORY_BYTES for each in pod.spec.containers
           if each.name in unlimited):  # fmt: skip
        return "Requests", f"without a memory limit {names} has what it requests"
    default = DEFAULT_CONTAINER_MEMORY_BYTES // MEBIBYTE
    return "Default", f"without a memory limit {names} counts for its request, {default} MiB at least"


def why_out_of_memory(pod: Pod, container: Container) -> str:
    """What to do where a container was killed for want of memory that nobody limited it to; "" where its own limit, or
    the pod's, says it all."""
    if memory_limit(container) is not None or pod_limit(pod, "memory") is not None:
        return ""
    return (
        f"container {container.name} has no memory limit and used up what its machine has "
        f"({memory_bytes(pod) // MEBIBYTE} MiB for the pod and the machine itself), which follows from what containers "
        f"say: set resources.limits.memory of container {container.name} to what it needs"
    )


def _plural(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def memory_bytes(pod: Pod) -> int:
    """The guest's memory: the larger of all containers together and each init container, plus the guest's own need."""
    if (whole := pod_limit(pod, "memory")) is not None:
        return memory_class(quantity.whole(whole) + GUEST_OVERHEAD_BYTES)
    largest_init = max((_memory_of([container]) for container in pod.spec.init_containers), default=0)
    return memory_class(max(_memory_of(_steady(pod)), largest_init) + GUEST_OVERHEAD_BYTES)


def _steady(pod: Pod) -> list[Container]:
    """Those that run at the same time: containers and sidecars."""
    return [*pod.spec.containers, *(each for each in pod.spec.init_containers if each.restart_policy == "Always")]


def memory_class(wanted_bytes: int) -> int:
    """The smallest class that holds `wanted_bytes`."""
    for mebibytes in _SMALL_CLASSES_MIB:
        if wanted_bytes <= mebibytes * MEBIBYTE:
            return mebibytes * MEBIBYTE
    step = 512 * MEBIBYTE
    return math.ceil(wanted_bytes / step) * step


def cpus(pod: Pod) -> int:
    """Virtual CPUs: the sum of the containers' limits, or of what they request, rounded up; one at least."""
    if (whole := pod_limit(pod, "cpu")) is not None:
        return max(1, math.ceil(quantity.milli(whole) / 1000))
    steady = sum(cpu_limit(each) or _cpu_request(each) for each in _steady(pod))
    largest_init = max((cpu_limit(each) or _cpu_request(each) for each in pod.spec.init_containers), default=0)
    return max(1, math.ceil(max(steady, largest_init) / 1000))


def throttle_millis(pod: Pod) -> int | None:
    """What the host lets the machine use of processors while its containers run: exactly their limits, or the pod's,
    but what a machine needs to answer probes at least. None where a container has no limit: then all its CPUs."""
    if (whole := pod_limit(pod, "cpu")) is not None:
        return max(LEAST_MACHINE_MILLIS, quantity.milli(whole))
    limits = [cpu_limit(each) for each in _steady(pod)]
    inits = [cpu_limit(each) for each in pod.spec.init_containers]
    if None in limits or None in inits:
        return None
    total = max(sum(each or 0 for each in limits), max((each or 0 for each in inits), default=0))
    return max(LEAST_MACHINE_MILLIS, total)


def scratch_bytes(pod: Pod) -> int:
    """The scratch disk: the containers' ephemeral-storage limits, where all have one."""
    limits = [_limit(container, "ephemeral-storage") for container in pod.spec.containers]
    if not limits or None in limits:
        return DEFAULT_SCRATCH_BYTES
    return sum(quantity.whole(limit) for limit in limits if limit is not None) + SCRATCH_SPARE_BYTES


def pod_limit(pod: Pod, resource: str) -> str | None:
    """Of all containers together (KEP-2837)."""
    return pod.spec.resources.limits.get(resource) if pod.spec.resources else None


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
