"""ResourceQuotas: what their author bounds comes into force, and what is used is counted now and then.

hn-apiserver keeps the usage with every write. Asked to bound something whose usage it isn't told, it counts; so this
writes `status.hard` alone. A write that began before a quota was in force isn't in the first count: the second, a
little later, finds it.
"""

from hypernetes.api.models.core_v1 import ResourceQuota
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers

_SECOND_COUNT_SECONDS = 15.0  # longer than any write takes
_COUNT_SECONDS = 300.0  # between two counts; upstream's figure for its resynchronisation


class ResourceQuotas(Controller):
    name = "resourcequota"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._quotas = informers.of(ResourceQuota)
        self._quotas.on_change(self._changed)

    def _changed(self, key: Key, old: ResourceQuota | None, new: ResourceQuota | None) -> None:
        """Usage changes all the time, and is none of our business."""
        if new is not None and (old is None or new.spec != old.spec or not in_force(new)):
            self.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        quota = self._quotas.get(key)
        if quota is None or quota.metadata.deletion_timestamp is not None:
            return None
        again = _COUNT_SECONDS if in_force(quota) else _SECOND_COUNT_SECONDS
        dropped = dict.fromkeys(quota.status.hard.keys() - quota.spec.hard.keys())
        status = {"hard": {**quota.spec.hard, **dropped}, "used": None}
        body = {"metadata": {"uid": quota.metadata.uid}, "status": status}
        try:
            await self.client.patch(
                ResourceQuota, key.name, body, namespace=key.namespace, tenant=key.tenant, subresource="status"
            )
        except Exception as error:
            if is_reason(error, "NotFound"):
                return None
            raise
        return again


def in_force(quota: ResourceQuota) -> bool:
    """Whether what is bounded is what its author wants bounded."""
    return quota.status.hard == quota.spec.hard and quota.status.used.keys() == quota.spec.hard.keys()
