"""A rolling update as arithmetic: whatever becomes available when, its limits hold and it ends."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api.models.apps_v1 import Deployment, ReplicaSet
from hypernetes.controllers import revisions, rollout


def deployment(replicas: int, surge: int | str = 1, unavailable: int | str = 1, **spec: Any) -> Deployment:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "new"}]}}
    full = {"replicas": replicas, "strategy": strategy, "selector": {}, "template": template, **spec}
    return Deployment.from_dict({"metadata": {"name": "web", "uid": "d"}, "spec": full})


def replica_set(name: str, size: int, available: int | None = None, desired: int = 0, most: int = 0) -> ReplicaSet:
    annotations = {revisions.DESIRED_REPLICAS: str(desired), revisions.MAX_REPLICAS: str(most)} if most else {}
    return ReplicaSet.from_dict(
        {
            "metadata": {
                "name": name,
                "creationTimestamp": f"2030-01-01T00:00:0{name[-1]}Z",
                "annotations": annotations,
            },
            "spec": {"replicas": size, "selector": {}},
            "status": {"replicas": size, "availableReplicas": size if available is None else available},
        }
    )


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "wanted"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (4, 0, 0, (0, 1)),
        (4, 0, "10%", (0, 1)),
        (100, "7%", "7%", (7, 7)),
        (2, 1, 5, (1, 2)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_limits(replicas: int, surge: int | str, unavailable: int | str, wanted: tuple[int, int]) -> None:
    found = rollout.limits(deployment(replicas, surge, unavailable))
    assert (found.surge, found.unavailable) == wanted


def test_broken_old_pods_go_before_working_ones() -> None:
    new, broken, working = replica_set("w3", 1), replica_set("w1", 3, available=0), replica_set("w2", 8)
    sizes = rollout.roll(deployment(10, 2, 2), new, [working, broken])
    assert sizes == {"w1": 0, "w2": 7}


def told(entry: ReplicaSet, *, replicas: int, available: int, generation: int = 2, observed: int = 2) -> ReplicaSet:
    """A ReplicaSet whose status says something else than its size."""
    status = entry.status.model_copy(
        update={"replicas": replicas, "available_replicas": available, "observed_generation": observed}
    )
    metadata = entry.metadata.model_copy(update={"generation": generation})
    return entry.model_copy(update={"status": status, "metadata": metadata})


def test_pods_that_are_still_to_go_take_room() -> None:
    new, old = replica_set("w2", 1), replica_set("w1", 3)
    assert rollout.roll(deployment(4), new, [told(old, replicas=3, available=3)]) == {"w2": 2}
    leaving = told(old, replicas=4, available=4)
    assert rollout.roll(deployment(4), new, [leaving]) == {"w1": 2}, "five there are already; upstream makes a sixth"
    unknown = told(old, replicas=3, available=3, observed=1)
    assert "w2" not in rollout.roll(deployment(4), new, [unknown])
    assert rollout.initial_size(deployment(4), [unknown]) == 0
    assert rollout.initial_size(deployment(4), [told(old, replicas=3, available=3)]) == 2


def test_pods_that_have_just_gone_are_not_available() -> None:
    """A status that was written as the pods were deleted: upstream takes them for available, and two more away."""
    gone, old, new = told(replica_set("w1", 0), replicas=1, available=1), replica_set("w2", 3), replica_set("w3", 1)
    full = told(replica_set("w3", 2), replicas=2, available=1)
    assert rollout.roll(deployment(4), full, [gone, old]) == {"w2": 2}
    assert rollout.roll(deployment(4), new, [gone, old]) == {"w2": 2}


def test_growing_in_the_middle_of_a_rollout_is_spread_in_proportion() -> None:
    # 10 wished, surge 3: 8 old and 5 new; then 15 are wished (18 at most).
    old, new = replica_set("w1", 8, desired=10, most=13), replica_set("w2", 5, desired=10, most=13)
    assert rollout.was_scaled(deployment(15, 3, 2), [old, new])
    assert rollout.scale(deployment(15, 3, 2), new, [old]) == {"w1": 11, "w2": 7}


def test_scaled_to_nothing_nothing_is_left() -> None:
    old, new = replica_set("w1", 8, desired=10, most=13), replica_set("w2", 5, desired=10, most=13)
    assert rollout.scale(deployment(0), new, [old]) == {"w1": 0, "w2": 0}


@settings(max_examples=200, deadline=None)
@given(
    wished=st.integers(1, 30), surge=st.integers(0, 10), unavailable=st.integers(0, 10),
    old_sizes=st.lists(st.integers(0, 15), min_size=1, max_size=3), random=st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_rollout_keeps_its_limits_and_ends(
    wished: int, surge: int, unavailable: int, old_sizes: list[int], random: Any
) -> None:
    """Pods become available in any order, a few at a time."""
    it = deployment(wished, surge, unavailable)
    bounds = rollout.limits(it)
    sizes = {f"w{number}": size for number, size in enumerate(old_sizes)} | {"w9": 0}
    available = dict(sizes)
    start_total, start_available = sum(sizes.values()), sum(available.values())
    for _ in range(500):
        sets = {name: replica_set(name, size, available[name]) for name, size in sizes.items()}
        new = sets.pop("w9")
        step = rollout.roll(it, new, list(sets.values()))
        sizes |= step
        available = {name: min(available[name], sizes[name]) for name in sizes}
        assert sum(sizes.values()) <= max(start_total, wished + bounds.surge)
        assert sum(available.values()) >= min(start_available, wished - bounds.unavailable)
        waiting = [name for name in sizes if available[name] < sizes[name]]
        if not step and not waiting:
            break
        for name in waiting:
            available[name] += random.randint(1, sizes[name] - available[name])
    assert sizes == {**dict.fromkeys(sizes, 0), "w9": wished}


def test_the_hash_is_of_the_template_alone() -> None:
    template = deployment(1).spec.template
    first = revisions.template_hash(template, 0)
    labelled = template.model_copy(deep=True)
    labelled.metadata.labels[revisions.HASH_LABEL] = first
    assert revisions.template_hash(labelled, 0) == first
    assert revisions.template_hash(template, 1) != first
    labelled.spec.containers[0].image = "other"
    assert revisions.template_hash(labelled, 0) != first
