"""What follows from other objects, and so needs not be stored in every tenant.

    Namespace                   ─► ConfigMap kube-root-ca.crt, with the cluster's authority
    Namespace kube-system       ─► ConfigMap extension-apiserver-authentication, by which servers that extend the API
                                   know hn-apiserver's requests, and the Role of those that may read it
    Service default/kubernetes  ─► EndpointSlice kubernetes, and the IPAddress of its address

It is made from its source when somebody reads it: there as soon as that is, at that one's revision, and gone with it
(of a namespace: when it begins to end). Its UID follows from the source's. So every server shows the same, whenever it
started.

A client's change of it is stored, and then shown in its place; the authority stays all the same, as upstream's
controller sees to. Deleting it makes another at once, with a UID of its own, which comes to the same as upstream.
"""

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource
from hypernetes.apiserver import codec
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Entry, Mirror
from hypernetes.apiserver.objects import Place
from hypernetes.apiserver.registry import addresses, services

Object = dict[str, Any]
Make = Callable[[Object], Object]

ROOT = "kube-root-ca.crt"
_DESCRIPTION = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using "
    "internal endpoints such as the internal service IP or kubernetes.default.svc."
}
_API_NAMESPACE, _API = "default", "kubernetes"
_SYSTEM_NAMESPACE, EXTENSIONS = "kube-system", "extension-apiserver-authentication"
_READER = f"{EXTENSIONS}-reader"
_NAMESPACES = scheme.by_name("v1", "namespaces")
_SERVICES = scheme.by_name("v1", "services")
_CONFIG_MAPS = scheme.by_name("v1", "configmaps")
_ROLES = scheme.by_name("rbac.authorization.k8s.io/v1", "roles")
_SLICES = scheme.by_name("discovery.k8s.io/v1", "endpointslices")
_ADDRESSES = scheme.by_name("networking.k8s.io/v1", "ipaddresses")


class Implied(Entry):
    """An entry that isn't stored. Its bytes are made whenever they are asked for: seldom, and there are many."""

    __slots__ = ("_make", "_source")
    stored = False

    def __init__(self, key: str, source: Entry, make: Make) -> None:
        self.key, self.revision = key, source.revision
        self._source, self._make = source, make
        self.managed = ()
        self._views = self._index = None

    @property
    def data(self) -> bytes:  # type: ignore[override]
        source = orjson.loads(self._source.data)
        obj, own = self._make(source), source["metadata"]
        uid = str(uuid.uuid5(uuid.UUID(own["uid"]), f"{obj['kind']}/{obj['metadata']['name']}"))
        obj["metadata"] |= {"uid": uid, "creationTimestamp": own["creationTimestamp"]}
        return codec.encode(obj)


