"""What each node has to do with: its pods, and what those name. From the mirror's pods, by `spec.nodeName`.

    node ─► pods bound to it ─► their secrets, config maps, claims, service account (and its pull secrets), network

A pod counts from its binding until it is gone. What a pod names is read from it when somebody first asks, and again
when the pod has changed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.apiserver.authz.attributes import Attributes
from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.mirror import Entry, Event, Mirror

Object = dict[str, Any]

_PODS = scheme.by_name("v1", "pods")
_ACCOUNTS = scheme.by_name("v1", "serviceaccounts")
_PORTS = scheme.by_name("hypernetes.io/v1", "ports")
_NODE_VOLUMES = scheme.by_name("hypernetes.io/v1", "nodevolumes")
_ATTACHMENTS = scheme.by_name("storage.k8s.io/v1", "volumeattachments")
_MAY_BE_GONE = {each.name: each for each in (_PODS, _PORTS, _NODE_VOLUMES)}
_CLAIMS = scheme.by_name("v1", "persistentvolumeclaims")


@dataclass(frozen=True, slots=True)
class References:
    """The names that a pod's spec holds, all in its own namespace."""

    secrets: frozenset[str]
    config_maps: frozenset[str]
    claims: frozenset[str]
    account: str


class _Pod:
    __slots__ = ("_references", "entry")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._references: References | None = None

    @property
    def references(self) -> References:
        if self._references is None:
            self._references = references(orjson.loads(self.entry.data))
        return self._references


