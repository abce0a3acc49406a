"""Server-side apply: PATCH with `application/apply-patch+yaml`, of an object that there is or that it makes."""

from typing import Any

import orjson
from aiohttp import web

from hypernetes.api.status import StatusError, cause, conflict
from hypernetes.apiserver import admission, codec, patch, registry, schema, versions
from hypernetes.apiserver.fieldmanagement import applying, entries, fieldsets, lastapplied
from hypernetes.apiserver.fieldmanagement.applying import Conflicts
from hypernetes.apiserver.fieldmanagement.elements import Unsuitable
from hypernetes.apiserver.fieldmanagement.entries import APPLY, Manager, Managers
from hypernetes.apiserver.fieldmanagement.updating import Versions
from hypernetes.apiserver.handlers import managers, negotiation, options, writing
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.jsonvalues import clone
from hypernetes.apiserver.largebodies import is_json, is_large
from hypernetes.apiserver.objects import Decision, Put, Stored, Written, missing
from hypernetes.apiserver.registry import metadata
from hypernetes.apiserver.schema import bodies

Object = dict[str, Any]

_MAX_CAUSES = 1_000  # in one answer: a body of 3 MB can conflict in a million places
_ATTEMPTS = 5  # of one request, against others who make and remove the object
_KUBECTL = "kubectl"


async def apply(call: Call) -> web.StreamResponse:
    accepted = negotiation.accepted(call)
    asked = options.write_options(call.http.query, "patch", applies=True)
    config = await read_configuration(call, call.resource.api_version, call.resource.kind, asked.field_validation)
    await admission.prepare(call)
    for _ in range(_ATTEMPTS):
        await call.parts.freshness.now()
        place = writing.place_of(call)
        there = call.parts.mirror.object(call.resource, place.tenant, place.namespace, place.name)
        try:
            written = await (_created if there is None else _changed)(call, config, asked)
        except StatusError as error:
            if error.reason != ("AlreadyExists" if there is None else "NotFound"):
                raise
            continue  # somebody made or removed it meanwhile
        return writing.answer(call, written, accepted)
    raise conflict(call.resource.group_resource, call.route.name, "others make and remove it all the time; try again")


async def read_configuration(call: Call, api_version: str, kind: str, field_validation: str) -> Object:
    """What the body says, as it stands there. Raises StatusError."""
    body = await negotiation.read_body(call.http)
    large = is_large(len(body), bodies.YAML, body)
    config, complaints = await call.parts.large_bodies.read(_parsed, body) if large else _parsed(body)
    if not isinstance(config, dict):
        raise StatusError("BadRequest", "error decoding patch: it is no object")
    if complaints and field_validation == schema.kinds.STRICT:
        raise StatusError("BadRequest", f"error strict decoding patch: {', '.join(complaints[:100])}")
    if field_validation == schema.kinds.WARN:
        call.warnings += complaints[:100]
    if (config.get("apiVersion"), config.get("kind")) != (api_version, kind):
        found = f"{config.get('apiVersion') or ''}, Kind={config.get('kind') or ''}"
        raise StatusError("BadRequest", f"invalid object type: {found}")
    said = config.get("metadata")
    if said is not None and not isinstance(said, dict):
        raise StatusError("BadRequest", "error decoding patch: metadata is no object")
    if (said or {}).get("managedFields") is not None:
        raise StatusError("BadRequest", "metadata.managedFields must be nil")
    return config


def _parsed(body: bytes) -> tuple[Any, list[str]]:
    """JSON is YAML, too, but is read much faster as what it is."""
    return bodies.parse(body, bodies.JSON if is_json(body) else bodies.YAML, find_duplicates=True)


