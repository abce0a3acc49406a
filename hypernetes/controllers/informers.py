"""One informer per kind, for all tenants, shared by all controllers, and one of all kinds' metadata; their indexes."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from hypernetes.api import scheme
from hypernetes.api.models.apps_v1 import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from hypernetes.api.models.autoscaling_v2 import HorizontalPodAutoscaler
from hypernetes.api.models.batch_v1 import CronJob, Job
from hypernetes.api.models.certificates_v1 import CertificateSigningRequest
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
    Secret,
    Service,
    ServiceAccount,
)
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.api.models.hypernetes_v1 import Network, Port, Tenant
from hypernetes.api.models.networking_v1 import IPAddress, ServiceCIDR
from hypernetes.api.models.policy_v1 import PodDisruptionBudget
from hypernetes.api.models.rbac_v1 import ClusterRole
from hypernetes.api.models.snapshot_v1 import VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent
from hypernetes.api.models.storage_v1 import StorageClass, VolumeAttachment, VolumeAttributesClass
from hypernetes.api.object import Object, tenant_of
from hypernetes.api.scheme import Resource
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.api.volumes import names
from hypernetes.client import Client, Informer
from hypernetes.client.informer import Following
from hypernetes.client.metadata import MetadataInformer
from hypernetes.controllers.addresses import SERVICE_NAME_LABEL

BOOTSTRAP_TOKEN = "bootstrap.kubernetes.io/token"  # a type of Secrets

T = TypeVar("T", bound=Object)
Index = Callable[[Any], Iterable[str]]


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


def _project(tenant: Tenant) -> Iterable[str]:
    keystone = tenant.spec.identity.keystone if tenant.spec.identity is not None else None
    return (keystone.project_id,) if keystone is not None and keystone.project_id else ()


_COMMON: dict[str, Index] = {"namespace": _namespace, "uid": _uid, "owner": _owners}
_MODELS: dict[type[Object], dict[str, Index]] = {
    CertificateSigningRequest: {},
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
    PersistentVolumeClaim: {"class": names.index_class, "volume": names.index_volume_of_claim},
    Pod: {
        "controller": _controllers, "orphan": _orphan, "label": _labels, "node": _node,
        "claim": names.index_claims_of_pod, "storage": names.index_storage_of_pod,
    },
    Port: {"network": _network, "pod": _port_pod},
    ReplicaSet: {"controller": _controllers},
    StatefulSet: {},
    ServiceAccount: {},
    ReplicationController: {},
    PersistentVolume: {
        "claim": names.index_claim_of_volume, "class": names.index_class, "storage": names.index_storage_of_volume,
    },
    PodDisruptionBudget: {},
    ResourceQuota: {},
    Service: {"selector": _selector},
    ServiceCIDR: {},
    StorageClass: {},
    Tenant: {"project": _project},
    VolumeAttachment: {"storage": names.index_storage_of_attachment, "node": names.index_node_of_attachment},
    VolumeAttributesClass: {},
    VolumeSnapshot: {},
    VolumeSnapshotClass: {},
    VolumeSnapshotContent: {},
}  # fmt: skip


class Informers:
    """Made by `of` and `metadata` while controllers are constructed, then run together."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[Resource, Informer[Any]] = {}
        self._metadata: MetadataInformer | None = None
        self._bootstrap_tokens: Informer[Secret] | None = None

    def of(self, model: type[T]) -> Informer[T]:
        resource = scheme.by_kind(model.API_VERSION, model.KIND)
        if resource not in self._informers:
            indexes = {**_COMMON, **_MODELS[model]}
            self._informers[resource] = Informer(self._client, model, indexes=indexes)
        return self._informers[resource]

    def metadata(self) -> MetadataInformer:
        """Of all objects of all kinds."""
        if self._metadata is None:
            self._metadata = MetadataInformer(self._client, _COMMON)
        return self._metadata

    def bootstrap_tokens(self) -> Informer[Secret]:
        """Of all Secrets these alone: what tenants keep secret is nothing that controllers should hold."""
        if self._bootstrap_tokens is None:
            self._bootstrap_tokens = Informer(
                self._client, Secret, tenant=SYSTEM_TENANT, namespace="kube-system",
                field_selector=f"type={BOOTSTRAP_TOKEN}",
            )  # fmt: skip
        return self._bootstrap_tokens

    def used(self) -> list[Following[Any, Any]]:
        single = (self._metadata, self._bootstrap_tokens)
        return [*self._informers.values(), *(each for each in single if each is not None)]

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.used():
                group.create_task(informer.run())
