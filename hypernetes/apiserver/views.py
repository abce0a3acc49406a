"""What a client sees of an entry (object, metadata, table rows), as which version, for which tenant.

A view turns stored bytes into answers. There is one instance of each (`view_of`), so that whoever encodes an event for
a view can keep the result for all its watchers.
"""

from functools import cache, cached_property, partial
from typing import Any

import orjson

from hypernetes.api.scheme import Resource
from hypernetes.apiserver import codec, protobuf, tables, versions
from hypernetes.apiserver.keptforms import KeptForms
from hypernetes.apiserver.mirror import Entry, Event
from hypernetes.apiserver.protobuf import descriptors, envelopes, splicing, writing
from hypernetes.apiserver.registry import nodes

OBJECT, METADATA, TABLE = "object", "metadata", "table"
JSON = "application/json"
META_GROUP = "meta.k8s.io"


class View:
    """See the module's docstring. Compared by identity: get one from `view_of`."""

    stream_type = JSON  # what a watch says it is

    def __init__(
        self, resource: Resource, shape: str, include_object: str, version: str, annotated: bool, projected: bool
    ) -> None:
        self.resource, self.shape, self.include_object = resource, shape, include_object
        self.version = version  # of meta.k8s.io, for tables and metadata
        self.annotated = annotated  # with the tenant's annotation, on /tenants/*/ paths
        self.projected = projected  # a shared object of `system`, as another tenant sees it
        self.managed = not annotated and not projected  # with who manages what, which none of our processes asks
        self._converted = versions.differs(resource)
        self.kind = resource.kind if shape == OBJECT else "PartialObjectMetadata"
        self.api_version = resource.api_version if shape == OBJECT else f"{META_GROUP}/{version}"
        self._alias = resource.api_version if resource.stored is not resource else None

    def encode(self, entry: Entry, revision: int | None = None, *, in_list: bool = False) -> bytes:
        """The object in JSON; in a table's view too, where it is what the rows are made from."""
        return self._encode(entry, revision or entry.revision, entry.managed if self.managed else (), in_list=in_list)

    def _encode(self, entry: Entry, revision: int, managed: tuple[bytes, ...], *, in_list: bool = False) -> bytes:
        tenant = entry.name.tenant if self.annotated and entry.name is not None else None
        if self.shape == METADATA:
            return codec.splice(self._metadata(entry), revision, tenant, managed=managed)
        return codec.splice(self._data(entry), revision, tenant, self._alias, in_list=in_list, managed=managed)

    def frame(self, event_type: str, entry: Entry, event: Event, *, first: bool) -> bytes:
        """A line of a watch. The object carries the event's revision, also when it shows what was there before."""
        key = (self, event_type, first or self.shape != TABLE)
        frame = event.frames.get(key)
        if frame is None:
            frame = event.frames[key] = self.line(event_type, entry, event.revision, first=first)
        return frame

    def line(self, event_type: str, entry: Entry, revision: int | None = None, *, first: bool) -> bytes:
        """Only the `first` table of a watch says which columns there are."""
        if self.shape == TABLE:
            rows = [self._row(entry, revision or entry.revision)]
            table = tables.table(self.resource, rows, self.include_object, version=self.version, with_columns=first)
            table["metadata"] = {"resourceVersion": str(revision or entry.revision)}
            body = orjson.dumps(table)
        else:
            body = self.encode(entry, revision)
        return b'{"type":"%b","object":%b}\n' % (event_type.encode(), body)

    def say(self, event_type: str, obj: dict[str, Any]) -> bytes:
        """A line of a watch that is about no entry: a bookmark, an error."""
        return orjson.dumps({"type": event_type, "object": obj}) + b"\n"

    def events_in(self, frames: bytes) -> int:
        """How many events some lines of a watch tell of."""
        return frames.count(b"\n")

    def shows(self, event: Event) -> bool:
        """Whether the event changes what this view shows: most of what happens to a node isn't its users' business."""
        if not self.projected or event.entry is None or event.previous is None:
            return True
        return self._data(event.entry) != self._data(event.previous)

    def table(self, entries: list[Entry]) -> dict[str, Any]:
        rows = [self._row(entry, entry.revision) for entry in entries]
        return tables.table(self.resource, rows, self.include_object, version=self.version)

    def _row(self, entry: Entry, revision: int) -> dict[str, Any]:
        """The object that a row is made of; who manages it is not parsed, only put out again."""
        obj: dict[str, Any] = orjson.loads(self._encode(entry, revision, ()))
        if self.managed and entry.managed:
            obj["metadata"]["managedFields"] = orjson.Fragment(b"".join(entry.managed))
        return obj

    def _data(self, entry: Entry) -> bytes:
        """The stored form, or the one that this view has of it, made once."""
        if self.projected:
            return _kept(entry, "projected", nodes.project)
        if self._converted:
            return _kept(entry, self.resource.api_version, partial(versions.served, self.resource))
        return entry.data

    def _metadata(self, entry: Entry) -> bytes:
        key = (self.projected, METADATA, self.version, self.resource.api_version if self._converted else "")
        if key not in entry.views:
            shown = tables.partial_metadata(orjson.loads(self._data(entry)), self.version)
            entry.views[key] = codec.encode(shown)
        return entry.views[key]


