"""Whether claims end with their set, or with the pod that is scaled away: by owner references, carried out by the
garbage collector."""

from collections.abc import Mapping

from hypernetes.api.models.apps_v1 import StatefulSet
from hypernetes.api.models.core_v1 import PersistentVolumeClaim, Pod
from hypernetes.api.models.meta_v1 import OwnerReference
from hypernetes.controllers.statefulsets import identity
from hypernetes.controllers.writes import Patch


def patches(
    owner: StatefulSet,
    pods: Mapping[int, Pod],
    condemned: Mapping[int, Pod],
    claims: Mapping[str, PersistentVolumeClaim],
) -> list[Patch]:
    """What makes the owner references of all claims of these pods as the policy wants them."""
    found = []
    for ordinal, pod in {**pods, **condemned}.items():
        wanted = _wanted(owner, pod if ordinal in condemned else None)
        for name in identity.claim_names(owner, ordinal).values():
            claim = claims.get(name)
            if claim is not None and claim.metadata.deletion_timestamp is None:
                change = _change(claim, wanted, {owner.metadata.uid or "", pod.metadata.uid or ""})
                if change:
                    found.append(Patch(claim, {"metadata": {"ownerReferences": change}}))
    return found


def _wanted(owner: StatefulSet, condemned: Pod | None) -> OwnerReference | None:
    policy = owner.spec.persistent_volume_claim_retention_policy
    if policy is None:
        return None
    if condemned is not None and policy.when_scaled == "Delete":
        return _reference(condemned)
    return _reference(owner) if policy.when_deleted == "Delete" else None


def _reference(owner: StatefulSet | Pod) -> OwnerReference:
    return OwnerReference(
        api_version_=owner.API_VERSION, kind_=owner.KIND, name=owner.metadata.name or "", uid=owner.metadata.uid or ""
    )


def _change(claim: PersistentVolumeClaim, wanted: OwnerReference | None, ours: set[str]) -> list[dict[str, object]]:
    """References of others are left alone."""
    have = {reference.uid for reference in claim.metadata.owner_references} & ours
    keep = {wanted.uid} if wanted is not None else set()
    change: list[dict[str, object]] = [{"$patch": "delete", "uid": uid} for uid in sorted(have - keep)]
    if wanted is not None and wanted.uid not in have:
        change.append(wanted.to_dict())
    return change
