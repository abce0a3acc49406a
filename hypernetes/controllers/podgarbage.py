"""Finished pods that nobody cleans up, and deleted ones that were never placed.

What ended and has no owner that would delete it stays, so that its logs can be read, until a tenant has too many; then
the oldest go. A pod that was deleted before it had a node has no agent that could confirm its end.
"""

from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers import pods
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.writes import Delete, carry_out, carry_out_one

FINISHED_MAX = 1_000  # of one tenant; upstream keeps 12,500 of a whole cluster
LOOK_SECONDS = 20.0


def superfluous(finished: list[Pod], limit: int) -> list[Pod]:
    """The oldest beyond the limit."""
    there = [pod for pod in finished if pod.metadata.deletion_timestamp is None]
    by_age = sorted(there, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name or ""))
    return by_age[: max(0, len(by_age) - limit)]


class PodGarbage(Controller):
    """Keys are tenants (`Key(tenant, "", "")`), and pods that wait to go."""

    name = "podgc"

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, limit: int = FINISHED_MAX
    ) -> None:
        super().__init__(client, informers, recorder)
        self._limit = limit
        self._finished: dict[str, set[Key]] = {}  # by tenant
        self.pods = informers.of(Pod)
        self.pods.on_change(self._changed)

    def _changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        finished = self._finished.setdefault(key.tenant, set())
        if new is not None and pods.is_finished(new):
            finished.add(key)
            if len(finished) > self._limit:
                self.queue.add_after(Key(key.tenant, "", ""), LOOK_SECONDS)
        else:
            finished.discard(key)
            if not finished:
                del self._finished[key.tenant]
        if new is not None and new.metadata.deletion_timestamp is not None and not new.spec.node_name:
            self.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        if key.name:
            pod = self.pods.get(key)
            if pod is not None and pod.metadata.deletion_timestamp is not None and not pod.spec.node_name:
                await carry_out_one(self.client, key.tenant, Delete(pod, grace_seconds=0))
            return None
        known = [self.pods.get(each) for each in self._finished.get(key.tenant, ())]
        gone = superfluous([pod for pod in known if pod is not None], self._limit)
        await carry_out(self.client, key.tenant, map(Delete, gone))
        return None
