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
from hypernetes.api.models.networking_v1 import IPAddress, NetworkPolicy, ServiceCIDR
from hypernetes.api.models.policy_v1 import PodDisruptionBudget
from hypernetes.api.models.rbac_v1 import ClusterRole
from hypernetes.api.models.snapshot_v1 import VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent
from hypernetes.api.models.storage_v1 import StorageClass, VolumeAttachment, VolumeAttributesClass
from hypernetes.api.object import Object, tenant_of
from hypernetes.api.scheme import Resource
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.api.volumes import names
from hypernetes.client import Client, Informer, Key
from hypernetes.client.informer import Following
from hypernetes.client.metadata import MetadataInformer
from hypernetes.controllers.addresses import SERVICE_NAME_LABEL
from hypernetes.controllers.glimpses import PodGlimpse
from hypernetes.controllers.shard import Shard

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


def _tenant(policy: NetworkPolicy) -> Iterable[str]:
    return (tenant_of(policy),)


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
    NetworkPolicy: {"tenant": _tenant},
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

_GLIMPSES: dict[type[Object], Callable[[Mapping[str, Any]], Any]] = {Pod: PodGlimpse}


class Informers:
    """Made by `of` and `metadata` while controllers are constructed, then run together.

    They keep what the shard of this process needs. Controllers that work on the cluster as a whole get theirs from
    `elected`: what those ask for is kept of all tenants, in the process that is elected.
    """

    def __init__(self, client: Client, shard: Shard | None = None) -> None:
        self._client, self.shard = client, shard or Shard.of_everything()
        self._informers: dict[Resource, Informer[Any]] = {}
        self._metadata: MetadataInformer | None = None
        self._bootstrap_tokens: Informer[Secret] | None = None
        self._of_all_tenants: set[Resource] = set()

    @property
    def elected(self) -> "Informers":
        return _Elected(self)

    def acts_on(self, tenant: str) -> bool:
        """Whether a controller with these informers works for a tenant now."""
        return self.shard.acts_on(tenant)

    def may_act(self, tenant: str) -> bool:
        """Whether what it does for a tenant may go on (providers/fencing.py); for any thread."""
        return self.shard.held() and self.acts_on(tenant)

    def expects(self, tenant: str) -> bool:
        """Whether it does, or soon will."""
        return self.shard.expects(tenant)

    def of(self, model: type[T]) -> Informer[T]:
        resource = scheme.by_kind(model.API_VERSION, model.KIND)
        if resource not in self._informers:
            indexes = {**_COMMON, **_MODELS[model]}

            def accepts(key: Key) -> bool:
                if self.shard.elected and resource in self._of_all_tenants:
                    return True
                return self.shard.accepts(key.tenant, key.namespace)

            self._informers[resource] = Informer(
                self._client, model, indexes=indexes, accepts=accepts, glimpse=_GLIMPSES.get(model)
            )
        return self._informers[resource]

    def metadata(self) -> MetadataInformer:
        """Of all objects of all kinds."""
        if self._metadata is None:
            self._metadata = MetadataInformer(
                self._client, _COMMON, lambda item: self.shard.accepts(item.key.tenant, item.key.namespace)
            )
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

    def narrow(self) -> None:
        """Drops what the shard needs no longer."""
        for informer in self.used():
            informer.narrow()

    async def widen(self, *, tenants: bool, elected: bool) -> None:
        """Until all that the shard needs is there, read from now on, and controllers have been told what is new to
        them: the tenants that are given to it, and what the elected process has of all tenants."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                of_all = elected and informer.resource in self._of_all_tenants
                if tenants or of_all:
                    group.create_task(informer.widen(_everything if of_all else self._is_given))
            if self._metadata is not None and tenants:
                group.create_task(self._metadata.widen(lambda item: self._is_given(item.key)))

    def _is_given(self, key: Key) -> bool:
        """Objects that this process had anyway, and whose tenant it hasn't worked for so far."""
        return not self.shard.acts_on(key.tenant)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.used():
                group.create_task(informer.run())


class _Elected(Informers):
    """The same informers, as those see them that work on the cluster as a whole."""

    def __init__(self, base: Informers) -> None:
        self._base, self.shard = base, base.shard

    def acts_on(self, tenant: str) -> bool:
        return self.shard.elected_open

    def expects(self, tenant: str) -> bool:
        return self.shard.elected

    def of(self, model: type[T]) -> Informer[T]:
        informer = self._base.of(model)
        self._base._of_all_tenants.add(informer.resource)
        return informer

    def bootstrap_tokens(self) -> Informer[Secret]:
        return self._base.bootstrap_tokens()

    def metadata(self) -> MetadataInformer:
        raise NotImplementedError("all metadata of all tenants are too much for one process")

    def used(self) -> list[Following[Any, Any]]:
        return self._base.used()


def _everything(key: Key) -> bool:
    return True
