"""Whether this host's KVM really runs a pod's machine.

/dev/kvm opening is no proof, nor is a correct KVM_RUN of a few instructions: there are hosts where both work and a
kernel hangs for ever. So the pod's own kernel is booted, with a deadline, once per host boot, QEMU and guest build.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.hypervisor import KVM_DEVICE, has_device
from hypernetes.nodeagent.runtime.processes import host_boot_id
from hypernetes.nodeagent.runtime.qemu import Accel

log = structlog.get_logger(__name__)

PROBE_SECONDS = 5.0


def cache_key(boot_id: str, qemu_version: str, manifest: bytes) -> str:
    return hashlib.sha256("\0".join((boot_id, qemu_version)).encode() + manifest).hexdigest()


async def choose(
    wanted: str, qemu_version: str, manifest: Path, cache: Path, boots: Callable[[Accel], Awaitable[None]]
) -> Accel:
    """`wanted` is auto, kvm or tcg. `boots` boots a machine and raises MachineError if it doesn't come up.

    Raises MachineError where kvm is demanded and there is none that works.
    """
    if wanted == Accel.TCG:
        return Accel.TCG
    problem = await _problem_of_kvm(qemu_version, manifest, cache, boots)
    if problem is None:
        return Accel.KVM
    if wanted == Accel.KVM:
        raise MachineError("NoKvm", f"KVM is demanded but can't be used: {problem}")
    log.info("machines run under TCG", why=problem)
    return Accel.TCG


async def _problem_of_kvm(
    qemu_version: str, manifest: Path, cache: Path, boots: Callable[[Accel], Awaitable[None]]
) -> str | None:
    if not has_device(KVM_DEVICE):
        return f"there is no {KVM_DEVICE}"
    key = cache_key(host_boot_id(), qemu_version, await asyncio.to_thread(manifest.read_bytes))
    known = _read(cache)
    if known.get("key") == key:
        return known["problem"] or None
    try:
        await boots(Accel.KVM)
        problem = ""
    except MachineError as error:
        problem = f"a probe machine did not boot within {PROBE_SECONDS:.0f} s: {error.message}"
    cache.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    partial = cache.with_suffix(".partial")
    partial.write_text(json.dumps({"key": key, "problem": problem}))
    partial.replace(cache)
    return problem or None


def _read(cache: Path) -> dict[str, str]:
    try:
        known = json.loads(cache.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
