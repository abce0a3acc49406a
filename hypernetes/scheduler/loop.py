"""Puts the parts together: takes what the informers tell, decides, and has it written.

State of a pod here: waiting (in the queue), assumed (decided, counts on its node already, not yet seen bound), or
placed (seen bound). One that waits on a node chosen for it keeps its place there: for its volumes, or until pods that
give way to it have gone. All of it is rebuilt from the informers when the process starts.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from hypernetes.api import selectors
from hypernetes.api.models.core_v1 import Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod
from hypernetes.api.models.policy_v1 import PodDisruptionBudget
from hypernetes.api.models.storage_v1 import StorageClass
from hypernetes.api.volumes.names import SELECTED_NODE, claims_of
from hypernetes.client import Key, WorkQueue
from hypernetes.scheduler import demands as demanding
from hypernetes.scheduler import filters, preemption, relations
from hypernetes.scheduler.binder import Decision, Outcome, explained
from hypernetes.scheduler.cycle import Cycle
from hypernetes.scheduler.demands import Demands
from hypernetes.scheduler.preemption import Lookup, Preemptor
from hypernetes.scheduler.queue import SchedulingQueue
from hypernetes.scheduler.relations import Relations
from hypernetes.scheduler.snapshot import Cluster, NodeFacts, Placement
from hypernetes.scheduler.volumes import Needs, Volumes

SCHEDULER_NAME = "default-scheduler"

_BINDERS = 32  # bindings written at once
_EXPLAINERS = 4
_WAITING_BINDINGS = 256  # decided and not yet begun; deciding waits when there are more
_SLICE_SECONDS = 0.02  # of deciding at a stretch, then others have the event loop
_UNSEEN_SECONDS = 30.0  # a binding that the informer hasn't shown by then is no longer assumed
# How a node says how many bytes it has left for volumes that it keeps itself.
BYTES_FREE = "hypernetes.io/volume-bytes-free"
_TERMINAL = ("Succeeded", "Failed")

_log = structlog.get_logger(__name__)


class Writer(Protocol):
    """What `binder.Binder` does."""

    async def bind(self, decision: Decision) -> Outcome: ...

    async def choose(self, decision: Decision) -> bool: ...

    async def preempt(self, decision: Decision) -> bool: ...

    async def explain(self, key: Key, pod: Pod, message: str) -> bool: ...


@dataclass(slots=True)
class _Assumption:
    uid: str
    expires: float | None = None  # None while its binding is being written


def no_budgets(tenant: str, namespace: str) -> Iterable[PodDisruptionBudget]:
    return ()


class Scheduler:
    """`pod_changed` and `node_changed` are the informers' handlers, `pod` looks one up, `budgets` those of a
    namespace of a tenant; `run` does the rest."""

    def __init__(
        self, pod: Callable[[Key], Pod | None], writer: Writer, volumes: Volumes,
        budgets: Callable[[str, str], Iterable[PodDisruptionBudget]] = no_budgets,
    ) -> None:  # fmt: skip
        self._pod, self._writer, self._volumes, self._budgets = pod, writer, volumes, budgets
        self._cluster = Cluster()
        self._cycle = Cycle(self._cluster)
        self._queue: SchedulingQueue[Key] = SchedulingQueue(self._cluster.dominant_share)
        self._demands: dict[Key, Demands] = {}  # of waiting pods
        self._relations: dict[Key, Relations] = {}  # of waiting pods
        self._lonely: dict[str, set[Key]] = {}  # by tenant: waiting pods that others' coming may help
        self._giving_way: dict[Key, str] = {}  # pods that are told to go for another, by UID; not seen terminating yet
        self._assumed: dict[Key, _Assumption] = {}
        self._reserved: set[Key] = set()  # waiting pods that keep their place on a node
        self._with_claims: set[Key] = set()  # waiting pods that have claims
        self._bindings: asyncio.Queue[Decision] = asyncio.Queue(_WAITING_BINDINGS)
        self._messages: dict[Key, str] = {}  # why a waiting pod has no node
        self._explanations: WorkQueue[Key] = WorkQueue("unschedulable pods")
        self._wake = asyncio.Event()
        self._room_made = False

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._decide())
                for _ in range(_BINDERS):
                    tasks.create_task(self._bind())
                for _ in range(_EXPLAINERS):
                    tasks.create_task(self._explain())
        finally:
            self._explanations.close()

    # What the informers tell

    def pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._volumes.remove(key, old)
            self._forget(key)
            old = None
        if new is None:
            return
        if new.status.phase in _TERMINAL:
            self._volumes.remove(key, new)
            self._forget(key)
            return
        self._volumes.add(key, new)
        if new.spec.node_name:
            self._seen_bound(key, new, new.spec.node_name)
        elif not is_ours(new):
            self._stop_waiting(key)
        elif key not in self._assumed and (
            old is None or old.spec != new.spec or old.metadata.labels != new.metadata.labels
        ):
            self._start_waiting(key, new)

    def node_changed(self, key: Key, old: Node | None, new: Node | None) -> None:
        if new is None:
            self._cluster.remove_node(key.name)
        else:
            if self._cluster.set_bytes_free(key.name, _bytes_free(new)) and self._with_claims:
                self._made_room()
            try:
                facts = NodeFacts.of(new)
            except ValueError as error:
                _log.error("node ignored", node=key.name, error=str(error))
                self._cluster.remove_node(key.name)
                return
            if not self._cluster.set_node(key.name, facts):
                return
        self._made_room()

    def namespace_changed(self, key: Key, old: Namespace | None, new: Namespace | None) -> None:
        labels = dict(new.metadata.labels) if new is not None else None
        if self._cluster.neighbours.set_namespace(key.tenant, key.name, labels):
            self._company_changed(key.tenant)

    def claim_changed(self, key: Key, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        """Of a claim that has lost its node, the pod is decided again after a while: there was no room for it."""
        had, has = (each is not None and SELECTED_NODE in each.metadata.annotations for each in (old, new))
        for pod in self._volumes.users.get(key, ()):
            if had and not has:
                self._queue.retry(pod, asyncio.get_running_loop().time(), parked=False)
            else:
                self._decide_again(pod)
        self._wake.set()

    def volume_changed(self, key: Key, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        reference = new.spec.claim_ref if new is not None else None
        if reference is not None:
            claim = Key(key.tenant, reference.namespace or "", reference.name or "")
            pods = self._volumes.users.get(claim, set())
        else:
            pods = {pod for pod in self._with_claims if pod.tenant == key.tenant}
        for pod in pods:
            self._decide_again(pod)
        self._wake.set()

    def class_changed(self, key: Key, old: StorageClass | None, new: StorageClass | None) -> None:
        for pod in self._with_claims:
            self._decide_again(pod)
        self._wake.set()

    def _decide_again(self, key: Key) -> None:
        pod = self._pod(key) if key in self._demands else None
        if pod is not None:
            self._queue.add(key, tenant=key.tenant, priority=pod.spec.priority or 0)

    def _start_waiting(self, key: Key, pod: Pod) -> None:
        try:
            self._demands[key] = demanding.of_pod(pod)
            self._relations[key] = related = relations.of_pod(pod)
        except ValueError as error:
            self._say(key, f"the pod can't be scheduled: {error}")
            return
        if claims_of(pod):
            self._with_claims.add(key)
        if related.near or related.spreads:
            self._lonely.setdefault(key.tenant, set()).add(key)
        self._queue.add(key, tenant=key.tenant, priority=pod.spec.priority or 0)
        self._wake.set()

    def _stop_waiting(self, key: Key) -> None:
        if self._unreserve(key):
            self._made_room()
        self._with_claims.discard(key)
        self._queue.remove(key)
        self._demands.pop(key, None)
        self._relations.pop(key, None)
        lonely = self._lonely.get(key.tenant)
        if lonely is not None:
            lonely.discard(key)
            if not lonely:
                del self._lonely[key.tenant]
        self._messages.pop(key, None)

    def _place(self, key: Key, placement: Placement) -> None:
        if self._cluster.place(key, placement):
            self._company_changed(key.tenant)

    def _company_changed(self, tenant: str) -> None:
        """Pods that wait for others of their tenant may have a place now."""
        if tenant in self._lonely:
            self._queue.unpark(self._lonely[tenant], asyncio.get_running_loop().time())
            self._wake.set()

    def _seen_bound(self, key: Key, pod: Pod, node: str) -> None:
        self._stop_waiting(key)
        self._assumed.pop(key, None)
        if pod.metadata.deletion_timestamp is not None:
            self._giving_way.pop(key, None)
        try:
            requests = tuple(sorted(demanding.requests(pod).items()))
        except ValueError as error:
            _log.error("requests of a pod not counted", pod=str(key), error=str(error))
            requests = ()
        self._place(key, Placement(node, key.tenant, requests, pod.spec.priority or 0, relations.of_pod(pod)))

    def _forget(self, key: Key) -> None:
        """The pod needs nothing any more."""
        self._giving_way.pop(key, None)
        self._stop_waiting(key)
        self._assumed.pop(key, None)
        if self._cluster.remove(key):
            self._made_room()

    def _made_room(self) -> None:
        self._room_made = True
        self._wake.set()

    # Deciding

    async def _decide(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._work_to_do()
            self._expire_assumptions(loop.time())
            if self._room_made:
                self._room_made = False
                self._queue.event(loop.time())
            pause = loop.time() + _SLICE_SECONDS
            while loop.time() < pause and (key := self._queue.pop(loop.time())) is not None:
                decision = self._decide_one(key, loop.time())
                if decision is not None:
                    await self._bindings.put(decision)
            await asyncio.sleep(0)

    async def _work_to_do(self) -> None:
        """Returns when there may be something: a change, a pod that is due, an assumption that expires."""
        now = asyncio.get_running_loop().time()
        times = [assumption.expires - now for assumption in self._assumed.values() if assumption.expires is not None]
        if (due := self._queue.next_due(now)) is not None:
            times.append(due)
        if not times or min(times) > 0:
            try:
                async with asyncio.timeout(min(times, default=None)):
                    await self._wake.wait()
            except TimeoutError:
                pass  # something is due
        self._wake.clear()

    def _decide_one(self, key: Key, now: float) -> Decision | None:
        pod, demands = self._pod(key), self._demands.get(key)
        if pod is None or demands is None or pod.spec.node_name or not is_ours(pod):
            self._stop_waiting(key)  # the informer is ahead of its handlers' last call
            return None
        had_place = self._unreserve(key)
        needs = self._needs(key, pod)
        if needs is not None:
            requests = tuple(sorted((*demands.requests, *needs.requests)))
            demands = replace(demands, volumes=needs.demands, requests=requests)
        related = self._relations[key]
        verdict = self._cycle.decide(demands, key.tenant, related)
        priority = pod.spec.priority or 0
        if verdict.node is None:
            if pod.spec.preemption_policy != "Never":
                preemptor = Preemptor(key.tenant, priority, demands, related)
                found = preemption.preempt(
                    self._cluster, preemptor, Lookup(self._movable, self._going, self._protected)
                )
                if found is not None:
                    self._say(key, verdict.message)
                    return self._make_way(key, pod, preemptor, found, now)
            if had_place:
                self._made_room()
            self._queue.retry(key, now, parked=True)
            self._say(key, verdict.message)
            return None
        self._place(key, Placement(verdict.node, key.tenant, demands.requests, priority, related))
        if needs is not None and needs.unbound:
            return self._reserve(key, pod, verdict.node, needs, now)
        self._assumed[key] = _Assumption(pod.metadata.uid or "")
        self._messages.pop(key, None)
        return Decision(key, pod, verdict.node)

    def _needs(self, key: Key, pod: Pod) -> Needs | None:
        if key not in self._with_claims:
            return None
        return self._volumes.needs(key, pod, lambda other: self._cluster.placement(other) is not None)

    def _reserve(self, key: Key, pod: Pod, node: str, needs: Needs, now: float) -> Decision | None:
        """The pod keeps its place on the node until its claims are bound, and is decided again then."""
        row = self._cluster.rows[node]
        choices = self._volumes.choices(
            needs, node, lambda terms, _: bool(filters.any_matches(self._cluster, terms)[row])
        )
        self._reserved.add(key)
        self._messages.pop(key, None)
        self._queue.retry(key, now, parked=True)
        return Decision(key, pod, node, tuple(choices)) if choices else None

    def _make_way(
        self, key: Key, pod: Pod, preemptor: Preemptor, found: preemption.Preemption, now: float
    ) -> Decision | None:
        """The pod has its place from now on, so that nobody else comes in between, and is decided again when others
        have gone from there."""
        placement = Placement(
            found.node, key.tenant, preemptor.demands.requests, preemptor.priority, preemptor.relations
        )
        self._place(key, placement)
        self._reserved.add(key)
        self._queue.retry(key, now, parked=True)
        victims = []
        for victim in found.victims:
            assert isinstance(victim, Key)
            there = self._pod(victim)
            if there is not None:
                self._giving_way[victim] = there.metadata.uid or ""
                victims.append((victim, there))
        return Decision(key, pod, found.node, victims=tuple(victims)) if victims else None

    def _movable(self, pod: Hashable) -> bool:
        """Whether a pod is seen bound; of one whose binding is under way, it isn't known what there is to end."""
        assert isinstance(pod, Key)
        return pod not in self._assumed and pod not in self._reserved and self._pod(pod) is not None

    def _going(self, pod: Hashable) -> bool:
        assert isinstance(pod, Key)
        there = self._pod(pod)
        if there is None or there.metadata.deletion_timestamp is not None:
            return True
        return self._giving_way.get(pod) == (there.metadata.uid or "")

    def _protected(self, pod: Hashable) -> bool:
        """Whether a budget allows none of its pods to be disturbed now."""
        assert isinstance(pod, Key)
        there = self._pod(pod)
        return there is not None and any(
            not budget.status.disruptions_allowed and budget.spec.selector is not None
            and selectors.from_object(budget.spec.selector.to_dict())(there.metadata.labels)
            for budget in self._budgets(pod.tenant, pod.namespace)
        )  # fmt: skip

    def _unreserve(self, key: Key) -> bool:
        """Whether it had a place."""
        if key not in self._reserved:
            return False
        self._reserved.discard(key)
        return self._cluster.remove(key)

    def _expire_assumptions(self, now: float) -> None:
        for key, assumption in list(self._assumed.items()):
            if assumption.expires is not None and assumption.expires <= now:
                _log.warning("a binding was never seen", pod=str(key))
                self._unassume(key)
                pod = self._pod(key)
                if pod is not None and not pod.spec.node_name and is_ours(pod):
                    self._start_waiting(key, pod)

    def _unassume(self, key: Key) -> None:
        del self._assumed[key]
        if self._cluster.remove(key):
            self._made_room()

    # Writing

    async def _bind(self) -> None:
        while True:
            decision = await self._bindings.get()
            if decision.victims:
                await self._end_victims(decision)
                continue
            if decision.choices:
                if not await self._writer.choose(decision):
                    self._queue.retry(decision.key, asyncio.get_running_loop().time(), parked=False)
                    self._wake.set()
                continue
            outcome = await self._writer.bind(decision)
            self._bound(decision, outcome, asyncio.get_running_loop().time())

    async def _end_victims(self, decision: Decision) -> None:
        if await self._writer.preempt(decision):
            return
        for victim, _ in decision.victims:
            self._giving_way.pop(victim, None)
        if self._unreserve(decision.key):
            self._made_room()
        self._queue.retry(decision.key, asyncio.get_running_loop().time(), parked=False)
        self._wake.set()

    def _bound(self, decision: Decision, outcome: Outcome, now: float) -> None:
        key = decision.key
        assumption = self._assumed.get(key)
        if assumption is None or assumption.uid != (decision.pod.metadata.uid or ""):
            return  # the informer was faster, and knows better
        if outcome in (Outcome.BOUND, Outcome.UNKNOWN):
            assumption.expires = now + _UNSEEN_SECONDS
        else:
            self._unassume(key)
        if outcome is Outcome.BOUND:
            self._stop_waiting(key)
        else:
            self._queue.retry(key, now, parked=False)
        self._wake.set()

    def _say(self, key: Key, message: str) -> None:
        if self._messages.get(key) != message:
            self._messages[key] = message
            self._explanations.add(key)

    async def _explain(self) -> None:
        while True:
            key = await self._explanations.get()
            try:
                pod, message = self._pod(key), self._messages.get(key)
                if pod is None or message is None or explained(pod) == message:
                    written = True  # there is nothing to say any more
                else:
                    written = await self._writer.explain(key, pod, message)
                if written:
                    self._explanations.forget(key)
                else:
                    self._explanations.add_rate_limited(key)
            finally:
                self._explanations.done(key)


def _bytes_free(node: Node) -> int | None:
    text = node.metadata.annotations.get(BYTES_FREE, "")
    return int(text) if text.isascii() and text.isdigit() else None


def is_ours(pod: Pod) -> bool:
    """Whether a pod without a node is this scheduler's to place now."""
    return (
        (pod.spec.scheduler_name or SCHEDULER_NAME) == SCHEDULER_NAME
        and not pod.spec.scheduling_gates
        and pod.metadata.deletion_timestamp is None
    )
