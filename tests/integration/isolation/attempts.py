"""Every verb of every resource and subresource, as the request that carries it out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.integration.isolation import samples
from tests.integration.isolation.offered import Offered

_MERGE = {"Content-Type": "application/merge-patch+json"}
_PATCHES = {"scale": {"spec": {"replicas": 1}}, "resize": {"spec": {}}, "ephemeralcontainers": {"spec": {}}}
_BODIES: dict[str, dict[str, Any]] = {
    "binding": {"target": {"kind": "Node", "name": "n1"}},
    "eviction": {"apiVersion": "policy/v1", "kind": "Eviction"},
    "token": {"spec": {}},
    "certificate": {"spec": {}},
    "tokenkeys": {"spec": {}},
    "password": {"spec": {"password": "correct horse"}},
}
STREAMS = frozenset({"attach", "exec", "log", "portforward", "proxy"})
_STREAM_QUERIES = {"attach": {"stdout": "true"}, "exec": {"command": "sh", "stdout": "true"}}
_METHODS = {"get": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request for one object or collection; `path` is below a tenant's root."""

    resource: Offered
    subresource: str
    verb: str
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        return self.verb in ("create", "update", "patch", "delete", "deletecollection") and not self.streams

    @property
    def streams(self) -> bool:
        return self.subresource in STREAMS


def attempts(resource: Offered, name: str, pod: str) -> Iterator[Attempt]:
    """`name` is of an object in the namespace `default`, or of the cluster scope; so is `pod`, for bindings."""
    where = "default" if resource.namespaced else ""
    for verb in resource.verbs:
        yield _of_resource(resource, verb, where, name, pod)
    for subresource, verbs in resource.subresources:
        for verb in verbs:
            path = f"{resource.path(where, name)}/{subresource}" + "/" * (subresource == "proxy")
            body: Any = None
            if verb == "patch":
                body = _PATCHES.get(subresource, {"metadata": {"annotations": {"a": "b"}}})
            elif verb == "create" and subresource not in STREAMS:
                body = {"metadata": {"name": name}} | _BODIES[subresource]
                if subresource in ("token", "certificate", "password", "tokenkeys"):
                    del body["metadata"]
            elif verb == "update" and subresource not in STREAMS:
                body = samples.sample(resource, "default", name)
            headers = _MERGE if verb == "patch" else {}
            query = _STREAM_QUERIES.get(subresource, {})
            yield Attempt(resource, subresource, verb, _METHODS[verb], path, body, headers, query)


def _of_resource(resource: Offered, verb: str, where: str, name: str, pod: str) -> Attempt:
    collection, one = resource.path(where), resource.path(where, name)
    match verb:
        case "list":
            return Attempt(resource, "", verb, "GET", collection)
        case "watch":
            return Attempt(resource, "", verb, "GET", collection, query={"watch": "true", "timeoutSeconds": "1"})
        case "deletecollection":
            query = {"labelSelector": f"{samples.PUBLIC}={samples.PUBLIC}"}
            return Attempt(resource, "", verb, "DELETE", collection, query=query)
        case "create":
            return Attempt(resource, "", verb, "POST", collection, _created(resource, pod))
        case "update":
            return Attempt(resource, "", verb, "PUT", one, samples.sample(resource, "default", name))
        case "patch":
            return Attempt(resource, "", verb, "PATCH", one, {"metadata": {"annotations": {"a": "b"}}}, _MERGE)
        case _:
            return Attempt(resource, "", verb, _METHODS[verb], one)


def _created(resource: Offered, pod: str) -> Any:
    if resource.name in samples.REVIEWS:
        return samples.REVIEWS[resource.name]
    if resource.name == "bindings":
        return {"metadata": {"name": pod}, "target": {"kind": "Node", "name": "n1"}}
    return samples.sample(resource, "default", samples.named(resource, "one-more"))
