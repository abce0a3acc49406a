"""One informer per kind, for all tenants, shared by all controllers; and the indexes by which they are asked."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from hypernetes.api import scheme
from hypernetes.api.models.apps_v1 import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from hypernetes.api.models.autoscaling_v2 import HorizontalPodAutoscaler
from hypernetes.api.models.batch_v1 import CronJob, Job
from hypernetes.api.models.coordination_v1 import Lease
from hypernetes.api.models.core_v1 import (
    Endpoints,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    ReplicationController,
    ResourceQuota,
    Service,
    ServiceAccount,
)
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.api.models.hypernetes_v1 import Network, Port, Tenant
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.models.networking_v1 import IPAddress, ServiceCIDR
from hypernetes.api.models.policy_v1 import PodDisruptionBudget
from hypernetes.api.models.rbac_v1 import ClusterRole
from hypernetes.api.object import Object, tenant_of
from hypernetes.api.scheme import Resource
from hypernetes.client import Client, Informer
from hypernetes.controllers.addresses import SERVICE_NAME_LABEL

T = TypeVar("T", bound=Object)
Index = Callable[[Any], Iterable[str]]


class PartialObject(Object):
    """An object of any kind of which only the metadata matter."""

    metadata: ObjectMeta = ObjectMeta()


def namespace_index(tenant: str, namespace: str | None) -> str:
    """The value of index `namespace`; the namespace of a cluster-scoped object is ""."""
    return f"{tenant}/{namespace or ''}"


def uid_index(tenant: str, uid: str | None) -> str:
    """The value of the indexes `uid`, `owner`, `controller` and `pod`: a client of one tenant may claim any UID."""
    return f"{tenant}/{uid}"


def _namespace(obj: Any) -> Iterable[str]:
    return (namespace_index(tenant_of(obj), obj.metadata.namespace),)


def _uid(obj: Any) -> Iterable[str]:
    return (uid_index(tenant_of(obj), obj.metadata.uid),)


def _owners(obj: Any) -> Iterable[str]:
    return dict.fromkeys(uid_index(tenant_of(obj), owner.uid) for owner in obj.metadata.owner_references)


def _controllers(obj: Any) -> Iterable[str]:
    return (uid_index(tenant_of(obj), owner.uid) for owner in obj.metadata.owner_references if owner.controller)


def label_index(tenant: str, namespace: str | None, name: str, text: str) -> str:
    """The value of the indexes `label` (pods by each of their labels) and `selector` (services by one of theirs)."""
    return f"{tenant}/{namespace}/{name}={text}"


def labelled(pods: Informer[Pod], tenant: str, namespace: str | None, labels: Mapping[str, str]) -> list[Pod]:
    """The pods of a namespace that have all of these labels; all of its pods for none."""
    if not labels:
        return pods.by_index("namespace", namespace_index(tenant, namespace))
    indexes = [label_index(tenant, namespace, *label) for label in labels.items()]
    rarest = min(indexes, key=lambda index: pods.index_size("label", index))
    return [pod for pod in pods.by_index("label", rarest) if labels.items() <= pod.metadata.labels.items()]


def _labels(pod: Pod) -> Iterable[str]:
    return (label_index(tenant_of(pod), pod.metadata.namespace, *label) for label in pod.metadata.labels.items())


def _orphan(pod: Pod) -> Iterable[str]:
    """By namespace, those that nothing controls."""
    return () if any(owner.controller for owner in pod.metadata.owner_references) else _namespace(pod)


def _selector(service: Service) -> Iterable[str]:
    """One label that a pod behind it must have."""
    selector = service.spec.selector
    namespace = service.metadata.namespace
    return (label_index(tenant_of(service), namespace, *min(selector.items())),) if selector else ()


def _node(pod: Pod) -> Iterable[str]:
    return (pod.spec.node_name or "",)


def _service(obj: EndpointSlice) -> Iterable[str]:
    return (f"{tenant_of(obj)}/{obj.metadata.namespace}/{obj.metadata.labels.get(SERVICE_NAME_LABEL, '')}",)


def _network(port: Port) -> Iterable[str]:
    return (f"{tenant_of(port)}/{port.spec.network}",)


def _port_pod(port: Port) -> Iterable[str]:
    return (uid_index(tenant_of(port), port.spec.pod_ref.uid),)


_COMMON: dict[str, Index] = {"namespace": _namespace, "uid": _uid, "owner": _owners}
_MODELS: dict[type[Object], dict[str, Index]] = {
    ClusterRole: {},
    ControllerRevision: {"controller": _controllers},
    CronJob: {},
    DaemonSet: {},
    Deployment: {},
    EndpointSlice: {"service": _service},
    Endpoints: {},
    HorizontalPodAutoscaler: {},
    IPAddress: {},
    Job: {"controller": _controllers},
    Lease: {},
    Namespace: {},
    Network: {},
    Node: {},
    PersistentVolumeClaim: {},
    Pod: {"controller": _controllers, "orphan": _orphan, "label": _labels, "node": _node},
    Port: {"network": _network, "pod": _port_pod},
    ReplicaSet: {"controller": _controllers},
    StatefulSet: {},
    ServiceAccount: {},
    ReplicationController: {},
    PersistentVolume: {},
    PodDisruptionBudget: {},
    ResourceQuota: {},
    Service: {"selector": _selector},
    ServiceCIDR: {},
    Tenant: {},
}
# Events come and go by themselves, in numbers, and own nothing.
_NOT_FOLLOWED = frozenset({"Event"})


class Informers:
    """Made by `of` and `of_resource` while controllers are constructed, then run together."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[Resource, Informer[Any]] = {}

    def of(self, model: type[T]) -> Informer[T]:
        resource = scheme.by_kind(model.API_VERSION, model.KIND)
        if resource not in self._informers:
            indexes = {**_COMMON, **_MODELS[model]}
            self._informers[resource] = Informer(self._client, model, indexes=indexes)
        return self._informers[resource]

    def of_resource(self, resource: Resource) -> Informer[Any]:
        """For kinds without behaviour here: only their metadata are asked for and kept."""
        for model in _MODELS:
            if (resource.api_version, resource.kind) == (model.API_VERSION, model.KIND):
                return self.of(model)
        if resource not in self._informers:
            self._informers[resource] = Informer(
                self._client, PartialObject, resource=resource, metadata_only=True, indexes=_COMMON
            )
        return self._informers[resource]

    def all_kinds(self) -> list[Informer[Any]]:
        """One for each kind of stored object that can own or be owned."""
        return [self.of_resource(resource) for resource in owning_resources()]

    def used(self) -> list[Informer[Any]]:
        return list(self._informers.values())

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())


def owning_resources() -> list[Resource]:
    """Every served resource once (second names of the same objects left out), without those nobody owns."""
    return [
        resource
        for resource in scheme.served()
        if resource.stored is resource and {"list", "watch", "delete"} <= set(resource.verbs)
        and resource.kind not in _NOT_FOLLOWED
    ]  # fmt: skip
