"""What is to be done about a DaemonSet now. Pure: the set, nodes, its pods, its revision and the time in."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hypernetes.api import times
from hypernetes.api.models.apps_v1 import ControllerRevision, DaemonSet, DaemonSetStatus
from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.controllers import history, pods
from hypernetes.controllers.daemonsets import placement, update
from hypernetes.controllers.daemonsets.update import Pair
from hypernetes.controllers.replicas import new_pod

BURST = 250  # pods created or deleted in one go (upstream's number)
FAILED_PAUSE_SECONDS = 10.0  # a pod that failed sooner after it was made stays that long: no busy loop of failures


@dataclass(slots=True)
class Plan:
    status: DaemonSetStatus
    create: list[str] = field(default_factory=list)  # nodes
    delete: list[Pod] = field(default_factory=list)
    failed: list[Pod] = field(default_factory=list)  # of `delete`: those that are told of
    again: float | None = None  # seconds until something is due of which no event tells


def decide(
    owner: DaemonSet, nodes: Sequence[Node], eligible: Collection[str] | None, owned: Sequence[Pod],
    revision: ControllerRevision, now: datetime,
) -> Plan:  # fmt: skip
    """`eligible`: names of the nodes that the set's tenant has pods on; None for all."""
    on: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in sorted(owned, key=_age):
        on[placement.node_of(pod)].append(pod)
    plan = Plan(owner.status)
    pairs: dict[str, Pair] = {}
    misplaced = 0
    for node in nodes:
        name = node.metadata.name or ""
        judged = placement.judge(owner.spec.template.spec, node)
        allowed = eligible is None or name in eligible
        living = _living(plan, on.pop(name, []), now)
        if not (judged.stays and allowed):
            plan.delete += living
            misplaced += bool(living)
        elif judged.starts or living:
            misplaced += not judged.starts and bool(living)
            pair = _pair(owner, plan, living, revision, now)
            if judged.starts:
                pairs[name] = pair
                if pair.old is None and pair.new is None:
                    plan.create.append(name)
    for pods_of_gone in on.values():  # of nodes that aren't there
        plan.delete += [pod for pod in pods_of_gone if pod.metadata.deletion_timestamp is None]
    strategy = owner.spec.update_strategy
    if strategy is None or strategy.type != "OnDelete":
        found = update.step(pairs, *update.limits(owner, len(pairs)))
        plan.delete += found.delete
        plan.create += found.surge
    if owner.metadata.deletion_timestamp is not None:
        plan.create, plan.delete, plan.failed = [], [], []
    plan.create, plan.delete = plan.create[:BURST], plan.delete[:BURST]
    plan.status = _status(owner, pairs, misplaced)
    return plan


def _living(plan: Plan, found: Sequence[Pod], now: datetime) -> list[Pod]:
    """Without those on their way out; what has ended is deleted, so that another comes."""
    living = []
    for pod in found:
        if pod.metadata.deletion_timestamp is not None:
            continue
        if not pods.is_finished(pod):
            living.append(pod)
            continue
        made = pod.metadata.creation_timestamp
        wait = FAILED_PAUSE_SECONDS - (now - times.parse_time(made)).total_seconds() if made else 0.0
        if wait > 0:
            plan.again = min(wait, plan.again or wait)
            living.append(pod)
        else:
            plan.delete.append(pod)
            plan.failed.append(pod)
    return living


def _pair(owner: DaemonSet, plan: Plan, living: Sequence[Pod], revision: ControllerRevision, now: datetime) -> Pair:
    """The oldest of each kind; others are one too many."""
    new = [pod for pod in living if _is_new(pod, revision)]
    old = [pod for pod in living if not _is_new(pod, revision)]
    plan.delete += [*new[1:], *old[1:]]
    one_old, one_new = next(iter(old), None), next(iter(new), None)
    return Pair(
        one_old, one_new, _available(owner, plan, one_old, now), _available(owner, plan, one_new, now)
    )  # fmt: skip


def _is_new(pod: Pod, revision: ControllerRevision) -> bool:
    return pod.metadata.labels.get(history.HASH_LABEL) == history.digest_of(revision)


def _available(owner: DaemonSet, plan: Plan, pod: Pod | None, now: datetime) -> bool:
    wait = None if pod is None else pods.available_in(pod, owner.spec.min_ready_seconds or 0, now)
    if wait:
        plan.again = min(wait, plan.again or wait)
    return wait == 0


def _status(owner: DaemonSet, pairs: dict[str, Pair], misplaced: int) -> DaemonSetStatus:
    status = owner.status.model_copy(deep=True)
    available = sum(pair.old_available or pair.new_available for pair in pairs.values())
    status.observed_generation = owner.metadata.generation
    status.desired_number_scheduled = len(pairs)
    status.current_number_scheduled = sum(pair.old is not None or pair.new is not None for pair in pairs.values())
    status.number_misscheduled = misplaced
    status.number_ready = sum(
        any(pod is not None and pods.is_ready(pod) for pod in (pair.old, pair.new)) for pair in pairs.values()
    )
    status.updated_number_scheduled = sum(pair.new is not None for pair in pairs.values())
    status.number_available = available
    status.number_unavailable = len(pairs) - available
    return status


def pod(owner: DaemonSet, node: str, revision: ControllerRevision) -> Pod:
    made = new_pod(owner, owner.spec.template)
    made.metadata.labels[history.HASH_LABEL] = history.digest_of(revision)
    made.spec = placement.bound_to(made.spec, node)
    return made


def _age(each: Pod) -> tuple[str, str]:
    return each.metadata.creation_timestamp or "", each.metadata.name or ""
