"""What is to be done about a StatefulSet now. Pure: the set, its pods, claims and revisions, and the time in."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hypernetes.api.models.apps_v1 import ControllerRevision, StatefulSet, StatefulSetStatus
from hypernetes.api.models.core_v1 import PersistentVolumeClaim, Pod
from hypernetes.controllers import pods as facts
from hypernetes.controllers.rollout import resolve
from hypernetes.controllers.statefulsets import identity, retention
from hypernetes.controllers.writes import Patch


@dataclass(slots=True)
class Plan:
    status: StatefulSetStatus
    claims: list[PersistentVolumeClaim] = field(default_factory=list)  # to be made before pods
    patches: list[Patch] = field(default_factory=list)  # of claims, before pods are deleted
    delete: list[Pod] = field(default_factory=list)
    create: list[Pod] = field(default_factory=list)
    again: float | None = None  # seconds until a ready pod is available


@dataclass(frozen=True, slots=True)
class Situation:
    owner: StatefulSet
    slots: dict[int, Pod]  # of the numbers that should be there
    condemned: dict[int, Pod]  # of the others
    claims: Mapping[str, PersistentVolumeClaim]
    current: ControllerRevision
    update: ControllerRevision
    now: datetime

    @property
    def ordinals(self) -> range:
        first = start(self.owner)
        return range(first, first + replicas(self.owner))

    @property
    def in_order(self) -> bool:
        return self.owner.spec.pod_management_policy != "Parallel"

    def healthy(self, pod: Pod) -> bool:
        return pod.metadata.deletion_timestamp is None and facts.is_ready(pod)

    def available_in(self, pod: Pod) -> float | None:
        """Seconds; 0 for one that is, None for one that isn't even ready."""
        if not self.healthy(pod):
            return None
        return facts.available_in(pod, self.owner.spec.min_ready_seconds or 0, self.now)


def start(owner: StatefulSet) -> int:
    return (owner.spec.ordinals.start or 0) if owner.spec.ordinals is not None else 0


def replicas(owner: StatefulSet) -> int:
    return 1 if owner.spec.replicas is None else owner.spec.replicas


def partition(owner: StatefulSet) -> int:
    strategy = owner.spec.update_strategy
    rolling = strategy.rolling_update if strategy is not None else None
    return (rolling.partition or 0) if rolling is not None else 0


def decide(
    owner: StatefulSet, owned: Sequence[Pod], claims: Mapping[str, PersistentVolumeClaim],
    current: ControllerRevision, update: ControllerRevision, now: datetime,
) -> Plan:  # fmt: skip
    """`claims` by name; `current` is the revision that status.currentRevision names, `update` where there is none."""
    first = start(owner)
    numbered = {ordinal: pod for pod in owned if (ordinal := identity.ordinal_of(owner, pod)) is not None}
    wanted = range(first, first + replicas(owner))
    slots = {ordinal: pod for ordinal, pod in numbered.items() if ordinal in wanted}
    condemned = {ordinal: pod for ordinal, pod in numbered.items() if ordinal not in wanted}
    found = Situation(owner, slots, condemned, claims, current, update, now)
    plan = Plan(_status(found, list(numbered.values())))
    if owner.metadata.deletion_timestamp is None:
        plan.patches = retention.patches(owner, slots, condemned, claims)
        if _keep_up(found, plan) and _scale_down(found, plan):
            _roll(found, plan)
    waits = [found.available_in(pod) for pod in slots.values()]
    plan.again = min((wait for wait in waits if wait), default=None)
    return plan


def _keep_up(found: Situation, plan: Plan) -> bool:
    """Every number has a pod that lives. False where the rest has to wait."""
    for ordinal in found.ordinals:
        pod = found.slots.get(ordinal)
        if pod is None or facts.is_finished(pod):
            if pod is not None:
                if pod.metadata.deletion_timestamp is None:
                    plan.delete.append(pod)
            else:
                _add(found, plan, ordinal)
            if found.in_order:
                return False
            continue
        if pod.status.phase == "Pending":
            _add_claims(found, plan, ordinal)
        if found.in_order and found.available_in(pod) != 0:
            return False
    return True


def _add(found: Situation, plan: Plan, ordinal: int) -> None:
    _add_claims(found, plan, ordinal)
    old = ordinal < start(found.owner) + partition(found.owner)
    plan.create.append(identity.new(found.owner, ordinal, found.current if old else found.update))


def _add_claims(found: Situation, plan: Plan, ordinal: int) -> None:
    """A pod whose claim is on its way out waits: a claim of its name can't be made yet."""
    plan.claims += [
        claim for claim in identity.new_claims(found.owner, ordinal) if claim.metadata.name not in found.claims
    ]


def _scale_down(found: Situation, plan: Plan) -> bool:
    """The highest number first; in order, one after the other, and none while another is unhealthy."""
    for ordinal in sorted(found.condemned, reverse=True):
        pod = found.condemned[ordinal]
        if pod.metadata.deletion_timestamp is None:
            lower = [other for number, other in found.condemned.items() if number < ordinal]
            if found.in_order and not found.healthy(pod) and any(not found.healthy(other) for other in lower):
                return False
            plan.delete.append(pod)
        if found.in_order:
            return False
    return True


def _roll(found: Situation, plan: Plan) -> None:
    """Deletes pods of other templates, the highest number first, as many as may be missing at once."""
    strategy = found.owner.spec.update_strategy
    if strategy is not None and strategy.type == "OnDelete":
        return
    rolling = strategy.rolling_update if strategy is not None else None
    asked = rolling.max_unavailable if rolling is not None else None
    budget = 1 if asked is None else max(1, resolve(asked, replicas(found.owner), math.floor))
    for ordinal in reversed(found.ordinals):
        if ordinal < start(found.owner) + partition(found.owner) or budget <= 0:
            return
        pod = found.slots.get(ordinal)
        if pod is None:
            budget -= 1
        elif identity.revision_of(pod) != found.update.metadata.name and pod.metadata.deletion_timestamp is None:
            plan.delete.append(pod)
            budget -= 1
        elif not found.healthy(pod):
            budget -= 1


def _status(found: Situation, owned: Sequence[Pod]) -> StatefulSetStatus:
    living = [pod for pod in owned if pod.metadata.deletion_timestamp is None]
    of = Counter(map(identity.revision_of, living))
    status = found.owner.status.model_copy(deep=True)
    status.observed_generation = found.owner.metadata.generation
    status.replicas = len(owned)
    status.ready_replicas = sum(map(found.healthy, owned))
    status.available_replicas = sum(found.available_in(pod) == 0 for pod in owned)
    status.current_revision, status.update_revision = _name(found.current), _name(found.update)
    status.current_replicas, status.updated_replicas = of[_name(found.current)], of[_name(found.update)]
    complete = status.updated_replicas == status.ready_replicas == status.replicas == replicas(found.owner)
    strategy = found.owner.spec.update_strategy
    if complete and (strategy is None or strategy.type != "OnDelete"):
        status.current_revision, status.current_replicas = status.update_revision, status.updated_replicas
    return status


def _name(revision: ControllerRevision) -> str:
    return revision.metadata.name or ""
