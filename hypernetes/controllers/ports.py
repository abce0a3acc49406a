"""Sweeps address claims (Ports) whose pod is gone.

The node's agent deletes a pod's Port itself, when the VM has ended. What is found here is what an agent left behind:
the pod was deleted by force, or the agent died between two steps. A while passes first, in which a VM may still run.
"""

import asyncio

from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.models.hypernetes_v1 import Port
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, uid_index
from hypernetes.controllers.writes import Delete, carry_out_one

_GRACE = 60.0  # seconds between a pod's disappearance and that of its claim


class Ports(Controller):
    name = "port"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder, grace: float = _GRACE) -> None:
        super().__init__(client, informers, recorder)
        self._grace = grace
        self._ports = informers.of(Port)
        self._pods = informers.of(Pod)
        self._orphaned: dict[Key, float] = {}  # since when (monotonic)
        self._ports.on_key(self.queue.add)
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            for port in self._ports.index_keys("pod", uid_index(key.tenant, old.metadata.uid)):
                self.queue.add(port)

    async def reconcile(self, key: Key) -> float | None:
        port = self._ports.get(key)
        if port is None or self._pods.index_keys("uid", uid_index(key.tenant, port.spec.pod_ref.uid)):
            self._orphaned.pop(key, None)
            return None
        now = asyncio.get_running_loop().time()
        left = self._orphaned.setdefault(key, now) + self._grace - now
        if left > 0:
            return left
        if not await self._pod_exists(key.tenant, port):
            await carry_out_one(self.client, key.tenant, Delete(port))
        self._orphaned.pop(key, None)
        return None

    async def _pod_exists(self, tenant: str, port: Port) -> bool:
        """Asked of the server: a cache can't prove an absence."""
        reference = port.spec.pod_ref
        try:
            pod = await self.client.get(Pod, reference.name or "", namespace=reference.namespace, tenant=tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                return False
            raise
        return pod.metadata.uid == reference.uid