class NodeGraph:
    """Tell it every event of the mirror, and when the mirror has been loaded anew."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._pods: defaultdict[str, dict[ObjectKey, _Pod]] = defaultdict(dict)
        self._loaded = False

    def reset(self) -> None:
        self._pods.clear()
        self._loaded = False

    def observe(self, events: Iterable[Event]) -> None:
        if not self._loaded:
            return
        for event in events:
            key = event.name
            if key.resource != _PODS.name or key.group != "core":
                continue
            if event.previous is not None:
                self._forget(key, event.previous.node)
            if event.entry is not None:
                self._put(key, event.entry)

    def pod(self, node: str, tenant: str, namespace: str, name: str) -> Entry | None:
        """The pod of this name, if it is bound to the node."""
        found = self._of(node).get(ObjectKey("core", _PODS.name, tenant, namespace, name))
        return None if found is None else found.entry

    def exists(self, tenant: str, asked: Attributes) -> bool:
        """Whether there is such a pod, port or volume of a node at all."""
        return self._mirror.object(_MAY_BE_GONE[asked.resource], tenant, asked.namespace, asked.name) is not None

    def port_node(self, tenant: str, name: str) -> str | None:
        """The node whose pod has this Port; None where there is none."""
        return self._node_name(_PORTS, tenant, name)

    def volume_node(self, tenant: str, name: str) -> str | None:
        """The node that keeps this NodeVolume; None where there is none."""
        return self._node_name(_NODE_VOLUMES, tenant, name)

    def attachment_node(self, tenant: str, name: str) -> str | None:
        """The node that this VolumeAttachment is of; None where there is none."""
        return self._node_name(_ATTACHMENTS, tenant, name)

    def _node_name(self, resource: scheme.Resource, tenant: str, name: str) -> str | None:
        entry = self._mirror.object(resource, tenant, "", name)
        return None if entry is None else (orjson.loads(entry.data).get("spec") or {}).get("nodeName")

    def has_tenant(self, node: str, tenant: str) -> bool:
        """Whether the node has a pod of the tenant."""
        return any(key.tenant == tenant for key in self._of(node))

    def has_namespace(self, node: str, tenant: str, namespace: str) -> bool:
        return any((key.tenant, key.namespace) == (tenant, namespace) for key in self._of(node))

    def names_secret(self, node: str, tenant: str, namespace: str, name: str) -> bool:
        found = list(self._references(node, tenant, namespace))
        if any(name in each.secrets for each in found):
            return True
        accounts = {each.account for each in found}
        return any(name in self._pull_secrets(tenant, namespace, account) for account in accounts)

    def names_config_map(self, node: str, tenant: str, namespace: str, name: str) -> bool:
        return self._names(node, tenant, namespace, lambda found: name in found.config_maps)

    def names_claim(self, node: str, tenant: str, namespace: str, name: str) -> bool:
        return self._names(node, tenant, namespace, lambda found: name in found.claims)

    def names_account(self, node: str, tenant: str, namespace: str, name: str) -> bool:
        return self._names(node, tenant, namespace, lambda found: found.account == name)

    def names_volume(self, node: str, tenant: str, name: str) -> bool:
        """Whether a claim that a pod of the node names is bound to this PersistentVolume."""
        for key, pod in self._of(node).items():
            if key.tenant != tenant:
                continue
            for claim in pod.references.claims:
                entry = self._mirror.object(_CLAIMS, tenant, key.namespace, claim)
                if entry is not None and orjson.loads(entry.data)["spec"].get("volumeName") == name:
                    return True
        return False

    def _names(self, node: str, tenant: str, namespace: str, wanted: Callable[[References], bool]) -> bool:
        return any(wanted(found) for found in self._references(node, tenant, namespace))

    def _references(self, node: str, tenant: str, namespace: str) -> Iterator[References]:
        for key, pod in self._of(node).items():
            if key.tenant == tenant and key.namespace == namespace:
                yield pod.references

    def _pull_secrets(self, tenant: str, namespace: str, account: str) -> frozenset[str]:
        entry = self._mirror.object(_ACCOUNTS, tenant, namespace, account)
        if entry is None:
            return frozenset()
        secrets = orjson.loads(entry.data).get("imagePullSecrets") or ()
        return frozenset(secret["name"] for secret in secrets if secret.get("name"))

    def _of(self, node: str) -> dict[ObjectKey, _Pod]:
        if not self._loaded:
            self._loaded = True
            for entry in self._mirror.range(self._mirror.keys.range(_PODS)):
                assert entry.name is not None
                self._put(entry.name, entry)
        return self._pods.get(node, {})

    def _put(self, key: ObjectKey, entry: Entry) -> None:
        node = entry.node
        if node:
            self._pods[node][key] = _Pod(entry)

    def _forget(self, key: ObjectKey, node: str) -> None:
        pods = self._pods.get(node, {})
        pods.pop(key, None)
        if not pods:
            self._pods.pop(node, None)


def references(pod: Object) -> References:
    """What a pod's spec names: by volumes, environment, pull secrets and account."""
    spec = pod.get("spec") or {}
    secrets, config_maps, claims = set[str](), set[str](), set[str]()
    secrets.update(_name(each) for each in spec.get("imagePullSecrets") or ())
    for volume in spec.get("volumes") or ():
        claims.add(_name(volume.get("persistentVolumeClaim"), "claimName"))
        if "ephemeral" in volume:
            claims.add(f"{pod['metadata']['name']}-{volume['name']}")
        _of_source(volume, "secretName", secrets, config_maps)
        for source in (volume.get("projected") or {}).get("sources") or ():
            _of_source(source, "name", secrets, config_maps)
        for driver in ("csi", "flexVolume", "cephfs", "rbd", "iscsi", "scaleIO", "storageos"):
            for key in ("secretRef", "nodePublishSecretRef"):
                secrets.add(_name((volume.get(driver) or {}).get(key)))
        secrets.add(_name(volume.get("azureFile"), "secretName"))
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            _of_environment(container, secrets, config_maps)
    for names in (secrets, config_maps, claims):
        names.discard("")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    return References(frozenset(secrets), frozenset(config_maps), frozenset(claims), account)


def _of_source(source: Object, secret_key: str, secrets: set[str], config_maps: set[str]) -> None:
    secrets.add(_name(source.get("secret"), secret_key))
    config_maps.add(_name(source.get("configMap")))


def _of_environment(container: Object, secrets: set[str], config_maps: set[str]) -> None:
    for source in container.get("envFrom") or ():
        secrets.add(_name(source.get("secretRef")))
        config_maps.add(_name(source.get("configMapRef")))
    for variable in container.get("env") or ():
        origin = variable.get("valueFrom") or {}
        secrets.add(_name(origin.get("secretKeyRef")))
        config_maps.add(_name(origin.get("configMapKeyRef")))


def _name(reference: Object | None, key: str = "name") -> str:
    return (reference or {}).get(key) or ""
