"""The API in terms of models: get, list, create, … for one object or many, in one tenant or all."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import orjson

from hypernetes.api import scheme, tenancy
from hypernetes.api.object import Object
from hypernetes.api.scheme import Resource
from hypernetes.client.credentials import ClientConfig
from hypernetes.client.errors import Garbled, is_reason
from hypernetes.client.transport import Transport
from hypernetes.client.watching import BOOKMARK, RawEvent, WatchEvent, parse_line

T = TypeVar("T", bound=Object)
PatchKind = Literal["merge", "strategic", "json"]

_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
_METADATA_ONLY = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)
_PAGE = 500  # objects per page of a list, as kubectl
_WATCH_SECONDS = (300, 600)  # a watch is ended by the server after a random time in between, so that load moves
_WATCH_GRACE = 30.0  # seconds that a server may be late in ending it


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    items: list[T]
    resource_version: str


@dataclass(frozen=True, slots=True)
class RawListing:
    """Items in JSON form, without apiVersion and kind where the server leaves them out."""

    items: list[dict[str, Any]]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a RawListing. `first`: what earlier pages said no longer counts; the list has begun anew."""

    items: list[dict[str, Any]]
    resource_version: str
    first: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource a list or watch is about."""

    resource: Resource
    tenant: str | None = None  # None: the credential's own; "*": all
    namespace: str | None = None
    label_selector: str | None = None
    field_selector: str | None = None
    metadata_only: bool = False  # objects come as PartialObjectMetadata

    @property
    def accept(self) -> str:
        return _METADATA_ONLY if self.metadata_only else "application/json"

    def path(self) -> str:
        return self.resource.path(self.tenant, self.namespace)

    def params(self) -> dict[str, str]:
        given = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class AllMetadata:
    """The metadata of all objects of all kinds and tenants in one list and watch: the provider's processes may ask."""

    accept: str = "application/json"

    def path(self) -> str:
        return "/tenants/*/metadata"

    def params(self) -> dict[str, str]:
        return {}


