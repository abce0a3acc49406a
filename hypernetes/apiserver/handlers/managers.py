"""Who manages what, kept with every write: what `fieldmanagement` decides, for the request that writes."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import orjson

from hypernetes.api import scheme, times
from hypernetes.api.scheme import Resource
from hypernetes.apiserver import registry, schema, versions
from hypernetes.apiserver.fieldmanagement import entries, fieldsets, scaling, updating
from hypernetes.apiserver.fieldmanagement.elements import Unsuitable
from hypernetes.apiserver.fieldmanagement.entries import UPDATE, Manager, Managers
from hypernetes.apiserver.fieldmanagement.updating import Versions
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.objects import Stored
from hypernetes.apiserver.registry import changeable, scales
from hypernetes.apiserver.schema import Type

Object = dict[str, Any]

_NAME_MAX_BYTES = 128


def name(query: Mapping[str, str], user_agent: str) -> str:
    """The manager that a request is by: as it says, or else the program that sends it."""
    said = query.get("fieldManager", "")
    if said:
        return said
    program = "".join(character for character in user_agent.partition("/")[0] if character.isprintable())
    return program.encode("utf-8", "ignore")[:_NAME_MAX_BYTES].decode("utf-8", "ignore")


def manager(call: Call, operation: str) -> Manager:
    said = name(call.http.query, call.http.headers.get("User-Agent", ""))
    return Manager.of(said, operation, call.resource.api_version, call.route.subresource)


def now(call: Call) -> str:
    return times.format_time(call.parts.clock())


@lru_cache(maxsize=1024)
def versions_of(resource: Resource, subresource: str = "") -> Versions:
    """The versions of a resource's kind, as a request to it sees them."""
    strategy = registry.of(resource, subresource)
    counted = changeable.by(resource.group, resource.name, subresource, has_status=strategy.has_status)

    def other(obj: Object, of: str, to: str) -> tuple[Object, Type] | None:
        one, another = _version(resource, of), _version(resource, to)
        if one is None or another is None:
            return None
        if one is another:
            return obj, schema.for_kind(one.api_version, one.kind).root
        known, _ = schema.for_kind(one.api_version, one.kind).decode(obj, schema.kinds.IGNORE)
        try:
            converted = versions.served(another, versions.stored(one, known))
        except (
            KeyError,
            TypeError,
        ) as error:  # what a client leaves out is found missing later
            raise Unsuitable(f"it is too incomplete to be shown as {to}: {error}") from error
        return converted, schema.for_kind(another.api_version, another.kind).root

    return Versions(resource.api_version, schema.for_kind(resource.api_version, resource.kind).root, other, counted)


def _version(resource: Resource, api_version: str) -> Resource | None:
    """The resource of that version that shows the same objects."""
    group, _, version = api_version.rpartition("/")
    found = scheme.find(group, version, resource.name)
    return found if found is not None and found.stored is resource.stored else None


@cache
def scale_versions() -> Versions:
    """Those of the scale of a workload: there is one."""
    return Versions(scaling.API_VERSION, schema.for_kind(scaling.API_VERSION, "Scale").root, lambda obj, of, to: None)


def created(call: Call, new: Object, claimed: list[Any] | None) -> bytes:
    """The managers of a new object that is complete but for what admission adds; `claimed` are those that it brings."""
    known = versions_of(call.resource, call.route.subresource)
    brought = (None if claimed is None else _read(claimed, known)) or {}
    shown = versions.served(call.resource, new)
    try:
        found = updating.created(shown, brought, manager(call, UPDATE), known, now(call))
    except Unsuitable:
        return b""
    return entries.dump(found)


def updated(call: Call, new: Object, old: Stored, claimed: list[Any] | None) -> bytes:
    """The managers of an object after an update; `claimed` are those that the client sent with it."""
    known = versions_of(call.resource, call.route.subresource)
    before = _before(old, None if call.route.subresource else claimed, known)
    former, latter = (versions.served(call.resource, each) for each in (without_revision(old), new))
    try:
        after = updating.updated(former, latter, before, manager(call, UPDATE), known, now(call))
    except Unsuitable:
        return old.managed
    return entries.dump(after)


def scaled(call: Call, scale: Object, old: Stored) -> bytes:
    """The managers of a workload after its scale was updated."""
    before, shown = entries.load(old.managed), scales.of(old)
    after = updating.updated(
        without_revision(shown), {**shown, "spec": scale.get("spec") or {}}, scaling.of_scale(before),
        manager(call, UPDATE), scale_versions(), now(call),
    )  # fmt: skip
    return entries.dump(scaling.of_workload(before, after, call.resource.api_version))


def _before(old: Stored, claimed: list[Any] | None, known: Versions) -> Managers:
    """Those that an update starts from: clients usually send back what they were shown."""
    if claimed is None:
        return entries.load(old.managed)
    if entries.is_reset(claimed):
        return {}
    shown = orjson.loads(old.managed) if old.managed else []
    read = None if claimed == shown else _read(claimed, known)
    return read or entries.read(shown, trusted=True)


def _read(claimed: list[Any], known: Versions) -> Managers | None:
    """The managers that a client claims; None where what it sent are none."""
    try:
        found = entries.read(claimed)
    except ValueError:
        return None
    for each, managed in found.items():
        if managed.api_version == known.api_version:
            found[each] = managed._replace(fields=fieldsets.fitted(managed.fields, known.built))
    return found


def without_revision(obj: Object) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    return {**obj, "metadata": metadata}
