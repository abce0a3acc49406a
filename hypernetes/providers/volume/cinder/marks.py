"""What says that a volume or snapshot is ours: metadata in Cinder. Pure."""

from collections.abc import Mapping
from typing import Any

from hypernetes.providers.volume.base import Owner, Source, VolumeRequest

CLUSTER = "hypernetes.io/cluster"
NAME = "hypernetes.io/name"  # of the request; a volume's own name may be changed by people
TENANT = "hypernetes.io/tenant-uid"
SIZE = "hypernetes.io/requested-bytes"
SOURCE = "hypernetes.io/source"


def of_volume(cluster_id: str, request: VolumeRequest) -> dict[str, str]:
    marks = {CLUSTER: cluster_id, NAME: request.name, TENANT: request.owner.uid, SIZE: str(request.size_bytes)}
    return marks | {SOURCE: described(request.source)} if request.source else marks


def of_snapshot(cluster_id: str, name: str, owner: Owner) -> dict[str, str]:
    return {CLUSTER: cluster_id, NAME: name, TENANT: owner.uid}


def is_ours(made: Mapping[str, Any], cluster_id: str) -> bool:
    return bool(_metadata(made).get(CLUSTER) == cluster_id)


def answers(made: Mapping[str, Any], cluster_id: str, owner: Owner, name: str) -> bool:
    """Whether it was made for an owner's request of this name."""
    wanted = {CLUSTER: cluster_id, NAME: name, TENANT: owner.uid}
    return wanted.items() <= _metadata(made).items()


def same_request(made: Mapping[str, Any], request: VolumeRequest) -> bool:
    marks = _metadata(made)
    source = described(request.source) if request.source else None
    return marks.get(SIZE) == str(request.size_bytes) and marks.get(SOURCE) == source


def belongs(made: Mapping[str, Any], owner: Owner) -> bool:
    """Whether a volume in the project for tenants without one is this owner's."""
    return _metadata(made).get(TENANT) == owner.uid


def described(source: Source) -> str:
    return f"volume:{source.volume}" if source.volume else (
        f"snapshot:{source.snapshot}" if source.snapshot else f"image:{source.image}"
    )  # fmt: skip


def _metadata(made: Mapping[str, Any]) -> Mapping[str, Any]:
    found = made.get("metadata")
    return found if isinstance(found, Mapping) else {}
