"""An API server in a dictionary, for stories that run whole controllers in virtual time.

It knows what controllers rely on: revisions, conflicts, generations, finalizers, grace periods, watches. The real
server's fidelity is for the integration tests. `Story` adds the controllers and a kubelet that needs no machines.
"""

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from hypernetes.api import scheme, times
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError, already_exists, conflict, not_found
from hypernetes.client import ClientConfig, EventRecorder, Interrupted, Key
from hypernetes.client.rest import AllMetadata, Page, RawListing, Selection
from hypernetes.client.watching import RawEvent, parse_line
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.daemonsets import placement
from hypernetes.controllers.informers import Informers
from tests.unit.client.fake_api import line

T = TypeVar("T")
Json = dict[str, Any]
START = datetime(2030, 1, 1, tzinfo=UTC)


class FakeCluster:
    """Has the methods of a Client that controllers use."""

    def __init__(self) -> None:
        self.config = ClientConfig(server="http://fake", ca_pem=b"the CA")
        self.stored: dict[tuple[Resource, Key], Json] = {}
        self.history: list[tuple[Resource, str, Json]] = []
        self.refuse: Callable[[str, Resource, Json], None] = lambda verb, resource, obj: None
        self.lag = self.slowness = 0.0  # seconds until an event is seen, and until a status is written
        self.connection = 0  # of watches: those of an earlier number break
        self._grown = asyncio.Condition()
        self._uids = itertools.count(1)

    # what tests say and ask

    async def put(self, obj: Json, tenant: str = "acme") -> Json:
        return await self._create(scheme.by_kind(obj["apiVersion"], obj["kind"]), obj, tenant)

    def all(self, kind: str, tenant: str = "acme") -> list[Json]:
        return [obj for (resource, key), obj in self.stored.items() if (resource.kind, key.tenant) == (kind, tenant)]

    def names(self, kind: str, tenant: str = "acme") -> list[str]:
        return sorted(obj["metadata"]["name"] for obj in self.all(kind, tenant))

    def find(self, kind: str, name: str, tenant: str = "acme") -> Json:
        (found,) = (obj for obj in self.all(kind, tenant) if obj["metadata"]["name"] == name)
        return found

    async def change(self, kind: str, name: str, tenant: str = "acme", **parts: Any) -> None:
        """Replaces top-level parts of an object, as its author or a kubelet would."""
        (place,) = (
            (resource, key)
            for resource, key in self.stored
            if (resource.kind, key.name, key.tenant) == (kind, name, tenant)
        )
        await self._replace(place, {**self.stored[place], **copy.deepcopy(parts)}, same_version=False)

    async def break_watches(self) -> None:
        self.connection += 1
        async with self._grown:
            self._grown.notify_all()

    # a Client's side

    async def list_raw(self, selection: Selection | AllMetadata, *, timeout: float | None = None) -> RawListing:
        if isinstance(selection, AllMetadata):
            shown = [
                _metadata_of(resource, self._shown(key, obj))
                for (resource, key), obj in self.stored.items()
                if resource.kind != "Event"
            ]
            return RawListing(shown, str(len(self.history)))
        items = [
            self._shown(key, obj)
            for (resource, key), obj in self.stored.items()
            if resource == selection.resource and selection.tenant in ("*", key.tenant)
            and selection.namespace in (None, key.namespace)
        ]  # fmt: skip
        return RawListing(items, str(len(self.history)))

    async def pages(self, selection: Selection | AllMetadata, *, timeout: float | None = None) -> AsyncIterator[Page]:
        listing = await self.list_raw(selection)
        yield Page(listing.items, listing.resource_version, first=True)

    async def watch_raw(self, selection: Selection | AllMetadata, resource_version: str) -> AsyncIterator[RawEvent]:
        position, connection = int(resource_version), self.connection
        while True:
            async with self._grown:
                await self._grown.wait_for(
                    lambda: len(self.history) > position or connection != self.connection  # noqa: B023
                )
            if connection != self.connection:
                raise Interrupted("the connection broke")
            while position < len(self.history):
                resource, kind, obj = self.history[position]
                position += 1
                if isinstance(selection, AllMetadata):
                    if resource.kind != "Event":
                        yield parse_line(line(kind, _metadata_of(resource, obj)))
                elif resource == selection.resource:
                    if self.lag:
                        await asyncio.sleep(self.lag)
                    yield parse_line(line(kind, obj))

    async def get(self, model: type[Any], name: str, *, namespace: str | None = None, tenant: str, **_: Any) -> Any:
        place = self._place(model, name, namespace, tenant)
        return model.from_dict(self._there(place))

    async def create(self, obj: Any, *, tenant: str, **_: Any) -> Any:
        resource = scheme.by_kind(obj.API_VERSION, obj.KIND)
        return type(obj).from_dict(await self._create(resource, obj.to_dict(), tenant))

    async def update(self, obj: Any, *, tenant: str, subresource: str | None = None, **_: Any) -> Any:
        if subresource == "status" and self.slowness:
            await asyncio.sleep(self.slowness)
        metadata = obj.metadata
        place = self._place(type(obj), metadata.name, metadata.namespace, tenant)
        old, new = self._there(place), obj.to_dict()
        if subresource == "status":
            new = {**old, "status": new.get("status", {}), "metadata": {**old["metadata"], **_version(new)}}
        elif "status" in old:
            new = {**new, "status": old["status"]}
        return type(obj).from_dict(await self._replace(place, new))

    async def update_status(self, obj: Any, *, tenant: str, **_: Any) -> Any:
        return await self.update(obj, tenant=tenant, subresource="status")

    async def patch(
        self, model: type[Any], name: str, body: Json, *, namespace: str | None = None, tenant: str, **_: Any
    ) -> Any:
        """A strategic merge of owner references, and plain merges of all else."""
        place = self._place(model, name, namespace, tenant)
        return model.from_dict(await self._merge(place, body))

    async def delete(
        self, model: type[Any], name: str, *, namespace: str | None = None, tenant: str, **options: Any
    ) -> Json:
        place = self._place(model, name, namespace, tenant)
        self.refuse("delete", place[0], self._there(place))
        return await self._delete(place, options)

    async def request(self, method: str, path: str, *, json: Json | None = None, **_: Any) -> Json:
        resource, key, subresource = self._parsed(path)
        place = resource, key
        if not key.name:
            assert method == "DELETE"
            for other in [other for other in self.stored if other[0] == resource and other[1][:2] == key[:2]]:
                await self._delete(other, {})
            return {}
        if subresource == "scale":
            return await self._scale(place, json)
        if method == "GET":
            return self._there(place)
        assert json is not None
        if method == "PATCH":
            return await self._merge(place, json)
        if subresource == "finalize":
            return await self._replace(place, json)
        preconditions = json.get("preconditions", {})
        options = {"uid": preconditions.get("uid"), "propagation": json.get("propagationPolicy")}
        return await self._delete(place, options)

    async def _scale(self, place: tuple[Resource, Key], wanted: Json | None) -> Json:
        """Its labels are its selector; what it wants, it has."""
        obj = self._there(place)
        if wanted is not None:
            self.refuse("update", place[0], wanted)
            obj = await self._replace(place, {**obj, "spec": {**obj["spec"], "replicas": wanted["spec"]["replicas"]}})
        labels = obj["spec"]["selector"].get("matchLabels", {})
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        replicas = obj["spec"]["replicas"]
        return {"spec": {"replicas": replicas}, "status": {"replicas": replicas, "selector": selector}}

    # how it works

    def _parsed(self, path: str) -> tuple[Resource, Key, str]:
        _, _, tenant, root, *rest = path.split("/")
        version = rest.pop(0) if root == "api" else f"{rest.pop(0)}/{rest.pop(0)}"
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] != "finalize":
            namespace, rest = rest[1], rest[2:]
        name = rest[1] if len(rest) > 1 else ""
        return scheme.by_name(version, rest[0]), Key(tenant, namespace, name), rest[2] if len(rest) > 2 else ""

    def _place(self, model: type[Any], name: str, namespace: str | None, tenant: str) -> tuple[Resource, Key]:
        resource = scheme.by_kind(model.API_VERSION, model.KIND)
        return resource, Key(tenant, namespace if namespace and resource.namespaced else "", name)

    def _there(self, place: tuple[Resource, Key]) -> Json:
        if place not in self.stored:
            raise not_found(place[0].group_resource, place[1].name)
        return copy.deepcopy(self.stored[place])

    def _shown(self, key: Key, obj: Json) -> Json:
        annotations = {**obj["metadata"].get("annotations", {}), "hypernetes.io/tenant": key.tenant}
        return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}

    async def _create(self, resource: Resource, obj: Json, tenant: str) -> Json:
        self.refuse("create", resource, obj)
        obj = copy.deepcopy(obj)
        number = next(self._uids)
        metadata = obj.setdefault("metadata", {})
        metadata.setdefault("name", f"{metadata.get('generateName', '')}{number:04x}")
        key = Key(tenant, metadata.get("namespace", ""), metadata["name"])
        if (resource, key) in self.stored:
            raise already_exists(resource.group_resource, key.name)
        metadata |= {"uid": f"uid-{number}", "generation": 1, "creationTimestamp": times.format_time(times.now())}
        if resource.kind == "Namespace":
            obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        return await self._commit("ADDED", (resource, key), obj)

    async def _replace(self, place: tuple[Resource, Key], new: Json, *, same_version: bool = True) -> Json:
        old = self._there(place)
        version = new["metadata"].get("resourceVersion")
        if same_version and version not in (None, old["metadata"]["resourceVersion"]):
            raise conflict(place[0].group_resource, place[1].name, "modified")
        new["metadata"].get("annotations", {}).pop("hypernetes.io/tenant", None)
        if new.get("spec") != old.get("spec"):
            new["metadata"] = {**new["metadata"], "generation": old["metadata"]["generation"] + 1}
        if new == old:
            return old
        if new["metadata"].get("deletionTimestamp") and not _held(new):
            return await self._commit("DELETED", place, new)
        return await self._commit("MODIFIED", place, new)

    async def _merge(self, place: tuple[Resource, Key], body: Json) -> Json:
        new = self._there(place)
        new |= {name: _without_nulls(value) for name, value in body.items() if name != "metadata"}
        wanted = dict(body.get("metadata", {}))
        if wanted.pop("uid", new["metadata"]["uid"]) != new["metadata"]["uid"]:
            raise conflict(place[0].group_resource, place[1].name, "another UID")
        for name, value in wanted.items():
            if name.startswith("$deleteFromPrimitiveList/"):
                name = name.rpartition("/")[2]
                value = [item for item in new["metadata"].get(name, []) if item not in value]
            former = new["metadata"].get(name)
            if name == "ownerReferences" and value and ("$patch" in value[0] or "resourceVersion" not in wanted):
                value = _merged_references(former or [], value)
            new["metadata"][name] = value
        new["metadata"] = {name: value for name, value in new["metadata"].items() if value}
        return await self._replace(place, new)

    async def _delete(self, place: tuple[Resource, Key], options: Json) -> Json:
        obj = self._there(place)
        metadata = obj["metadata"]
        if options.get("uid") not in (None, metadata["uid"]):
            raise conflict(place[0].group_resource, place[1].name, "another UID")
        added = {"Foreground": ["foregroundDeletion"], "Orphan": ["orphan"]}.get(options.get("propagation") or "", [])
        metadata["finalizers"] = [*metadata.get("finalizers", []), *added]
        on_node = place[0].kind == "Pod" and "nodeName" in obj.get("spec", {}) and options.get("grace_seconds") != 0
        if not _held(obj) and not on_node:
            return await self._commit("DELETED", place, obj)
        metadata.setdefault("deletionTimestamp", times.format_time(times.now()))
        return await self._commit("MODIFIED", place, obj)

    async def _commit(self, kind: str, place: tuple[Resource, Key], obj: Json) -> Json:
        if sum(bool(each.get("controller")) for each in obj["metadata"].get("ownerReferences", ())) > 1:
            raise StatusError("Invalid", f"{place[1].name}: only one reference can have controller set to true")
        obj["metadata"]["resourceVersion"] = str(len(self.history) + 1)
        if kind == "DELETED":
            del self.stored[place]
        else:
            self.stored[place] = copy.deepcopy(obj)
        self.history.append((place[0], kind, copy.deepcopy(self._shown(place[1], obj))))
        async with self._grown:
            self._grown.notify_all()
        return obj


