"""The objects that lead to a pod: the service, its slices, the pod, its node."""

from typing import Any

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import codec
from hypernetes.apiserver.dialer import Agent
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.objects import Place, missing
from hypernetes.apiserver.proxy.targets import PodPort, Target, of_service

Object = dict[str, Any]

PODS = scheme.by_name("v1", "pods")
SERVICES = scheme.by_name("v1", "services")
SLICES = scheme.by_name("discovery.k8s.io/v1", "endpointslices")
NODES = scheme.by_name("v1", "nodes")
SERVICE_NAME = "kubernetes.io/service-name"


def find(mirror: Mirror, resource: scheme.Resource, tenant: str, namespace: str, name: str) -> Object:
    """Raises StatusError 404."""
    entry = mirror.object(resource, tenant, namespace, name)
    if entry is None:
        raise missing(Place(resource, tenant, namespace, name))
    return codec.decode(entry.data, entry.revision)


def endpoint(mirror: Mirror, tenant: str, namespace: str, target: Target) -> PodPort:
    """One of a service's ready pods. Raises StatusError: 404, 503 while there is none."""
    service = find(mirror, SERVICES, tenant, namespace, target.name)
    entries = mirror.range(mirror.keys.range(SLICES, tenant, namespace))
    slices = (
        codec.decode(entry.data, entry.revision) for entry in entries if entry.labels.get(SERVICE_NAME) == target.name
    )
    return of_service(target, service, slices)


def agent(mirror: Mirror, node: str) -> Agent:
    """Raises StatusError 503 where it can't be reached."""
    entry = mirror.object(NODES, SYSTEM_TENANT, "", node)
    return Agent.of(None if entry is None else codec.decode(entry.data, entry.revision), node)


def pod(mirror: Mirror, tenant: str, namespace: str, port: PodPort) -> Object:
    """`port.uid` says which pod the endpoint meant: another of its name isn't asked. Raises StatusError."""
    found = find(mirror, PODS, tenant, namespace, port.pod)
    if port.uid and port.uid != found["metadata"]["uid"]:
        raise StatusError("ServiceUnavailable", f'pod "{port.pod}" is another one by now; try again')
    return found


def way(tenant: str, namespace: str, port: PodPort) -> list[str]:
    """The path at the agent that leads to the pod's port."""
    return ["forward", tenant, namespace, port.pod, str(port.port)]
