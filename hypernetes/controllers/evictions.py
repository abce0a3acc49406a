"""Pods leave nodes whose NoExecute taints they don't tolerate (any longer).

While no node at all is ready, nobody is evicted: then it is likelier that we are cut off than that all nodes are lost,
and there is nowhere to go. Pods of a node that doesn't exist any more are deleted at once, since nothing would ever
confirm their end; and so are those that are to leave a node that its administrator has declared out of service.

Each is told before by its condition DisruptionTarget that it doesn't end by itself (KEP-3329).
"""

import asyncio
from typing import Any

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Node, Pod, PodCondition
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers import pods, taints
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers

_ORPHAN_GRACE = 40.0  # seconds between a node's disappearance and that of its pods (upstream's number)
_NO_NODE_READY = 10.0  # seconds until the next look
_BY_TAINT = "Taint manager: deleting due to NoExecute taint"


def _place_and_end(pod: Pod) -> tuple[str | None, bool]:
    return pod.spec.node_name, pod.metadata.deletion_timestamp is not None


def _disrupted(reason: str, message: str) -> PodCondition:
    stamp = times.format_time(times.now())
    return PodCondition(
        type="DisruptionTarget", status="True", reason=reason, message=message, last_transition_time=stamp
    )


class Evictions(Controller):
    name = "eviction"

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder,
        default_toleration: float = taints.DEFAULT_TOLERATION, orphan_grace: float = _ORPHAN_GRACE,
    ) -> None:  # fmt: skip
        super().__init__(client, informers, recorder)
        self._default_toleration, self._orphan_grace = default_toleration, orphan_grace
        self._nodes = informers.of(Node)
        self._pods = informers.of(Pod)
        self._orphaned: dict[Key, float] = {}  # pods without a node, and since when (monotonic)
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)

    def _node_changed(self, key: Key, old: Node | None, new: Node | None) -> None:
        if key.tenant == SYSTEM_TENANT and (
            old is None
            or new is None
            or old.spec.taints != new.spec.taints
            or taints.is_out_of_service(old) != taints.is_out_of_service(new)
        ):
            for pod in self._pods.index_keys("node", key.name):
                self.queue.add(pod)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            self._orphaned.pop(key, None)
        elif new.spec.node_name and (old is None or _place_and_end(old) != _place_and_end(new)):
            self.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(key)
        if pod is None or not pod.spec.node_name:
            return None
        node = self._nodes.get(Key(SYSTEM_TENANT, "", pod.spec.node_name))
        if node is None:
            return await self._collect(key, pod)
        self._orphaned.pop(key, None)
        if pod.metadata.deletion_timestamp is not None and taints.is_out_of_service(node):
            await self._force(key, pod, None)
            return None
        if not pods.is_active(pod):
            return None
        moment = taints.evict_at(pod, node, self._default_toleration)
        if moment is None:
            return None
        left = (moment - times.now()).total_seconds()
        if left > 0:
            return left
        if not any(taints.is_ready(entry) for _, entry in self._nodes.items()):
            return _NO_NODE_READY
        self.recorder.event(
            pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key.namespace}/{key.name}"
        )
        await self._tell(key, pods.with_condition(pod, _disrupted("DeletionByTaintManager", _BY_TAINT)))
        await self._delete(key, pod, None)
        return None

    async def _collect(self, key: Key, pod: Any) -> float | None:
        now = asyncio.get_running_loop().time()
        left = self._orphaned.setdefault(key, now) + self._orphan_grace - now
        if left > 0:
            return left
        try:
            await self.client.get(Node, pod.spec.node_name, tenant=SYSTEM_TENANT)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
            await self._force(key, pod, _disrupted("DeletionByPodGC", "PodGC: node no longer exists"))
        self._orphaned.pop(key, None)
        return None

    async def _force(self, key: Key, pod: Pod, told: PodCondition | None) -> None:
        """Without an agent's word for its end: the pod has failed, and is gone."""
        ended: Any = pod if told is None else pods.with_condition(pod, told)
        if not pods.is_finished(pod):
            ended = ended.model_copy(update={"status": ended.status.model_copy(update={"phase": "Failed"})})
        await self._tell(key, ended)
        await self._delete(key, pod, 0)

    async def _tell(self, key: Key, pod: Any) -> None:
        """Raises what the client raises: of a Conflict it is tried again, with the pod as it is by then."""
        try:
            await self.client.update_status(pod, tenant=key.tenant)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise

    async def _delete(self, key: Key, pod: Pod, grace_seconds: int | None) -> None:
        try:
            await self.client.delete(
                Pod, key.name, namespace=key.namespace, tenant=key.tenant, uid=pod.metadata.uid,
                grace_seconds=grace_seconds,
            )  # fmt: skip
        except Exception as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise
