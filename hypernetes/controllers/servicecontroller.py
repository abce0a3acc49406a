"""What the two controllers of Services' endpoints share: which Services a change of a pod concerns."""

from abc import abstractmethod

from hypernetes.api.models.core_v1 import Pod, Service
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers import addresses
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, namespace_index


class ServiceController(Controller):
    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.services = informers.of(Service)
        self.pods = informers.of(Pod)
        self.services.on_key(self.queue.add)
        self.pods.on_change(self._pod_changed)

    def _pod_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        if old is not None and new is not None and _facts(old) == _facts(new):
            return
        for service_key in self.services.index_keys("namespace", namespace_index(key.tenant, key.namespace)):
            service = self.services.get(service_key)
            if service is None or not addresses.is_managed(service):
                continue
            if any(pod is not None and addresses.selects(service, pod) for pod in (old, new)):
                self.queue.add(service_key)

    async def reconcile(self, key: Key) -> float | None:
        service = self.services.get(key)
        if service is None or service.metadata.deletion_timestamp is not None:
            await self.remove(key)
        elif addresses.is_managed(service):
            candidates = self.pods.by_index("namespace", namespace_index(key.tenant, key.namespace))
            await self.publish(key, service, addresses.backends(service, candidates))
        return None

    @abstractmethod
    async def publish(self, key: Key, service: Service, backends: list[addresses.Backend]) -> None:
        """Makes the objects of a Service say this."""

    @abstractmethod
    async def remove(self, key: Key) -> None:
        """Takes away what a Service that is gone has left."""


def _facts(pod: Pod) -> tuple[object, ...]:
    """All of a pod that endpoints are made of; most updates of a pod change none of it."""
    ready = [entry.status for entry in pod.status.conditions if entry.type == "Ready"]
    return (
        pod.metadata.uid, pod.metadata.labels, pod.metadata.deletion_timestamp is None, pod.status.pod_ip,
        pod.status.phase, ready, pod.spec.node_name,
    )  # fmt: skip
