"""Which of the volumes that are there a claim may have. Pure.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding
"""

from collections.abc import Iterable

from hypernetes.api import selectors
from hypernetes.api.models.core_v1 import ObjectReference, PersistentVolume, PersistentVolumeClaim
from hypernetes.api.volumes import names


def refers(reference: ObjectReference | None, claim: PersistentVolumeClaim) -> bool:
    """Whether a volume is this claim's; one that an administrator reserved says no UID."""
    return (
        reference is not None
        and (reference.namespace, reference.name) == (claim.metadata.namespace, claim.metadata.name)
        and reference.uid in (None, "", claim.metadata.uid)
    )


def mismatch(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str | None:
    """Why the claim can't have the volume, whoever's it is; None if it can."""
    if names.capacity_bytes(volume) < names.requested_bytes(claim):
        return "requested PV is too small"
    if names.class_name(volume) != names.class_name(claim):
        return "storageClassName does not match"
    if (volume.spec.volume_mode or "Filesystem") != (claim.spec.volume_mode or "Filesystem"):
        return "incompatible volumeMode"
    if not set(claim.spec.access_modes) <= set(volume.spec.access_modes):
        return "incompatible accessMode"
    if (volume.spec.volume_attributes_class_name or "") != (claim.spec.volume_attributes_class_name or ""):
        return "volumeAttributesClassName does not match"
    return None


def best(claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]) -> PersistentVolume | None:
    """The volume reserved for the claim, or else the smallest free one that does; of equal ones the first by name."""
    selector = None
    if claim.spec.selector is not None:
        selector = selectors.from_object(claim.spec.selector.to_dict())
    free = []
    for volume in volumes:
        if volume.metadata.deletion_timestamp is not None or mismatch(volume, claim) is not None:
            continue
        if refers(volume.spec.claim_ref, claim):
            return volume
        if volume.spec.claim_ref is None and (selector is None or selector(volume.metadata.labels)):
            free.append(volume)
    return min(free, key=lambda volume: (names.capacity_bytes(volume), volume.metadata.name or ""), default=None)
