"""Which pods stand behind a Service, at which address and ports: what Endpoints and EndpointSlices are both made of."""

from collections.abc import Iterable
from dataclasses import dataclass

from hypernetes.api.models.core_v1 import Container, ContainerPort, ObjectReference, Pod, Service, ServicePort
from hypernetes.controllers import pods

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """One port of a Service, resolved for a pod."""

    name: str
    number: int
    protocol: str
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """One pod behind a Service."""

    address: str
    ports: tuple[Port, ...]
    ready: bool  # takes new connections
    serving: bool  # would, if it weren't terminating
    terminating: bool
    pod_name: str
    pod_uid: str
    namespace: str
    node_name: str | None
    hostname: str | None

    def reference(self) -> ObjectReference:
        return ObjectReference(kind_="Pod", namespace=self.namespace, name=self.pod_name, uid=self.pod_uid)


def is_managed(service: Service) -> bool:
    """Without a selector a Service's endpoints are its author's business."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def is_headless(service: Service) -> bool:
    return service.spec.cluster_ip == "None"


def selects(service: Service, pod: Pod) -> bool:
    return service.spec.selector.items() <= pod.metadata.labels.items()


def backends(service: Service, candidates: Iterable[Pod]) -> list[Backend]:
    """In the order of names. Pods without an address and finished ones are none; terminating ones are told as such."""
    found = [
        _backend(service, pod)
        for pod in candidates
        if selects(service, pod) and pod.status.pod_ip and not pods.is_finished(pod)
    ]
    return sorted(found, key=lambda backend: backend.pod_name)


def _backend(service: Service, pod: Pod) -> Backend:
    terminating = pod.metadata.deletion_timestamp is not None
    serving = pods.is_ready(pod)
    published = bool(service.spec.publish_not_ready_addresses)
    hostname = pod.spec.hostname if pod.spec.subdomain == service.metadata.name else None
    return Backend(
        address=pod.status.pod_ip or "",
        ports=tuple(resolved for port in service.spec.ports if (resolved := resolve(port, pod)) is not None),
        ready=published or (serving and not terminating),
        serving=serving,
        terminating=terminating,
        pod_name=pod.metadata.name or "",
        pod_uid=pod.metadata.uid or "",
        namespace=pod.metadata.namespace or "",
        node_name=pod.spec.node_name,
        hostname=hostname,
    )


def resolve(port: ServicePort, pod: Pod) -> Port | None:
    """None where the port is named and the pod has no port of that name and protocol."""
    protocol = port.protocol or "TCP"
    target = port.target_port if port.target_port not in (None, 0, "") else port.port
    if isinstance(target, str):
        named = _named(pod, target, protocol)
        if named is None:
            return None
        target = named.container_port
    return Port(port.name or "", target, protocol, port.app_protocol or "")


def _named(pod: Pod, name: str, protocol: str) -> ContainerPort | None:
    for container in [*pod.spec.containers, *_sidecars(pod)]:
        for port in container.ports:
            if port.name == name and (port.protocol or "TCP") == protocol:
                return port
    return None


def _sidecars(pod: Pod) -> list[Container]:
    """Init containers that keep running."""
    return [container for container in pod.spec.init_containers if container.restart_policy == "Always"]