async def _created(call: Call, config: Object, asked: options.WriteOptions) -> Written:
    if call.route.subresource:
        raise missing(writing.place_of(call))
    said = config.get("metadata") or {}
    if said.get("uid"):
        why = f"uid mismatch: the provided object specified uid {said['uid']}, and no existing object was found"
        raise conflict(call.resource.group_resource, call.route.name, why)
    new, managed = outcome(call, None, config, {}, managers.versions_of(call.resource), force=False)
    assert new is not None
    obj = _decoded(call, new)
    obj["metadata"].pop("resourceVersion", None)
    writing.check_place(call, obj, False)
    call.warnings += metadata.drop_equal_owners(obj["metadata"])
    return await writing.create_object(call, obj, entries.dump(managed), dry_run=asked.dry_run)


async def _changed(call: Call, config: Object, asked: options.WriteOptions) -> Written:
    strategy = registry.of(call.resource, call.route.subresource)
    known = managers.versions_of(call.resource, call.route.subresource)

    def changed(old: Stored | None) -> Decision:
        if old is None:
            raise missing(writing.place_of(call))
        live = versions.served(call.resource, old)
        new, managed = outcome(call, live, config, entries.load(old.managed), known, force=asked.force)
        obj = clone(dict(old)) if new is None else _decoded(call, new)
        writing.check_place(call, obj, False)
        metadata.drop_equal_owners(obj["metadata"])
        return settled(writing.decide_update(call, strategy, obj, old, entries.dump(managed)), old)

    return await writing.change(call, changed, dry_run=asked.dry_run)


def _decoded(call: Call, new: Object) -> Object:
    """What a configuration made of an object, in the form it is stored in."""
    kind = schema.for_kind(call.resource.api_version, call.resource.kind)
    obj, _ = patch.decode(kind, new, schema.kinds.IGNORE)
    obj.setdefault("metadata", {})
    metadata.drop_tenant(obj["metadata"])
    return versions.stored(call.resource, obj)


def outcome(
    call: Call, live: Object | None, config: Object, before: Managers, known: Versions, *, force: bool
) -> tuple[Object | None, Managers]:  # fmt: skip
    """What an apply makes of an object and its managers, as `applying.applied`. Raises StatusError."""
    name = managers.name(call.http.query, "")
    manager = Manager.of(name, APPLY, known.api_version, call.route.subresource)
    moment = managers.now(call)
    try:
        try:
            new, after = applying.applied(live, config, before, manager, known, force=force, now=moment)
        except Conflicts as error:
            if name != _KUBECTL or live is None:
                raise
            left = [each for each in error.found if each[1] not in lastapplied.kept(live, known)]
            if left:
                raise Conflicts(left) from None
            new, after = applying.applied(live, config, before, manager, known, force=True, now=moment)
    except Conflicts as error:
        raise _conflict(error) from error
    except Unsuitable as error:
        raise StatusError("BadRequest", _untyped(call, config, str(error))) from error
    if name == _KUBECTL:
        new = lastapplied.noted(live, new, config)
    return new, after


def settled(decision: Decision, old: Stored) -> Decision:
    """The decision, with the former times where nothing else has changed: what was applied before is no news."""
    if not isinstance(decision, Put) or not decision.managed or decision.managed == old.managed:
        return decision
    if codec.encode(decision.obj) != codec.encode(old) or _timeless(decision.managed) != _timeless(old.managed):
        return decision
    return Put(decision.obj, decision.also, old.managed)


def _timeless(managed: bytes) -> list[Any]:
    return [{**entry, "time": ""} for entry in (orjson.loads(managed) if managed else [])]


def _conflict(error: Conflicts) -> StatusError:
    causes = [
        cause("FieldManagerConflict", fieldsets.text(path), f"conflict with {manager}") for manager, path in error.found
    ]
    return StatusError("Conflict", error.message, causes=causes[:_MAX_CAUSES])


def _untyped(call: Call, config: Object, why: str) -> str:
    """As upstream words it."""
    said = config.get("metadata") or {}
    group, _, version = config["apiVersion"].rpartition("/")
    kind = f"{group}/{version}, Kind={config['kind']}" if group else f"{version}, Kind={config['kind']}"
    where = f"{said.get('namespace') or call.route.namespace}/{said.get('name') or call.route.name}"
    return f"failed to create typed patch object ({where}; {kind}): {why}"
