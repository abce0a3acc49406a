"""Who controls whom: the owner reference with `controller: true`, and the selector that says who should.

An object that matches and has no controller is adopted; one that is controlled and no longer matches is released; one
of another controller is left alone, whatever its labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hypernetes.api.models.meta_v1 import OwnerReference
from hypernetes.api.object import Object
from hypernetes.api.selectors import Selector
from hypernetes.controllers.writes import Patch

T = TypeVar("T", bound=Object)


def controller_of(obj: Any) -> OwnerReference | None:
    for owner in obj.metadata.owner_references:
        if owner.controller:
            found: OwnerReference = owner
            return found
    return None


def is_controlled_by(obj: Any, owner: Any) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.uid == owner.metadata.uid


def controller_reference(owner: Any) -> OwnerReference:
    return OwnerReference(
        api_version_=owner.API_VERSION,
        kind_=owner.KIND,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """Of some candidates: which are the owner's, and which must be made so or freed first."""

    owned: list[T]
    adopt: list[T]
    release: list[T]


def claim(owner: Any, selects: Selector, candidates: Iterable[T]) -> Claim[T]:
    result: Claim[T] = Claim([], [], [])
    dying = owner.metadata.deletion_timestamp is not None
    for candidate in candidates:
        metadata: Any = candidate.metadata  # type: ignore[attr-defined]
        reference = controller_of(candidate)
        matches = selects(metadata.labels)
        if reference is not None and reference.uid == owner.metadata.uid:
            if matches:
                result.owned.append(candidate)
            elif not dying:
                result.release.append(candidate)
        elif reference is None and matches and not dying and metadata.deletion_timestamp is None:
            result.adopt.append(candidate)
    return result


def adoption(owner: Any, obj: Object) -> Patch:
    reference = controller_reference(owner).to_dict()
    return Patch(obj, {"metadata": {"ownerReferences": [reference]}})


def release(owner: Any, obj: Object) -> Patch:
    return Patch(obj, {"metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner.metadata.uid}]}})
