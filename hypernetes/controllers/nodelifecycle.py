"""Nodes that fall silent: noticed by their Lease, told as conditions and taints.

A node's agent renews a Lease in `kube-node-lease`. Whether it still does is measured from when we saw it change, since
the node's clock may be wrong; a new process therefore gives every node one whole grace period. That a lost node is to
be emptied is said by a taint, at the pace of `zones.py`. What follows from the taints for pods is `evictions.py`.
"""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

from hypernetes.api import times
from hypernetes.api.models.coordination_v1 import Lease
from hypernetes.api.models.core_v1 import Node, NodeCondition, Pod, Taint
from hypernetes.api.object import tenant_of
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers import pods, taints, zones
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers

LEASE_NAMESPACE = "kube-node-lease"
_TOLD_BY_AGENT = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(frozen=True, slots=True)
class NodeTiming:
    """Seconds."""

    grace: float = 40.0  # of silence, until a node counts as unreachable
    check: float = 5.0  # between two looks
    rates: zones.Rates = field(default_factory=zones.Rates)


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
        self._lost: dict[str, float] = {}  # nodes that are to be emptied, and since when
        self._census, self._pace = zones.Census(), zones.Pace()
        self._nodes.on_change(self._node_changed)

    def _node_changed(self, key: Key, old: Node | None, new: Node | None) -> None:
        if key.tenant != SYSTEM_TENANT:
            return
        if new is None:
            self._census.remove(key.name)
            self._lost.pop(key.name, None)
        else:
            self._census.put(key.name, zones.zone_of(new), taints.is_ready(new))
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
        node, turn = await self._taint(node, stamp)
        ready = taints.condition(node, "Ready")
        if ready is not None and ready.status == "Unknown":
            await self._mark_pods(key.name, stamp)
        # A second more than what is left, so that the next look finds the grace period over.
        left = self._timing.grace - silent
        return min(turn, self._timing.check) if left <= 0 else min(turn, self._timing.check, left + 1)

    async def _taint(self, node: Node, stamp: str) -> tuple[Node, float]:
        """The node as it is then, and the seconds until it may be its turn to be emptied (infinite: no question)."""
        if taints.is_ready(node) or taints.is_being_emptied(node):
            self._lost.pop(node.metadata.name or "", None)
            wanted = taints.wanted(node, stamp, emptied=not self._census.all_lost)
            return await self._set_taints(node, wanted), math.inf
        zone, now = zones.zone_of(node), asyncio.get_running_loop().time()
        # It may be the first of many: what its zone's state is, shows when all have been looked at once more.
        since = self._lost.setdefault(node.metadata.name or "", now)
        if left := max(0.0, since + self._timing.check - now):
            return await self._set_taints(node, taints.wanted(node, stamp, emptied=False)), left
        if turn := self._pace.wait(zone, self._census.rate(zone, self._timing.rates), now):
            return await self._set_taints(node, taints.wanted(node, stamp, emptied=False)), turn
        former = self._pace.take(zone, now)
        try:
            return await self._set_taints(node, taints.wanted(node, stamp, emptied=True)), math.inf
        except BaseException:
            self._pace.give_back(zone, former)
            raise

    async def _set_taints(self, node: Node, wanted: list[Taint]) -> Node:
        if wanted == node.spec.taints:
            return node
        spec = node.spec.model_copy(update={"taints": wanted})
        return await self.client.update(node.model_copy(update={"spec": spec}), tenant=SYSTEM_TENANT)

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