def _metadata_of(resource: Resource, obj: Json) -> Json:
    """As the stream of all metadata shows it."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "labels"}
    kind = {"apiVersion": resource.api_version, "kind": resource.kind, "resource": resource.name}
    return {**kind, "metadata": metadata}


def _without_nulls(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_nulls(item) for name, item in value.items() if item is not None}


def _version(obj: Json) -> Json:
    return {"resourceVersion": obj["metadata"].get("resourceVersion")}


def _held(obj: Json) -> bool:
    of_spec = obj.get("spec", {}).get("finalizers") if obj["kind"] == "Namespace" else None
    return bool(obj["metadata"].get("finalizers") or of_spec)


def _merged_references(former: list[Json], wanted: list[Json]) -> list[Json]:
    deleted = {entry["uid"] for entry in wanted if entry.get("$patch") == "delete"}
    added = [entry for entry in wanted if "$patch" not in entry]
    kept = [entry for entry in former if entry["uid"] not in deleted | {entry["uid"] for entry in added}]
    return kept + added


class Kubelet:
    """Runs pods without machines: they are Ready a second after they appear, and end when asked to."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.broken_images: set[str] = set()
        self.stopped = False

    async def run(self) -> None:
        addresses = (f"10.0.0.{number}" for number in itertools.count(2))
        while True:
            await asyncio.sleep(1)
            for (resource, key), pod in list(self.cluster.stored.items()):
                if resource.kind == "Pod" and not self.stopped:
                    await self._look(resource, key, pod, addresses)

    async def _look(self, resource: Resource, key: Key, pod: Json, addresses: Iterable[str]) -> None:
        if pod["metadata"].get("deletionTimestamp"):
            await self.cluster._delete((resource, key), {"grace_seconds": 0})
        elif "status" not in pod and pod["spec"]["containers"][0]["image"] not in self.broken_images:
            spec = {**pod["spec"], "nodeName": placement.node_of(Pod.from_dict(pod)) or "n1"}
            status = {"phase": "Running", "podIP": next(iter(addresses)), "conditions": [ready()]}
            await self.cluster.change("Pod", key.name, key.tenant, spec=spec, status=status)


def ready(status: str = "True") -> Json:
    return {"type": "Ready", "status": status, "lastTransitionTime": times.format_time(times.now())}


class Story:
    def __init__(self, *made: Callable[..., Controller]) -> None:
        self.cluster = FakeCluster()
        self.kubelet = Kubelet(self.cluster)
        self._made = made

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeCluster]:
        """Controllers and kubelet at work; may be entered again, as a process that starts again."""
        client: Any = self.cluster
        informers, recorder = Informers(client), EventRecorder(client, "test")
        controllers = [make(client, informers, recorder) for make in self._made]
        jobs: list[Callable[[], Awaitable[None]]] = [recorder.run, informers.run, self.kubelet.run]
        tasks = [asyncio.ensure_future(job()) for job in [*jobs, *(controller.run for controller in controllers)]]
        try:
            await settle(1)
            yield self.cluster
        finally:
            failed = [task.exception() for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert not failed, failed


async def settle(seconds: float = 30) -> None:
    await asyncio.sleep(seconds)


@pytest.fixture
def virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock goes with the event loop's."""
    monkeypatch.setattr(times, "now", lambda: START + timedelta(seconds=asyncio.get_running_loop().time()))