class Client:
    """A connection to one API server. Every call raises StatusError for a refusal and TransportError for no answer.

    `tenant` None means the credential's own tenant, except for an object that was read across tenants: that one is
    written back to the tenant it came from.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._transport = Transport(config)

    @property
    def config(self) -> ClientConfig:
        return self._transport.config

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def get(
        self, model: type[T], name: str, *, namespace: str | None = None, tenant: str | None = None,
        timeout: float | None = None,
    ) -> T:  # fmt: skip
        path = resource_of(model).path(tenant, namespace, name)
        return model.from_json((await self._transport.send("GET", path, timeout=timeout)).body)

    async def list(
        self, model: type[T], *, tenant: str | None = None, namespace: str | None = None,
        label_selector: str | None = None, field_selector: str | None = None, timeout: float | None = None,
    ) -> Listing[T]:  # fmt: skip
        """All pages as one: every object as it was at the listing's resource version."""
        selection = Selection(resource_of(model), tenant, namespace, label_selector, field_selector)
        raw = await self.list_raw(selection, timeout=timeout)
        return Listing([model.from_dict(item) for item in raw.items], raw.resource_version)

    async def list_raw(self, selection: Selection | AllMetadata, *, timeout: float | None = None) -> RawListing:
        items: list[dict[str, Any]] = []
        revision = ""
        async for page in self.pages(selection, timeout=timeout):
            if page.first:
                items = []
            items += page.items
            revision = page.resource_version
        return RawListing(items, revision)

    async def pages(
        self, selection: Selection | AllMetadata, *, timeout: float | None = None
    ) -> AsyncIterator[Page]:  # fmt: skip
        """A list piece by piece, for who wouldn't have all of it in memory at once; `timeout` is for each piece."""
        params, first = {**selection.params(), "limit": str(_PAGE)}, True
        while True:
            try:
                answer = await self._transport.send(
                    "GET", selection.path(), params=params, accept=selection.accept, timeout=timeout
                )
            except Exception as error:
                if "continue" in params and is_reason(error, "Expired", "Gone"):
                    # The first pages' revision is no longer kept: once more, all of it in one answer.
                    params, first = selection.params(), True
                    continue
                raise
            page = orjson.loads(answer.body)
            metadata = page["metadata"]
            yield Page(page["items"] or [], metadata["resourceVersion"], first)
            if not metadata.get("continue"):
                return
            params, first = {**params, "continue": metadata["continue"]}, False

    async def create(
        self, obj: T, *, tenant: str | None = None, namespace: str | None = None, timeout: float | None = None
    ) -> T:
        """Not repeated when the connection breaks: after Interrupted, look whether the object is there."""
        path = resource_of(type(obj)).path(_tenant(obj, tenant), namespace or _metadata(obj).namespace)
        return await self._write(obj, "POST", path, timeout)

    async def update(
        self, obj: T, *, tenant: str | None = None, subresource: str | None = None, timeout: float | None = None
    ) -> T:
        """Replaces the object if it still has the resource version it was read with (else StatusError Conflict)."""
        metadata = _metadata(obj)
        path = resource_of(type(obj)).path(_tenant(obj, tenant), metadata.namespace, metadata.name, subresource)
        return await self._write(obj, "PUT", path, timeout)

    async def update_status(self, obj: T, *, tenant: str | None = None, timeout: float | None = None) -> T:
        return await self.update(obj, tenant=tenant, subresource="status", timeout=timeout)

    async def _write(self, obj: T, method: str, path: str, timeout: float | None) -> T:
        answer = await self._transport.send(method, path, body=obj.to_json(), timeout=timeout)
        return type(obj).from_json(answer.body)

    async def patch(
        self, model: type[T], name: str, body: Any, *, namespace: str | None = None, tenant: str | None = None,
        subresource: str | None = None, kind: PatchKind = "merge", timeout: float | None = None,
    ) -> T:  # fmt: skip
        path = resource_of(model).path(tenant, namespace, name, subresource)
        answer = await self._transport.send(
            "PATCH", path, body=orjson.dumps(body), content_type=_PATCH_TYPES[kind], timeout=timeout
        )
        return model.from_json(answer.body)

    async def delete(
        self, model: type[Object], name: str, *, namespace: str | None = None, tenant: str | None = None,
        grace_seconds: int | None = None, uid: str | None = None, resource_version: str | None = None,
        propagation: str | None = None, timeout: float | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The server's answer: the object as it is now terminating, or was last, or a Status."""
        path = resource_of(model).path(tenant, namespace, name)
        body = delete_options(
            grace_seconds=grace_seconds, uid=uid, resource_version=resource_version, propagation=propagation
        )
        return await self.request("DELETE", path, json=body, timeout=timeout)

    async def bind(
        self, name: str, node: str, *, namespace: str, tenant: str | None = None, uid: str | None = None,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        """Assigns a pod to a node; Conflict where it has one, or where `uid` is another pod's."""
        metadata = {"name": name, "namespace": namespace, **({"uid": uid} if uid else {})}
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        path = scheme.by_name("v1", "pods").path(tenant, namespace, name, "binding")
        await self.request("POST", path, json=body, timeout=timeout)

    async def request(
        self, method: str, path: str, *, json: Any = None, params: dict[str, str] | None = None,
        content_type: str = "application/json", timeout: float | None = None, limit: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """For what has no model. `path` starts with a slash and includes `/tenants/…` where that is wanted. `limit`:
        the bytes of an answer that is believed, of what isn't the API server's own word."""
        body = None if json is None else orjson.dumps(json)
        answer = await self._transport.send(
            method, path, params=params, body=body, content_type=content_type, timeout=timeout, limit=limit
        )
        try:
            parsed: dict[str, Any] = orjson.loads(answer.body) if answer.body else {}
        except orjson.JSONDecodeError as error:
            raise Garbled(f"{method} {path.partition('?')[0]}: the answer is no JSON") from error
        return parsed

    async def text(self, path: str, *, params: dict[str, str] | None = None, timeout: float | None = None) -> str:
        """A plain-text answer, such as /readyz or a pod's log."""
        answer = await self._transport.send("GET", path, params=params, accept="text/plain, */*", timeout=timeout)
        return answer.body.decode(errors="replace")

    async def watch(
        self, model: type[T], *, resource_version: str, tenant: str | None = None, namespace: str | None = None,
        label_selector: str | None = None, field_selector: str | None = None,
    ) -> AsyncIterator[WatchEvent[T]]:  # fmt: skip
        """The events after `resource_version`, until the server ends the watch (every few minutes).

        Bookmarks are included. StatusError Expired: that version is too old, list again.
        """
        selection = Selection(resource_of(model), tenant, namespace, label_selector, field_selector)
        async for event in self.watch_raw(selection, resource_version):
            obj = None if event.type == BOOKMARK else model.from_json(event.data)
            yield WatchEvent(event.type, obj, event.resource_version)

    async def watch_raw(self, selection: Selection | AllMetadata, resource_version: str) -> AsyncIterator[RawEvent]:
        seconds = random.randint(*_WATCH_SECONDS)
        params = {
            **selection.params(),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        async for line in self._transport.stream_lines(
            selection.path(), params=params, silence=seconds + _WATCH_GRACE, accept=selection.accept
        ):
            yield parse_line(line)


def resource_of(model: type[Object]) -> Resource:
    """KeyError for a kind that isn't served."""
    return scheme.by_kind(model.API_VERSION, model.KIND)


def delete_options(
    *, grace_seconds: int | None = None, uid: str | None = None, resource_version: str | None = None,
    propagation: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The body of a delete. `propagation` is Background, Foreground or Orphan."""
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    given = {name: value for name, value in preconditions.items() if value is not None}
    options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    if propagation is not None:
        options["propagationPolicy"] = propagation
    if given:
        options["preconditions"] = given
    return options


def _metadata(obj: Any) -> Any:
    return obj.metadata


def _tenant(obj: Any, tenant: str | None) -> str | None:
    return tenant or obj.metadata.annotations.get(tenancy.TENANT_ANNOTATION)
