"""OpenAPI v3 (an index and one document per group and version) and v2 (one document), for kubectl and client tools.

`kubectl explain` finds a kind by the paths' `x-kubernetes-group-version-kind`; `kubectl apply` leaves validation to the
server where a PATCH says that it knows `fieldValidation`. So the paths are those of the resources, with their verbs and
the parameters that clients look for.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from hypernetes.api import facts, scheme
from hypernetes.api.scheme import Resource
from hypernetes.apiserver import discovery
from hypernetes.apiserver.discovery import Discovery
from hypernetes.apiserver.documents import Document
from hypernetes.apiserver.patch import CONTENT_TYPES

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"  # as clients ask for it
_V2_PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"  # a media type can hold no "@"
_BODY_TYPES = ("application/json", "application/yaml")
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = ("continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch", "watch")
# (verb of the scheme, HTTP method, x-kubernetes-action, parameters), on a collection and on one object
_ON_COLLECTION = (
    ("list", "get", "list", _LIST),
    ("create", "post", "post", _WRITE),
    ("deletecollection", "delete", "deletecollection", (*_LIST[:-1], "propagationPolicy", "gracePeriodSeconds")),
)
_ON_OBJECT = (
    ("get", "get", "get", ()),
    ("update", "put", "put", _WRITE),
    ("patch", "patch", "patch", (*_WRITE, "force")),
    ("delete", "delete", "delete", ("dryRun", "gracePeriodSeconds", "propagationPolicy")),
)
_PARAMETER_TYPES = {"limit": "integer", "gracePeriodSeconds": "integer", "watch": "boolean", "force": "boolean"}


class OpenAPI:
    """The documents of one set of resources; each is made when first asked for."""

    def __init__(self, resources: Discovery) -> None:
        self._resources = resources
        self._v3: dict[tuple[str, str], Document] = {}
        self._v2: Document | None = None

    def index(self, prefix: str = "") -> Document:
        """`/openapi/v3`; `prefix` is the tenant's root where the request's path had one (`/tenants/acme`)."""
        paths = {}
        for group, version in self._resources.group_versions():
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            document = self.group(group, version)
            if document is not None:
                paths[path] = {"serverRelativeURL": f"{prefix}/openapi/v3/{path}?hash={document.hash}"}
        return Document.of({"paths": paths})

    def group(self, group: str, version: str) -> Document | None:
        """`/openapi/v3/apis/<group>/<version>` or `/openapi/v3/api/<version>` (group ""); None where there is none."""
        if (group, version) not in self._v3:
            resources = self._resources.resources(group, version)
            if not resources:
                return None
            paths: dict[str, Any] = {}
            for resource in resources:
                paths.update(_paths(resource, "#/components/schemas/", v3=True))
            names = _closure([_schema_name(resource) for resource in resources])
            schemas = {name: _schema(facts.schemas()[name], "#/components/schemas/") for name in names}
            value = {"openapi": "3.0.0", "info": _info(), "paths": paths, "components": {"schemas": schemas}}
            self._v3[group, version] = Document.of(value)
        return self._v3[group, version]

    def v2_protobuf(self) -> Document:
        """`/openapi/v2` in protobuf, which kubectl asks for when a manifest's kind is unknown to it.

        It describes no type: kubectl then leaves validation to the server, which does it on every write, and goes on
        to say that nothing serves the kind. Field numbers: Document and Info of gnostic's openapiv2.
        """
        info = _info()
        described = _protobuf_text(1, info["title"]) + _protobuf_text(2, info["version"])
        return Document.of_bytes(_protobuf_text(1, "2.0") + _protobuf_bytes(2, described), _V2_PROTOBUF_TYPE)

    def v2(self) -> Document:
        """`/openapi/v2` as JSON."""
        if self._v2 is None:
            resources = [each for gv in self._resources.group_versions() for each in self._resources.resources(*gv)]
            paths: dict[str, Any] = {}
            for resource in resources:
                paths.update(_paths(resource, "#/definitions/", v3=False))
            names = _closure([_schema_name(resource) for resource in resources])
            definitions = {name: _schema(facts.schemas()[name], "#/definitions/", v3=False) for name in names}
            self._v2 = Document.of({"swagger": "2.0", "info": _info(), "paths": paths, "definitions": definitions})
        return self._v2


@cache
def of(resources: Discovery) -> OpenAPI:
    """The documents of what a discovery offers: there are two, the provider's and a tenant's."""
    return OpenAPI(resources)


def _protobuf_bytes(number: int, value: bytes) -> bytes:
    """A length-delimited field of fewer than 128 bytes."""
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def _protobuf_text(number: int, value: str) -> bytes:
    return _protobuf_bytes(number, value.encode())


def _info() -> dict[str, str]:
    return {"title": "Hypernetes", "version": discovery.version()["gitVersion"]}


def _schema_name(resource: Resource) -> str:
    return scheme.schema_name(resource.group, resource.version, resource.kind)


def _closure(names: list[str]) -> list[str]:
    """These types, the lists of them, and all types that they refer to."""
    schemas = facts.schemas()
    todo = [*names, *(f"{name}List" for name in names if f"{name}List" in schemas)]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _references(schemas[name])
    return sorted(found)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _schema(value: Any, root: str, v3: bool = True) -> Any:
    """A schema of facts/ with its references made relative to a document.

    Beside a `$ref` nothing counts in OpenAPI 3.0, so where there is more (a default) it goes into an `allOf`.
    """
    if isinstance(value, list):
        return [_schema(item, root, v3) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if not isinstance(reference, str):
        return {
            key: item if key == "default" else _schema(item, root, v3)
            for key, item in value.items()
            if key != "properties" and (v3 or key not in ("default", "oneOf"))
        } | _properties(value, root, v3)
    target = {"$ref": f"{root}{reference}"}
    rest = {key: item for key, item in value.items() if key != "$ref"}
    if not v3 or not rest:
        return target | ({} if v3 else {key: item for key, item in rest.items() if key != "default"})
    return {"allOf": [target], **rest}


def _properties(value: dict[str, Any], root: str, v3: bool) -> dict[str, Any]:
    """Apart from a schema's own keywords: a field may well be called `default`."""
    found = value.get("properties")
    if found is None:
        return {}
    return {"properties": {name: _schema(item, root, v3) for name, item in found.items()}}


