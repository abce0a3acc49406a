"""A kubelet without machines: its node is ready, and its pods run at once."""

import asyncio
from typing import Any

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.object import tenant_of
from hypernetes.client import REQUEST_ERRORS, Client, Informer, Key, is_reason

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_RENEW_SECONDS = 5.0
_RETRY_SECONDS = 0.2
_CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "250"}
# The commands it knows; whatever else a container is told to do, it does for ever.
_EXIT_CODES = {"true": 0, "false": 1}


class HollowKubelet:
    """Binds every pod to its node, makes it Running and Ready, and ends those that are asked to end.

    A pod whose image has `broken` in its name never starts. One that runs `true` or `false` ends by itself.
    """

    def __init__(self, client: Client, node: str = "hollow") -> None:
        self._client, self._node = client, node
        self._pods: Informer[Pod] = Informer(client, Pod)
        self._keys: asyncio.Queue[Key] = asyncio.Queue()
        self._addresses: dict[str, str] = {}
        self._pods.on_key(self._keys.put_nowait)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._pods.run())
            group.create_task(self._work())

    async def _beat(self) -> None:
        registered = False
        while True:
            try:
                if not registered:
                    await self._register()
                    registered = True
                renewed = {"spec": {"renewTime": times.format_micro_time(times.now())}}
                await self._client.request(
                    "PATCH", f"{_LEASES}/{self._node}", json=renewed, content_type="application/merge-patch+json"
                )
            except REQUEST_ERRORS:  # the server is away
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await asyncio.sleep(_RENEW_SECONDS)

    async def _register(self) -> None:
        now = times.format_time(times.now())
        labels = {"kubernetes.io/hostname": self._node, "kubernetes.io/os": "linux"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._node, "labels": labels}}
        lease = {
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._node},
            "spec": {"holderIdentity": self._node, "leaseDurationSeconds": 40},
        }  # fmt: skip
        for path, body in (("/api/v1/nodes", node), (_LEASES, lease)):
            try:
                await self._client.request("POST", path, json=body)
            except REQUEST_ERRORS as error:
                if not is_reason(error, "AlreadyExists"):
                    raise
        ready = {
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "there is nothing to get ready",
            "lastTransitionTime": now, "lastHeartbeatTime": now,
        }  # fmt: skip
        status = {"capacity": _CAPACITY, "allocatable": _CAPACITY, "conditions": [ready]}
        await self._client.request(
            "PATCH", f"/api/v1/nodes/{self._node}/status", json={"status": status},
            content_type="application/merge-patch+json",
        )  # fmt: skip

    async def _work(self) -> None:
        while True:
            key = await self._keys.get()
            pod = self._pods.get(key)
            if pod is None:
                continue
            try:
                await self._look(key, pod)
            except REQUEST_ERRORS:
                # It changed, or the server is away: again, from the cache as it is then.
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._keys.put_nowait, key)

    async def _look(self, key: Key, pod: Pod) -> None:
        where: Any = {"namespace": key.namespace, "tenant": key.tenant}
        if pod.metadata.deletion_timestamp is not None:
            await self._client.delete(Pod, key.name, grace_seconds=0, uid=pod.metadata.uid, **where)
        elif not pod.spec.node_name:
            await self._client.bind(key.name, self._node, uid=pod.metadata.uid, **where)
        elif pod.status.phase in (None, "Pending") and "broken" not in (pod.spec.containers[0].image or ""):
            assert tenant_of(pod) == key.tenant
            status = self._status(pod)
            await self._client.patch(Pod, key.name, {"status": status}, subresource="status", **where)

    def _status(self, pod: Pod) -> dict[str, Any]:
        number = len(self._addresses)
        address = self._addresses.setdefault(pod.metadata.uid or "", f"10.0.{number // 250}.{number % 250 + 2}")
        now = times.format_time(times.now())
        command = pod.spec.containers[0].command or [""]
        code = _EXIT_CODES.get(command[0])
        state: dict[str, Any] = {"running": {"startedAt": now}}
        phase, ready = "Running", True
        if code is not None:
            reason = "Error" if code else "Completed"
            state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}}
            phase, ready = "Failed" if code else "Succeeded", False
        containers = [
            {
                "name": container.name, "image": container.image, "imageID": "", "restartCount": 0,
                "ready": ready, "started": ready, "state": state,
            }
            for container in pod.spec.containers
        ]  # fmt: skip
        return {
            "phase": phase, "podIP": address, "podIPs": [{"ip": address}], "startTime": now,
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": now}],
            "containerStatuses": containers,
        }  # fmt: skip
