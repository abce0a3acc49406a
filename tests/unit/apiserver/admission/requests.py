"""Requests as plugins are given them, in a tenant that holds what a test puts there."""

from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.apiserver.admission import ORDER
from hypernetes.apiserver.admission.request import CREATE, DELETE, UPDATE, Plugin, Request, Seen
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Item

Object = dict[str, Any]

TENANT, NAMESPACE = "acme", "web"
SOMEBODY = User("jane", ("system:authenticated",), TENANT, "uid")


def made(kind: str, name: str, api_version: str = "v1", **parts: Any) -> Object:
    metadata = {"name": name, "creationTimestamp": "2030-01-01T00:00:00Z", **parts.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}


def pod(**spec: Any) -> Object:
    container = {"name": "c", "image": "x", "resources": {}}
    return made("Pod", "p", spec={"containers": [container], **spec})


def holding(*objects: Object) -> Seen:
    """What lies in another tenant says so by `metadata.tenant`."""
    keys = Keys("c")
    items = []
    for number, obj in enumerate(objects, 1):
        resource = scheme.by_kind(obj["apiVersion"], obj["kind"])
        namespace = obj["metadata"].get("namespace", NAMESPACE) if resource.namespaced else ""
        key = keys.of(resource, obj["metadata"].get("tenant", TENANT), namespace, obj["metadata"]["name"])
        items.append(Item(key, orjson.dumps(obj), number))
    mirror = Mirror(keys)
    mirror.load(items, len(items))
    return Seen(mirror, TENANT)


def asking(
    obj: Object, *there: Object, old: Object | None = None, operation: str = "", subresource: str = "",
    user: User = SOMEBODY, **more: Any,
) -> Request:  # fmt: skip
    """A create, or with `old` an update, of `obj` in a tenant that holds `there`."""
    resource = scheme.by_kind(obj["apiVersion"], obj["kind"])
    return Request(
        operation or (CREATE if old is None else UPDATE), resource, subresource,
        NAMESPACE if resource.namespaced else "", obj["metadata"]["name"], user, holding(*there),
        {} if operation == DELETE else obj, (obj if operation == DELETE else old) or {}, **more,
    )  # fmt: skip


def admitted(request: Request, *plugins: Plugin) -> Object:
    """The object after these plugins (all: in their order). Raises StatusError where one refuses it."""
    concerned = [
        plugin
        for plugin in plugins or ORDER
        if plugin.concerns(request.resource, request.subresource, request.operation)
    ]
    for hook in [plugin.mutate for plugin in concerned] + [plugin.validate for plugin in concerned]:
        if hook is not None:
            hook(request)
    return request.obj