def _paths(resource: Resource, root: str, v3: bool) -> dict[str, Any]:
    scoped = f"{resource.prefix}/namespaces/{{namespace}}/{resource.name}"
    everywhere = f"{resource.prefix}/{resource.name}"
    collection = scoped if resource.namespaced else everywhere
    paths = {
        collection: _operations(resource, _ON_COLLECTION, root, v3),
        f"{collection}/{{name}}": _operations(resource, _ON_OBJECT, root, v3),
    }
    if resource.namespaced:
        paths[everywhere] = _operations(resource, _ON_COLLECTION[:1], root, v3)
    return {
        path: {**operations, "parameters": _path_parameters(path, v3)}
        for path, operations in paths.items()
        if operations
    }


def _path_parameters(path: str, v3: bool) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, **_typed("string", v3)}
        for name in ("namespace", "name")
        if f"{{{name}}}" in path
    ]


def _typed(kind: str, v3: bool) -> dict[str, Any]:
    return {"schema": {"type": kind, "uniqueItems": True}} if v3 else {"type": kind, "uniqueItems": True}


def _operations(resource: Resource, methods: Any, root: str, v3: bool) -> dict[str, Any]:
    operations = {}
    for verb, method, action, parameters in methods:
        if verb in resource.verbs:
            operations[method] = _operation(resource, action, parameters, root, v3)
    return operations


def _operation(resource: Resource, action: str, parameters: tuple[str, ...], root: str, v3: bool) -> dict[str, Any]:
    name = _schema_name(resource)
    answered = f"{name}List" if action == "list" else name
    answer = {"$ref": f"{root}{answered}"} if answered in facts.schemas() else {"type": "object"}
    group_version = "".join(part.title() for part in (*resource.group.split("."), resource.version))
    operation: dict[str, Any] = {
        "operationId": f"{action}{group_version}{resource.kind}",
        "parameters": [
            {"name": each, "in": "query", **_typed(_PARAMETER_TYPES.get(each, "string"), v3)} for each in parameters
        ],
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": resource.group, "version": resource.version, "kind": resource.kind,
        },
    }  # fmt: skip
    if v3:
        operation["responses"] = {
            "200": {"description": "OK", "content": {media: {"schema": answer} for media in _BODY_TYPES}}
        }
        if action in ("post", "put", "patch"):
            body = {"type": "object"} if action == "patch" else {"$ref": f"{root}{name}"}
            types = CONTENT_TYPES if action == "patch" else _BODY_TYPES
            operation["requestBody"] = {"required": True, "content": {media: {"schema": body} for media in types}}
    else:
        operation["responses"] = {"200": {"description": "OK", "schema": answer}}
    return operation
