"""How many pods each of a Deployment's ReplicaSets should have now. Plain functions over counts.

A rolling update moves pods from the old ReplicaSets to the new one, never more than `maxSurge` above the wished number
and never fewer available than it minus `maxUnavailable`. Scaling in the middle of one spreads over all of them in
proportion.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypernetes.api.models.apps_v1 import Deployment, ReplicaSet
from hypernetes.controllers.revisions import DESIRED_REPLICAS, MAX_REPLICAS, by_age, desired

Sizes = dict[str, int]  # ReplicaSet name -> replicas; only those that must change


@dataclass(frozen=True, slots=True)
class Limits:
    """Pods above and below the wished number that a rollout may take."""

    surge: int
    unavailable: int


def limits(deployment: Deployment) -> Limits:
    """Percentages: surge rounded up, unavailable down; not both 0, or nothing could ever move."""
    if not is_rolling(deployment):
        return Limits(0, 0)
    parameters = deployment.spec.strategy and deployment.spec.strategy.rolling_update
    wished = desired(deployment)
    surge = resolve(parameters.max_surge if parameters else None, wished, math.ceil)
    unavailable = resolve(parameters.max_unavailable if parameters else None, wished, math.floor)
    return Limits(surge, min(wished, unavailable if surge or unavailable else 1))


def resolve(value: int | str | None, wished: int, rounded: Any) -> int:
    if value is None:
        value = "25%"
    if isinstance(value, int):
        return value
    # Whole numbers until the division: 0.07 * 100 is more than 7.
    return int(rounded(int(value.removesuffix("%")) * wished / 100)) if value.endswith("%") else int(value)


def is_rolling(deployment: Deployment) -> bool:
    return deployment.spec.strategy is None or deployment.spec.strategy.type != "Recreate"


def most(deployment: Deployment) -> int:
    """The number of pods that may exist at once."""
    return desired(deployment) + limits(deployment).surge


def size(replica_set: ReplicaSet) -> int:
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def initial_size(deployment: Deployment, old: Sequence[ReplicaSet]) -> int:
    """Of a new ReplicaSet that doesn't exist yet."""
    if is_rolling(deployment) and not all(map(_is_known, old)):
        return 0
    return _grown(deployment, 0, sum(map(pods_left, old)))


def _grown(deployment: Deployment, new_size: int, total: int) -> int:
    """The new ReplicaSet's size when it takes what room there is."""
    wished = desired(deployment)
    if not is_rolling(deployment):
        return wished
    room = most(deployment) - total
    return new_size + min(room, wished - new_size) if room > 0 else new_size


def was_scaled(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> bool:
    """Whether the wished number has changed since the ReplicaSets were last sized."""
    return any(
        _annotated(entry, DESIRED_REPLICAS) not in (None, desired(deployment)) for entry in replica_sets if size(entry)
    )


def roll(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sizes:
    """The next step of a rolling update: first the new one grows, then the old ones shrink."""
    grown = _step_new(deployment, new, old)
    return {new.metadata.name or "": grown} if grown != size(new) else _step_old(deployment, new, old)


def _step_new(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> int:
    wished, current = desired(deployment), size(new)
    if current >= wished:
        return wished
    if not all(map(_is_known, [*old, new])):
        return current
    return _grown(deployment, current, sum(map(pods_left, [*old, new])))


def _is_known(replica_set: ReplicaSet) -> bool:
    """Whether its status is about the size it has now."""
    return (replica_set.status.observed_generation or 0) >= (replica_set.metadata.generation or 0)


def pods_left(replica_set: ReplicaSet) -> int:
    """How many active pods it may have: those that it is to delete are there until its status says otherwise.

    Upstream goes by the sizes alone, so that there are more pods than maxSurge allows until the old ReplicaSet's
    controller has come round.
    """
    return max(size(replica_set), replica_set.status.replicas or 0)


def _step_old(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sizes:
    """Pods that don't work go first, whatever happens; then as many as leave enough available."""
    sizes = {entry.metadata.name or "": size(entry) for entry in sorted(old, key=by_age)}
    total_old = sum(sizes.values())
    if not total_old:
        return {}
    least = desired(deployment) - limits(deployment).unavailable
    new_unavailable = size(new) - _available(new)
    removable = total_old + size(new) - least - new_unavailable
    if removable <= 0:
        return {}
    before = dict(sizes)
    for entry in sorted(old, key=by_age):
        name = entry.metadata.name or ""
        broken = max(0, sizes[name] - _available(entry))
        taken = min(removable, broken)
        sizes[name] -= taken
        removable -= taken
    spare = sum(map(_available, [*old, new])) - least
    for name in sizes:
        taken = max(0, min(spare, sizes[name]))
        sizes[name] -= taken
        spare -= taken
    return {name: number for name, number in sizes.items() if number != before[name]}


def recreate(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], old_pods_left: bool) -> Sizes:
    """All old pods go before the first new one comes."""
    shrinking = {entry.metadata.name or "": 0 for entry in old if size(entry)}
    if shrinking or old_pods_left or new is None or size(new) == desired(deployment):
        return shrinking
    return {new.metadata.name or "": desired(deployment)}


def scale(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> Sizes:
    """After a change of the wished number, or while paused: sizes without a rollout's progress."""
    wished = desired(deployment)
    everything = [*old, *([new] if new is not None else [])]
    active = [entry for entry in everything if size(entry)]
    if len(active) <= 1:
        only = active[0] if active else new or max(old, key=by_age, default=None)
        return {} if only is None else {only.metadata.name or "": wished}
    if new is not None and size(new) == wished == _annotated(new, DESIRED_REPLICAS) and _available(new) == wished:
        return {entry.metadata.name or "": 0 for entry in old if size(entry)}
    return _proportional(deployment, active) if is_rolling(deployment) else {}


def _proportional(deployment: Deployment, active: list[ReplicaSet]) -> Sizes:
    allowed = most(deployment) if desired(deployment) else 0
    to_add = allowed - sum(map(size, active))
    # Largest first; of equals the newest grows and the oldest shrinks.
    active = sorted(active, key=by_age, reverse=to_add > 0)
    active.sort(key=size, reverse=True)
    sizes, added = {}, 0
    for entry in active:
        share = 0
        if to_add:
            share = _share(deployment, entry)
            left = to_add - added
            share = min(share, left) if to_add > 0 else max(share, left)
        sizes[entry.metadata.name or ""] = size(entry) + share
        added += share
    if to_add != added:
        first = active[0].metadata.name or ""
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _share(deployment: Deployment, entry: ReplicaSet) -> int:
    """Pods this ReplicaSet gains (or, below 0, loses) when the whole grows from what it was to what it is now."""
    if not desired(deployment):
        return -size(entry)
    former = _annotated(entry, MAX_REPLICAS) or deployment.status.replicas or 0
    if not former:
        return 0
    return math.floor(size(entry) * most(deployment) / former + 0.5) - size(entry)


def _available(replica_set: ReplicaSet) -> int:
    """Those that stay: a status counts pods that went as it was written, which upstream takes for available ones."""
    return min(replica_set.status.available_replicas or 0, size(replica_set))


def _annotated(replica_set: ReplicaSet, name: str) -> int | None:
    try:
        return int(replica_set.metadata.annotations[name])
    except (KeyError, ValueError):
        return None
