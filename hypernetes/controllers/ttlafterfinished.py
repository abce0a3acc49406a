"""Finished Jobs go when their spec.ttlSecondsAfterFinished are over, with all that they own."""

from datetime import datetime

from hypernetes.api import times
from hypernetes.api.models.batch_v1 import Job
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.writes import Delete, carry_out_one


def expires_in(job: Job, now: datetime) -> float | None:
    """Seconds, 0 for one that is over; None for a Job that stays."""
    ttl = job.spec.ttl_seconds_after_finished
    ends = [
        entry.last_transition_time
        for entry in job.status.conditions
        if entry.type in ("Complete", "Failed") and entry.status == "True" and entry.last_transition_time
    ]
    if ttl is None or not ends or job.metadata.deletion_timestamp is not None:
        return None
    return max(0.0, ttl - (now - times.parse_time(ends[0])).total_seconds())


class TtlAfterFinished(Controller):
    name = "ttl-after-finished"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.jobs = informers.of(Job)
        self.jobs.on_key(self.queue.add)

    async def reconcile(self, key: Key) -> float | None:
        job = self.jobs.get(key)
        left = None if job is None else expires_in(job, times.now())
        if job is None or left:
            return left
        if left == 0:
            await self._delete(key)
        return None

    async def _delete(self, key: Key) -> None:
        """Asked once more of the server: the TTL may have been taken back."""
        live = await self.client.get(Job, key.name, namespace=key.namespace, tenant=key.tenant)
        if expires_in(live, times.now()) == 0:
            await carry_out_one(self.client, key.tenant, Delete(live, propagation="Foreground"))