class ProtobufView(View):
    """The same in protobuf: objects of kinds that have a message, and the metadata of all."""

    stream_type = protobuf.WATCH_MEDIA_TYPE

    def encode(self, entry: Entry, revision: int | None = None, *, in_list: bool = False) -> bytes:
        """The object in its envelope."""
        return envelopes.wrap(self.api_version, self.kind, self.message(entry, revision))

    def message(self, entry: Entry, revision: int | None = None) -> bytes:
        message = self._message(entry)
        if not self.annotated and (not revision or revision == entry.revision):
            return message
        tenant = entry.name.tenant if self.annotated and entry.name is not None else None
        return splicing.splice(message, revision or entry.revision, tenant)

    def line(self, event_type: str, entry: Entry, revision: int | None = None, *, first: bool) -> bytes:
        return envelopes.event(event_type, self.encode(entry, revision))

    def say(self, event_type: str, obj: dict[str, Any]) -> bytes:
        return envelopes.event(event_type, protobuf.encode(obj))

    def events_in(self, frames: bytes) -> int:
        return envelopes.frames(frames)

    def _message(self, entry: Entry) -> bytes:
        message = entry.views.get(self._form)
        if message is None:
            obj = orjson.loads(self._data(entry))
            if self.managed and entry.managed:
                obj["metadata"]["managedFields"] = orjson.loads(b"".join(entry.managed))
            message = splicing.begun(writing.write(self._name, obj), entry.revision)
            _MESSAGES.keep(entry, self._form, message)
        return message

    @cached_property
    def _name(self) -> str:
        found = descriptors.of_kind(self.api_version, self.kind)
        assert found is not None, self.kind
        return found

    @cached_property
    def _form(self) -> str:
        """What names it among an entry's forms: the same for all views that it is the same for."""
        version = self.resource.api_version if self._converted else ""
        return f"{protobuf.MEDIA_TYPE} {self.shape} {self.projected} {self.managed} {version}"


_MESSAGES = KeptForms(64 * 1024 * 1024)


def _kept(entry: Entry, name: str, convert: Any) -> bytes:
    if name not in entry.views:
        entry.views[name] = codec.encode(convert(orjson.loads(entry.data)))
    return entry.views[name]


@cache
def view_of(
    resource: Resource, shape: str = OBJECT, include_object: str = "Metadata", *, version: str = "v1",
    annotated: bool = False, projected: bool = False, media_type: str = JSON,
) -> View:  # fmt: skip
    made = ProtobufView if media_type == protobuf.MEDIA_TYPE else View
    return made(resource, shape, include_object, version, annotated, projected)
