"""The Job controller: carries out what plan.py decides."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from hypernetes.api import selectors, times
from hypernetes.api.models.batch_v1 import Job
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.selectors import Selector
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers import ownership
from hypernetes.controllers.informers import Informers, namespace_index, uid_index
from hypernetes.controllers.jobs import plan, verdict
from hypernetes.controllers.jobs.tally import TRACKING
from hypernetes.controllers.podcontroller import PodController
from hypernetes.controllers.writes import Patch, carry_out_one

_AT_ONCE = 32  # finalizers taken off side by side


class Jobs(PodController[Job]):
    name = "job"
    model = Job

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        # Pods whose tracking finalizer we took off, while the cache still shows it.
        self._stripped: defaultdict[Key, set[str]] = defaultdict(set)
        self.pods.on_change(self._stray_changed)

    def selects(self, owner: Job) -> Selector:
        """A Job without a selector selects nothing; the API server gives every Job one."""
        if owner.spec.selector is None:
            return lambda labels: False
        return selectors.from_object(owner.spec.selector.to_dict())

    def adoption(self, owner: Job, pod: Pod) -> Patch:
        adoption = ownership.adoption(owner, pod)
        adoption.body["metadata"]["finalizers"] = [*plan.without_tracking(pod), TRACKING]
        return adoption

    def _stray_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        if new is not None and TRACKING in new.metadata.finalizers and ownership.controller_of(new) is None:
            self.queue.add(Key(key.tenant, key.namespace, ""))

    async def reconcile(self, key: Key) -> float | None:
        """A key without a name stands for the pods in its namespace that nobody counts any more."""
        job = self.owners.get(key) if key.name else None
        if job is None:
            self.expectations.forget(key)
            self._stripped.pop(key, None)
            await self._free_strays(key)
            return None
        if not plan.is_ours(job):
            return None
        seen = self.expectations.met(key)  # of the pods that are read next, and not of later ones
        owned = await self.claim(key, job)
        if job.metadata.deletion_timestamp is not None or verdict.finished(job):
            await self._strip(key, [pod for pod in owned if TRACKING in pod.metadata.finalizers])
            return None
        decided = plan.decide(job, owned, self._still_shown(key, owned), times.now())
        if plan.differs(decided.status, job.status):
            await self.client.update_status(job.model_copy(update={"status": decided.status}), tenant=key.tenant)
            for event in decided.events:
                self.recorder.event(job, event.type, event.reason, event.message)
        await self._strip(key, decided.strip)
        if seen:
            made = [plan.pod(job, asked) for asked in decided.create]
            failure = await self.change_pods(key, job, decided.delete, made)
            if failure is not None:
                raise failure
        return decided.again

    def _still_shown(self, key: Key, owned: Sequence[Pod]) -> set[str]:
        shown = {pod.metadata.uid or "" for pod in owned if TRACKING in pod.metadata.finalizers}
        self._stripped[key] &= shown
        return self._stripped[key]

    async def _strip(self, key: Key, found: Sequence[Pod]) -> None:
        """Takes the tracking finalizer off. What the pods stand for is in the Job's status by now. Raises the first
        failure: a pod that keeps its finalizer would be counted again by the next process."""
        left = [pod for pod in found if pod.metadata.uid not in self._stripped[key]]
        for start in range(0, len(left), _AT_ONCE):
            group = left[start : start + _AT_ONCE]
            patches = (self._patch(key, _without_tracking(pod)) for pod in group)
            results = await asyncio.gather(*patches, return_exceptions=True)
            done = [pod for pod, result in zip(group, results, strict=True) if result is None]
            self._stripped[key] |= {pod.metadata.uid or "" for pod in done}
            if failure := next((result for result in results if result is not None), None):
                raise failure
        if left:
            self.queue.add(key)  # so that they are counted

    async def _patch(self, key: Key, patch: Patch) -> None:
        try:
            await carry_out_one(self.client, key.tenant, patch)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise

    async def _free_strays(self, key: Key) -> None:
        """Pods of Jobs that are gone: nobody counts them, so nothing may keep them."""
        strays = []
        for pod in self.pods.by_index("namespace", namespace_index(key.tenant, key.namespace)):
            if TRACKING not in pod.metadata.finalizers:
                continue
            reference = ownership.controller_of(pod)
            if reference is None or (
                reference.kind_ == Job.KIND and not self.owners.by_index("uid", uid_index(key.tenant, reference.uid))
            ):
                strays.append(pod)
        for pod in strays:
            await self._patch(key, _without_tracking(pod))


def _without_tracking(pod: Pod) -> Patch:
    return Patch(pod, {"metadata": {"$deleteFromPrimitiveList/finalizers": [TRACKING]}})