class Implications:
    """Tells the mirror, and who writes, what is implied (mirror.Implying)."""

    def __init__(self, keys: Keys, authority_pem: str, front_proxy_pem: str) -> None:
        self._keys = keys
        self._data = {ROOT: {"ca.crt": authority_pem}, EXTENSIONS: extension_data(front_proxy_pem)}
        self._root = partial(root_certificate, authority_pem)
        self._extensions = partial(extension_authentication, front_proxy_pem)
        self._namespaces, self._services = keys.range(_NAMESPACES), keys.range(_SERVICES)
        self._maps, self._slices, self._addresses = map(keys.range, (_CONFIG_MAPS, _SLICES, _ADDRESSES))
        self._roles = keys.range(_ROLES)

    def implies(self, key: str) -> bool:
        if key.startswith(self._namespaces):
            return True
        return key.startswith(self._services) and key.endswith(f"/{_API_NAMESPACE}/{_API}")

    def of(self, source: Entry) -> Iterator[Entry]:
        name = source.name
        assert name is not None
        if name.resource == _NAMESPACES.name:
            if not _ends(source):
                yield Implied(self._keys.of(_CONFIG_MAPS, name.tenant, name.name, ROOT), source, self._root)
                if name.name == _SYSTEM_NAMESPACE:
                    place = name.tenant, _SYSTEM_NAMESPACE
                    yield Implied(self._keys.of(_CONFIG_MAPS, *place, EXTENSIONS), source, self._extensions)
                    yield Implied(self._keys.of(_ROLES, *place, _READER), source, extension_reader)
            return
        held = services.addresses(orjson.loads(source.data))
        if held:
            yield Implied(self._keys.of(_SLICES, name.tenant, _API_NAMESPACE, _API), source, endpoint_slice)
        for address in held:
            yield Implied(self._keys.of(_ADDRESSES, name.tenant, "", address), source, partial(_claimed, address))

    def source(self, key: str) -> str | None:
        """The key of what may imply the object of this key; None of what nothing implies."""
        if key.startswith(self._maps) and key.endswith(f"/{ROOT}"):
            tenant, namespace, _ = key[len(self._maps) :].split("/")
            return self._keys.of(_NAMESPACES, tenant, "", namespace)
        for range_, name in ((self._maps, EXTENSIONS), (self._roles, _READER)):
            if key.startswith(range_) and key.endswith(f"/{_SYSTEM_NAMESPACE}/{name}"):
                return self._keys.of(_NAMESPACES, key[len(range_) :].split("/")[0], "", _SYSTEM_NAMESPACE)
        api = key.startswith(self._slices) and key.endswith(f"/{_API_NAMESPACE}/{_API}")
        if api or key.startswith(self._addresses):
            tenant = key[len(self._slices if api else self._addresses) :].split("/")[0]
            return self._keys.of(_SERVICES, tenant, _API_NAMESPACE, _API)
        return None

    def entry(self, key: str, source: Entry) -> Entry | None:
        """What an object implies under this key."""
        return next((entry for entry in self.of(source) if entry.key == key), None)

    def sources_of(self, resource: Resource, tenant: str | None) -> str | None:
        """The range of what may imply objects of a list; None where nothing does."""
        if resource in (_CONFIG_MAPS, _ROLES):
            return self._keys.range(_NAMESPACES, tenant)
        if resource.stored in (_SLICES, _ADDRESSES):
            return self._keys.range(_SERVICES, tenant)
        return None

    def keep(self, place: Place, new: Object) -> None:
        """The authorities stay, whatever a client writes."""
        kept = self._data.get(place.name) if place.resource == _CONFIG_MAPS else None
        if kept is not None and (place.name == ROOT or place.namespace == _SYSTEM_NAMESPACE):
            new["data"] = dict(kept)
            new.pop("binaryData", None)

    def renewed(self, mirror: Mirror, place: Place) -> Object | None:
        """What comes in the place of an object that is deleted; None where it may simply go."""
        key = self._keys.of(place.resource, place.tenant, place.namespace, place.name)
        source_key = self.source(key)
        source = None if source_key is None else mirror.get(source_key)
        entry = None if source is None else self.entry(key, source)
        if entry is None or place.resource.stored == _ADDRESSES:  # nobody deletes an address that a service has
            return None
        made: Object = orjson.loads(entry.data)
        made["metadata"]["uid"] = str(uuid.uuid4())
        return made


def root_certificate(authority_pem: str, namespace: Object) -> Object:
    metadata = {"annotations": _DESCRIPTION, "name": ROOT, "namespace": namespace["metadata"]["name"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": authority_pem}}


def extension_data(front_proxy_pem: str) -> dict[str, str]:
    """Upstream's keys. Its `client-ca-file` is left out: our authority signs for all tenants, and a server that took
    its certificates for its own tenant's would let in strangers."""
    return {
        "requestheader-allowed-names": '["front-proxy-client"]', "requestheader-client-ca-file": front_proxy_pem,
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        "requestheader-group-headers": '["X-Remote-Group"]', "requestheader-uid-headers": '["X-Remote-Uid"]',
        "requestheader-username-headers": '["X-Remote-User"]',
    }  # fmt: skip


def extension_authentication(front_proxy_pem: str, namespace: Object) -> Object:
    metadata = {"name": EXTENSIONS, "namespace": namespace["metadata"]["name"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": extension_data(front_proxy_pem)}


def extension_reader(namespace: Object) -> Object:
    rule = {
        "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [EXTENSIONS],
        "verbs": ["get", "list", "watch"],
    }  # fmt: skip
    metadata = {"name": _READER, "namespace": namespace["metadata"]["name"]}
    return {"apiVersion": _ROLES.api_version, "kind": "Role", "metadata": metadata, "rules": [rule]}


def endpoint_slice(service: Object) -> Object:
    """Of the API: pods reach it at the service's own address, whatever its real one."""
    return {
        "apiVersion": _SLICES.api_version, "kind": "EndpointSlice",
        "metadata": {
            "name": _API, "namespace": _API_NAMESPACE, "labels": {"kubernetes.io/service-name": _API}, "generation": 1,
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": services.addresses(service)[:1], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": 443, "protocol": "TCP"}],
    }  # fmt: skip


def _claimed(address: str, service: Object) -> Object:
    return {"apiVersion": _ADDRESSES.api_version, **addresses.claimed(address, service)}


def _ends(namespace: Entry) -> bool:
    if b'"deletionTimestamp":' not in namespace.data:
        return False
    return "deletionTimestamp" in orjson.loads(namespace.data)["metadata"]
