"""What the two controllers of Services' endpoints share: which Services a change of a pod concerns."""

from abc import abstractmethod

from hypernetes.api.models.core_v1 import Pod, Service
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers import addresses
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, label_index, labelled


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
        for pod in (old, new):
            if pod is not None:
                self._enqueue_services_of(key, pod)

    def _enqueue_services_of(self, key: Key, pod: Pod) -> None:
        for label in pod.metadata.labels.items():
            for service_key in self.services.index_keys("selector", label_index(key.tenant, key.namespace, *label)):
                service = self.services.get(service_key)
                if service is not None and addresses.is_managed(service) and addresses.selects(service, pod):
                    self.queue.add(service_key)

    async def reconcile(self, key: Key) -> float | None:
        service = self.services.get(key)
        if service is None or service.metadata.deletion_timestamp is not None:
            await self.remove(key)
        elif addresses.is_managed(service):
            candidates = labelled(self.pods, key.tenant, key.namespace, service.spec.selector)
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
