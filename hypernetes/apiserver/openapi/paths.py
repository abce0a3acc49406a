"""The paths of an OpenAPI document: what can be asked of a resource, and with which parameters.

`kubectl explain` finds a kind by the paths' `x-kubernetes-group-version-kind`; `kubectl apply` leaves validation to the
server where a PATCH says that it knows `fieldValidation`. The v3 form says so. The v2 form doesn't: kubectl asks it for
kinds that v3 doesn't have, and if namespaces knew the parameter there it would look for a custom resource of that kind.
"""

from collections.abc import Iterable
from typing import Any

from hypernetes.api import facts
from hypernetes.api.scheme import Resource
from hypernetes.apiserver import protobuf
from hypernetes.apiserver.openapi import schemas
from hypernetes.apiserver.patch import CONTENT_TYPES

_BODY_TYPES = ("application/json", "application/yaml")
_VALIDATION = "fieldValidation"
_WRITE = ("dryRun", "fieldManager", _VALIDATION)
_LIST = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
    "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch",
)  # fmt: skip
_DELETE = ("dryRun", "gracePeriodSeconds", "propagationPolicy")
# (verb of the scheme, HTTP method, x-kubernetes-action, parameters), on a collection and on one object
_ON_COLLECTION = (
    ("list", "get", "list", _LIST),
    ("create", "post", "post", _WRITE),
    ("deletecollection", "delete", "deletecollection", (*_LIST[1:-3], *_DELETE)),
)
_ON_OBJECT = (
    ("get", "get", "get", ()),
    ("create", "post", "post", _WRITE),  # of subresources
    ("update", "put", "put", _WRITE),
    ("patch", "patch", "patch", (*_WRITE, "force")),
    ("delete", "delete", "delete", _DELETE),
)
_PARAMETER_TYPES = {
    "limit": "integer", "gracePeriodSeconds": "integer", "timeoutSeconds": "integer", "watch": "boolean",
    "force": "boolean", "allowWatchBookmarks": "boolean", "sendInitialEvents": "boolean",
}  # fmt: skip

Methods = Iterable[tuple[str, str, str, tuple[str, ...]]]


class Paths:
    """Those of one document, of either version."""

    def __init__(self, *, v3: bool) -> None:
        self._v3 = v3
        self._root = schemas.V3_ROOT if v3 else schemas.V2_ROOT

    def of(self, resource: Resource) -> dict[str, Any]:
        """By path; its subresources' too, streams left out."""
        everywhere = f"{resource.prefix}/{resource.name}"
        scoped = f"{resource.prefix}/namespaces/{{namespace}}/{resource.name}"
        collection = scoped if resource.namespaced else everywhere
        name = schemas.name_of(resource)
        found = {
            collection: self._operations(resource, resource.verbs, _ON_COLLECTION, name),
            f"{collection}/{{name}}": self._operations(resource, resource.verbs, _ON_OBJECT[:1] + _ON_OBJECT[2:], name),
        }
        if resource.namespaced:
            found[everywhere] = self._operations(resource, resource.verbs, _ON_COLLECTION[:1], name)
        for sub in resource.subresources.values():
            taken = schemas.subresource_type(resource, sub.name)
            if taken is not None:
                operations = self._operations(resource, sub.verbs, _ON_OBJECT, taken, sub.name)
                found[f"{collection}/{{name}}/{sub.name}"] = operations
        return {
            path: {**operations, "parameters": self._path_parameters(path)}
            for path, operations in found.items()
            if operations
        }

    def _operations(
        self, resource: Resource, verbs: Iterable[str], methods: Methods, type_name: str, subresource: str = ""
    ) -> dict[str, Any]:
        return {
            method: self._operation(resource, action, parameters, type_name, subresource)
            for verb, method, action, parameters in methods
            if verb in verbs
        }

    def _operation(
        self, resource: Resource, action: str, parameters: tuple[str, ...], type_name: str, subresource: str
    ) -> dict[str, Any]:
        answered = f"{type_name}List" if action == "list" else type_name
        answer = {"$ref": f"{self._root}{answered}"} if answered in facts.schemas() else {"type": "object"}
        gvk = facts.schemas()[type_name]["x-kubernetes-group-version-kind"][0]
        prefix = "".join(part.title() for part in (*resource.group.split("."), resource.version))
        operation: dict[str, Any] = {
            "operationId": f"{action}{prefix}{resource.kind}{subresource.title()}",
            "parameters": [
                {"name": each, "in": "query", **self._typed(_PARAMETER_TYPES.get(each, "string"))}
                for each in parameters
                if self._v3 or each != _VALIDATION
            ],
            "responses": {"200": self._answered(answer, _forms(gvk))},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {key: gvk[key] for key in ("group", "version", "kind")},
        }
        if action in ("post", "put", "patch"):
            taken = {"type": "object"} if action == "patch" else {"$ref": f"{self._root}{type_name}"}
            self._take(operation, taken, CONTENT_TYPES if action == "patch" else _forms(gvk))
        return operation

    def _answered(self, schema: dict[str, Any], forms: tuple[str, ...]) -> dict[str, Any]:
        if self._v3:
            return {"description": "OK", "content": {media: {"schema": schema} for media in forms}}
        return {"description": "OK", "schema": schema}

    def _take(self, operation: dict[str, Any], schema: dict[str, Any], media_types: tuple[str, ...]) -> None:
        """Says what a request's body is."""
        if self._v3:
            content = {media: {"schema": schema} for media in media_types}
            operation["requestBody"] = {"required": True, "content": content}
        else:
            body = {"name": "body", "in": "body", "required": True, "schema": schema}
            operation["parameters"] = [body, *operation["parameters"]]
            operation["consumes"] = list(media_types)

    def _path_parameters(self, path: str) -> list[dict[str, Any]]:
        return [
            {"name": name, "in": "path", "required": True, **self._typed("string")}
            for name in ("namespace", "name")
            if f"{{{name}}}" in path
        ]

    def _typed(self, kind: str) -> dict[str, Any]:
        schema = {"type": kind, "uniqueItems": True}
        return {"schema": schema} if self._v3 else schema


def _forms(gvk: dict[str, str]) -> tuple[str, ...]:
    """The media types of bodies and answers about a kind."""
    api_version = "/".join(filter(None, (gvk["group"], gvk["version"])))
    return (*_BODY_TYPES, protobuf.MEDIA_TYPE) if protobuf.has(api_version, gvk["kind"]) else _BODY_TYPES
