"""Who takes which pod: adoption, release, and what is left alone."""

from typing import Any

from hypernetes.api import selectors
from hypernetes.api.models.apps_v1 import ReplicaSet
from hypernetes.api.models.core_v1 import Pod
from hypernetes.controllers import ownership

WEB = selectors.from_object({"matchLabels": {"app": "web"}})


def owner(**metadata: Any) -> ReplicaSet:
    return ReplicaSet.from_dict({"metadata": {"name": "web", "uid": "o1", **metadata}, "spec": {"selector": {}}})


def pod(name: str, app: str, controller: str | None = None, **metadata: Any) -> Pod:
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": controller, "controller": True}
    references = [reference] if controller else []
    return Pod.from_dict(
        {"metadata": {"name": name, "labels": {"app": app}, "ownerReferences": references, **metadata}}
    )


CANDIDATES = [
    pod("mine", "web", "o1"),
    pod("strayed", "other", "o1"),
    pod("lone", "web"),
    pod("dying", "web", deletionTimestamp="2030-01-01T00:00:00Z"),
    pod("theirs", "web", "o2"),
    pod("stranger", "other"),
]


def names(found: list[Pod]) -> list[str | None]:
    return [entry.metadata.name for entry in found]


def test_matching_orphans_are_adopted_and_strays_released() -> None:
    claimed = ownership.claim(owner(), WEB, CANDIDATES)
    assert names(claimed.owned) == ["mine"]
    assert names(claimed.adopt) == ["lone"]
    assert names(claimed.release) == ["strayed"]


def test_an_owner_that_is_being_deleted_takes_and_frees_nothing() -> None:
    claimed = ownership.claim(owner(deletionTimestamp="2030-01-01T00:00:00Z"), WEB, CANDIDATES)
    assert (names(claimed.owned), claimed.adopt, claimed.release) == (["mine"], [], [])
