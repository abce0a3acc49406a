"""The Job controller: carries out what plan.py decides."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hypernetes.api import selectors, times
from hypernetes.api.models.batch_v1 import Job
from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import REQUEST_ERRORS, Client, EventRecorder, Key, has_cause, is_reason, key_of
from hypernetes.controllers import ownership
from hypernetes.controllers.controller import NAMESPACE_TERMINATING, Controller
from hypernetes.controllers.expectations import Expectations
from hypernetes.controllers.informers import Informers, namespace_index, uid_index
from hypernetes.controllers.jobs import plan, verdict
from hypernetes.controllers.jobs.plan import Plan
from hypernetes.controllers.jobs.tally import TRACKING
from hypernetes.controllers.replicas import batches
from hypernetes.controllers.writes import Create, Delete, Patch, Write, carry_out_one


class Jobs(Controller):
    name = "job"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.jobs, self.pods = informers.of(Job), informers.of(Pod)
        self._expectations = Expectations(self.pods, lambda: asyncio.get_running_loop().time())
        # Pods whose tracking finalizer we took off, while the cache still shows it.
        self._stripped: defaultdict[Key, set[str]] = defaultdict(set)
        self.jobs.on_key(self.queue.add)
        self.pods.on_change(self._pod_changed)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            reference = pod and ownership.controller_of(pod)
            if reference and reference.kind_ == Job.KIND:
                self.queue.add(Key(key.tenant, key.namespace, reference.name))
        if new is not None and ownership.controller_of(new) is None:
            if TRACKING in new.metadata.finalizers:
                self.queue.add(Key(key.tenant, key.namespace, ""))
            for candidate in self.jobs.index_keys("namespace", namespace_index(key.tenant, key.namespace)):
                job = self.jobs.get(candidate)
                if job is not None and _selects(job)(new.metadata.labels):
                    self.queue.add(candidate)

    async def reconcile(self, key: Key) -> float | None:
        """A key without a name stands for the pods in its namespace that nobody counts any more."""
        job = self.jobs.get(key) if key.name else None
        if job is None:
            self._expectations.forget(key)
            self._stripped.pop(key, None)
            await self._free_strays(key)
            return None
        if not plan.is_ours(job):
            return None
        owned = await self._owned(key, job)
        if job.metadata.deletion_timestamp is not None or verdict.finished(job):
            await self._strip(key, [pod for pod in owned if TRACKING in pod.metadata.finalizers])
            return None
        decided = plan.decide(job, owned, self._still_shown(key, owned), times.now())
        if plan.differs(decided.status, job.status):
            await self.client.update_status(job.model_copy(update={"status": decided.status}), tenant=key.tenant)
            for event in decided.events:
                self.recorder.event(job, event.type, event.reason, event.message)
        await self._strip(key, decided.strip)
        if self._expectations.met(key):
            await self._carry_out(key, job, decided)
        return decided.again

    async def _owned(self, key: Key, job: Job) -> list[Pod]:
        candidates = self.pods.by_index("namespace", namespace_index(key.tenant, key.namespace))
        claimed = ownership.claim(job, _selects(job), candidates)
        if claimed.adopt and await self._still_there(key, job):
            for pod in claimed.adopt:
                adoption = ownership.adoption(job, pod)
                adoption.body["metadata"]["finalizers"] = [*plan.without_tracking(pod), TRACKING]
                claimed.owned.append(await carry_out_one(self.client, key.tenant, adoption))
        for pod in claimed.release:
            release = ownership.release(job, pod)
            await self._patch(key, release)
        return claimed.owned

    async def _still_there(self, key: Key, job: Job) -> bool:
        """Asked of the server: a Job that was deleted meanwhile, orphaning its pods, must not take them back."""
        try:
            live = await self.client.get(Job, key.name, namespace=key.namespace, tenant=key.tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                return False
            raise
        return live.metadata.uid == job.metadata.uid and live.metadata.deletion_timestamp is None

    def _still_shown(self, key: Key, owned: Sequence[Pod]) -> set[str]:
        shown = {pod.metadata.uid or "" for pod in owned if TRACKING in pod.metadata.finalizers}
        self._stripped[key] &= shown
        return self._stripped[key]

    async def _strip(self, key: Key, found: Sequence[Pod]) -> None:
        """Takes the tracking finalizer off. What the pods stand for is in the Job's status by now."""
        left = [pod for pod in found if pod.metadata.uid not in self._stripped[key]]
        for start in range(0, len(left), _AT_ONCE):
            group = left[start : start + _AT_ONCE]
            await asyncio.gather(*(self._patch(key, _without_tracking(pod)) for pod in group))
            self._stripped[key] |= {pod.metadata.uid or "" for pod in group}
        if left:
            self.queue.add(key)  # so that they are counted

    async def _patch(self, key: Key, patch: Patch) -> None:
        try:
            await carry_out_one(self.client, key.tenant, patch)
        except Exception as error:
            if not is_reason(error, "NotFound", "Conflict"):  # gone, or another of that name
                raise

    async def _free_strays(self, key: Key) -> None:
        """Pods of Jobs that are gone: nobody counts them, so nothing may keep them."""
        strays = []
        for pod in self.pods.by_index("namespace", namespace_index(key.tenant, key.namespace)):
            if TRACKING not in pod.metadata.finalizers:
                continue
            reference = ownership.controller_of(pod)
            if reference is None or (
                reference.kind_ == Job.KIND and not self.jobs.by_index("uid", uid_index(key.tenant, reference.uid))
            ):
                strays.append(pod)
        for pod in strays:
            await self._patch(key, _without_tracking(pod))

    async def _carry_out(self, key: Key, job: Job, decided: Plan) -> None:
        """Deletions, then creations in batches that double while all goes well. Raises the first failure."""
        writes: list[Write] = [Delete(pod) for pod in decided.delete]
        writes += [Create(plan.pod(job, asked)) for asked in decided.create]
        position = 0
        for size in batches(len(writes)):
            batch = writes[position : position + size]
            position += size
            results = await asyncio.gather(*(self._write(key, job, write) for write in batch))
            failure = next((result for result in results if result is not None), None)
            if failure is not None:
                raise failure

    async def _write(self, key: Key, job: Job, write: Write) -> Exception | None:
        verb, reason = ("creating", "FailedCreate") if isinstance(write, Create) else ("deleting", "FailedDelete")
        try:
            result = await carry_out_one(self.client, key.tenant, write)
        except REQUEST_ERRORS as error:
            if not has_cause(error, NAMESPACE_TERMINATING):
                self.recorder.event(job, "Warning", reason, f"Error {verb}: {error}")
            return error
        if isinstance(write, Create):
            self._expectations.created(key, result.metadata.resource_version)
            self.recorder.event(job, "Normal", "SuccessfulCreate", f"Created pod: {result.metadata.name}")
        elif isinstance(write, Delete):
            pod: Any = write.obj
            self._expectations.deleted(key, key_of(pod), pod.metadata.uid)
            self.recorder.event(job, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")
        return None


_AT_ONCE = 32  # finalizers taken off side by side


def _selects(job: Job) -> selectors.Selector:
    """A Job without a selector selects nothing; the API server gives every Job one."""
    if job.spec.selector is None:
        return lambda labels: False
    return selectors.from_object(job.spec.selector.to_dict())


def _without_tracking(pod: Pod) -> Patch:
    return Patch(pod, {"metadata": {"$deleteFromPrimitiveList/finalizers": [TRACKING]}})
