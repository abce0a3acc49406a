"""A rolling update: which old pods make way, and where a new one comes beside its predecessor first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypernetes.api.models.apps_v1 import DaemonSet
from hypernetes.api.models.core_v1 import Pod
from hypernetes.controllers.rollout import resolve


@dataclass(frozen=True, slots=True)
class Pair:
    """The pods of one node that live."""

    old: Pod | None
    new: Pod | None
    old_available: bool
    new_available: bool


@dataclass(slots=True)
class Step:
    delete: list[Pod] = field(default_factory=list)
    surge: list[str] = field(default_factory=list)  # nodes that get a new pod beside the old one


def limits(owner: DaemonSet, desired: int) -> tuple[int, int]:
    """(unavailable, surge) at most at once; percentages are rounded up, and not both are 0."""
    strategy = owner.spec.update_strategy
    rolling = strategy.rolling_update if strategy is not None else None
    surge = resolve(rolling.max_surge or 0, desired, math.ceil) if rolling is not None else 0
    asked = rolling.max_unavailable if rolling is not None else None
    unavailable = resolve(1 if asked is None else asked, desired, math.ceil)
    return (unavailable if unavailable or surge else 1), surge


def step(pairs: Mapping[str, Pair], unavailable: int, surge: int) -> Step:
    """`pairs` by node, for the nodes that should have a pod."""
    return _with_surge(pairs, surge) if surge else _in_place(pairs, unavailable)


def _in_place(pairs: Mapping[str, Pair], unavailable: int) -> Step:
    """Old ones that serve nobody go at once; of those that do, as many as may be missing."""
    missing = sum(not (pair.old_available or pair.new_available) for pair in pairs.values())
    useless = [pair.old for pair in pairs.values() if pair.old is not None and not pair.old_available]
    serving = [pair.old for pair in pairs.values() if pair.old is not None and pair.old_available]
    return Step(delete=[*useless, *_by_age(serving)[: max(0, unavailable - missing)]])


def _with_surge(pairs: Mapping[str, Pair], surge: int) -> Step:
    """Old ones go when their successor is available, or if they serve nobody anyway."""
    found = Step()
    waiting = 0
    free: list[str] = []
    for node, pair in sorted(pairs.items()):
        if pair.old is None:
            continue
        if pair.new is None:
            (free if pair.old_available else found.surge).append(node)
            if not pair.old_available:
                found.delete.append(pair.old)
        elif pair.new_available:
            found.delete.append(pair.old)
        else:
            waiting += 1
    found.surge += free[: max(0, surge - waiting)]
    return found


def _by_age(pods: Sequence[Pod]) -> list[Pod]:
    return sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name or ""))
