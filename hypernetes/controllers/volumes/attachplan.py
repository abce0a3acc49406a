"""Where a volume is to be attached: one volume of a driver, the pods that use it, and where it is now. Pure.

A volume that is written is attached to one node, from before the first pod opens it until the last has closed it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypernetes.api.models.core_v1 import PersistentVolumeSpec, Pod
from hypernetes.api.models.storage_v1 import VolumeAttachment
from hypernetes.api.volumes import names


@dataclass(frozen=True, slots=True)
class Use:
    """A pod on a node that needs the volume."""

    pod: Pod
    node: str
    read_only: bool


@dataclass(slots=True)
class Plan:
    attach: list[tuple[str, bool]] = field(default_factory=list)  # new attachments: (node, read only)
    make: list[VolumeAttachment] = field(default_factory=list)  # those that are there, and aren't attached yet
    end: list[VolumeAttachment] = field(default_factory=list)  # to be deleted
    release: list[VolumeAttachment] = field(default_factory=list)  # being deleted: to be detached once they may be
    waiting: list[tuple[Use, str]] = field(default_factory=list)  # uses, and the node that has the volume meanwhile


def reads_only(spec: PersistentVolumeSpec, uses: Sequence[Use]) -> bool:
    """Whether nobody may write the volume, so that several nodes can have it."""
    if spec.csi is not None and spec.csi.read_only:
        return True
    modes = set(spec.access_modes)
    return "ReadOnlyMany" in modes and (modes == {"ReadOnlyMany"} or all(use.read_only for use in uses))


def is_shared(spec: PersistentVolumeSpec) -> bool:
    """Whether several nodes may write the volume: only where nobody's file system is on it."""
    return "ReadWriteMany" in spec.access_modes and spec.volume_mode == "Block"


def writes(spec: PersistentVolumeSpec, use: Use) -> bool:
    """Whether the pod's machine gets the volume to write it."""
    only_read = set(spec.access_modes) == {"ReadOnlyMany"} or (spec.csi is not None and bool(spec.csi.read_only))
    return not (only_read or use.read_only)


def is_read_only(attachment: VolumeAttachment) -> bool:
    return attachment.metadata.annotations.get(names.READ_ONLY) == "true"


def decide(spec: PersistentVolumeSpec | None, uses: Sequence[Use], present: Sequence[VolumeAttachment]) -> Plan:
    """`spec` is None where no volume of this handle is known any more: it is only detached.

    An attachment for reading stays one: who wants to write waits until its node's readers have ended, and it with them.
    """
    plan = Plan()
    wanted = {use.node for use in uses} if spec is not None else set()
    reading = {use.node for use in uses if spec is not None and not writes(spec, use)}
    for attachment in present:
        if attachment.metadata.deletion_timestamp is not None:
            plan.release.append(attachment)
        elif attachment.spec.node_name not in (reading if is_read_only(attachment) else wanted):
            plan.end.append(attachment)
        elif not attachment.status.attached:
            plan.make.append(attachment)
    if spec is None:
        return plan
    read_only = reads_only(spec, uses)
    taken = {attachment.spec.node_name: is_read_only(attachment) for attachment in present}
    leaving = {attachment.spec.node_name for attachment in (*plan.end, *plan.release)}
    for use in sorted(uses, key=_age):
        if use.node in taken:
            if use.node in leaving or (taken[use.node] and writes(spec, use)):
                plan.waiting.append((use, use.node))  # it is attached again once it has been detached
            continue
        others = [] if is_shared(spec) else [node for node, reads in taken.items() if not (read_only and reads)]
        if others:
            plan.waiting.append((use, min(others)))
        else:
            taken[use.node] = read_only
            plan.attach.append((use.node, read_only))
    return plan


def _age(use: Use) -> tuple[str, str]:
    return use.pod.metadata.creation_timestamp or "", use.pod.metadata.uid or ""
