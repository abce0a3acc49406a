"""Nodes that fall silent: noticed by their Lease, told as conditions and taints.

A node's agent renews a Lease in `kube-node-lease`. Whether it still does is measured from when we saw it change, since
the node's clock may be wrong; a new process therefore gives every node one whole grace period. What follows from the
taints for pods is `evictions.py`.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from hypernetes.api import times
from hypernetes.api.models.coordination_v1 import Lease
from hypernetes.api.models.core_v1 import Node, NodeCondition, Pod
from hypernetes.api.object import tenant_of
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers import pods, taints
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers

LEASE_NAMESPACE = "kube-node-lease"
_TOLD_BY_AGENT = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(frozen=True, slots=True)
class NodeTiming:
    """Seconds."""

    grace: float = 40.0  # of silence, until a node counts as unreachable
    check: float = 5.0  # between two looks


@dataclass(slots=True)
class _Sign:
    """The last sign of life, and when (our own monotonic clock) it came."""

    value: tuple[str | None, ...]
    since: float


def unknown_conditions(node: Node, stamp: str) -> list[NodeCondition]:
    """The node's conditions when nothing is heard of it any more."""
    conditions = {entry.type: entry for entry in node.status.conditions}
    for type in _TOLD_BY_AGENT:
        old = conditions.get(type)
        if old is not None and old.status == "Unknown":
            continue
        conditions[type] = NodeCondition(
            type=type,
            status="Unknown",
            reason="NodeStatusUnknown" if old is not None else "NodeStatusNeverUpdated",
            message="Kubelet stopped posting node status." if old is not None else "Kubelet never posted node status.",
            last_heartbeat_time=old.last_heartbeat_time if old is not None else node.metadata.creation_timestamp,
            last_transition_time=stamp,
        )
    return list(conditions.values())


def not_ready(pod: Pod, stamp: str) -> Pod:
    """The pod with Ready False, for a node of which nothing is heard; itself if it isn't ready anyway."""
    if not pods.is_ready(pod):
        return pod
    conditions = [
        entry.model_copy(update={"status": "False", "last_transition_time": stamp, "reason": "NodeNotReady"})
        if entry.type == "Ready"
        else entry
        for entry in pod.status.conditions
    ]
    return pod.model_copy(update={"status": pod.status.model_copy(update={"conditions": conditions})})


class NodeLifecycle(Controller):
    name = "nodelifecycle"

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, timing: NodeTiming | None = None
    ) -> None:
        super().__init__(client, informers, recorder)
        self._timing = timing or NodeTiming()
        self._nodes = informers.of(Node)
        self._leases = informers.of(Lease)
        self._pods = informers.of(Pod)
        self._signs: dict[Key, _Sign] = {}
        self._nodes.on_key(self._node_changed)

    def _node_changed(self, key: Key) -> None:
        if key.tenant == SYSTEM_TENANT:
            self.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            self._signs.pop(key, None)
            return None
        stamp = times.format_time(times.now())
        silent = self._silence(key, node)
        if silent >= self._timing.grace:
            node = await self._tell_unknown(key, node, stamp)
        wanted = taints.wanted(node, stamp)
        if wanted != node.spec.taints:
            spec = node.spec.model_copy(update={"taints": wanted})
            node = await self.client.update(node.model_copy(update={"spec": spec}), tenant=SYSTEM_TENANT)
        ready = taints.condition(node, "Ready")
        if ready is not None and ready.status == "Unknown":
            await self._mark_pods(key.name, stamp)
        # A second more than what is left, so that the next look finds the grace period over.
        left = self._timing.grace - silent
        return self._timing.check if left <= 0 else min(self._timing.check, left + 1)

    def _silence(self, key: Key, node: Node) -> float:
        """Seconds since the node last gave a sign of life."""
        now = asyncio.get_running_loop().time()
        lease = self._leases.get(Key(SYSTEM_TENANT, LEASE_NAMESPACE, key.name))
        ready = taints.condition(node, "Ready")
        told_by_us = ready is not None and ready.status == "Unknown"
        sign = (
            lease.spec.renew_time if lease is not None else None,
            # Our own verdict in the condition is no sign of the node.
            None if ready is None or told_by_us else ready.last_heartbeat_time,
        )
        former = self._signs.get(key)
        if former is None or (former.value != sign and not (told_by_us and former.value[0] == sign[0])):
            self._signs[key] = _Sign(sign, now)
            return 0.0
        return now - former.since

    async def _tell_unknown(self, key: Key, node: Node, stamp: str) -> Node:
        wanted = unknown_conditions(node, stamp)
        if wanted == node.status.conditions:
            return node
        if taints.is_ready(node):
            self.recorder.event(node, "Normal", "NodeNotReady", f"Node {key.name} status is now: NodeNotReady")
        status = node.status.model_copy(update={"conditions": wanted})
        return await self.client.update_status(node.model_copy(update={"status": status}), tenant=SYSTEM_TENANT)

    async def _mark_pods(self, node: str, stamp: str) -> None:
        """So that Services stop sending connections there."""
        for pod in self._pods.by_index("node", node):
            marked: Any = not_ready(pod, stamp)
            if marked is pod:
                continue
            try:
                await self.client.update_status(marked, tenant=tenant_of(pod))
            except Exception as error:
                if not is_reason(error, "NotFound", "Conflict"):
                    raise
