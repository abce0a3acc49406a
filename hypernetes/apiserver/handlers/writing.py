"""POST and PUT: decode, complete, admit, check, write."""

from typing import Any

from aiohttp import web

from hypernetes.api import scheme
from hypernetes.api.status import StatusError, already_exists, conflict, invalid
from hypernetes.apiserver import (
    admission,
    codec,
    contents,
    deletion,
    registry,
    schema,
    sharing,
    validation,
    versions,
    views,
)
from hypernetes.apiserver.handlers import claims, managers, negotiation, networktenants, options, quotas
from hypernetes.apiserver.handlers.context import CREATED, Call, check_may_create
from hypernetes.apiserver.handlers.reading import view_for
from hypernetes.apiserver.jsonvalues import clone
from hypernetes.apiserver.largebodies import is_large
from hypernetes.apiserver.objects import Decision, Place, Put, Remove, Stored, Written, missing
from hypernetes.apiserver.registry import Strategy, metadata
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_NETWORKS = scheme.by_name("hypernetes.io/v1", "networks")
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
_MAX_CAUSES = 1_000  # in one answer: a body of 3 MB can be wrong in a million places
_NAME_ATTEMPTS = 8  # for a generated name that is taken; as upstream


async def create(call: Call) -> web.StreamResponse:
    accepted = negotiation.accepted(call)
    asked = options.write_options(call.http.query, "create")
    obj = await read_object(call, asked.field_validation, new=True)
    written = await create_object(call, obj, dry_run=asked.dry_run)
    if call.resource is contents.TENANTS and not asked.dry_run:
        # usable at once: whoever gets the answer finds the namespaces, the network and the service there
        tenant = codec.decode(written.entry.data, written.entry.revision)
        name, cidr = tenant["metadata"]["name"], tenant["spec"]["serviceCIDR"]
        written = await call.parts.contents.activate(name, cidr, written.entry.revision)
    return answer(call, written, accepted, 201)


async def create_object(call: Call, obj: Object, managed: bytes | None = None, *, dry_run: bool = False) -> Written:
    """Creates a decoded object; `managed` says who manages it, where that is known. Raises StatusError."""
    if call.resource.stored is _NETWORKS:
        call = networktenants.directed(call, obj)
    resource, tenant = call.resource, call.one_tenant
    strategy = registry.of(resource)
    claimed = obj["metadata"].pop("managedFields", None)
    generate = not obj["metadata"].get("name") and bool(obj["metadata"].get("generateName"))
    if resource.namespaced and not call.route.namespace:
        raise StatusError("MethodNotAllowed", "an object of this kind is created in a namespace")
    if not generate and not obj["metadata"].get("name") and strategy.unnamed is not None:
        obj["metadata"]["name"] = strategy.unnamed()
    for attempt in range(_NAME_ATTEMPTS if generate else 1):
        if generate:
            obj["metadata"]["name"] = metadata.generated_name(obj["metadata"]["generateName"])
        name = obj["metadata"].setdefault("name", "")  # none is told of with all else that is wrong
        call.http[CREATED] = name
        check_may_create(call, name)
        if sharing.is_providers(call.parts.mirror, resource, tenant, name):
            raise already_exists(resource.group_resource, name)
        new = _completed_new(call, clone(obj) if generate else obj, strategy)
        managed_now = managers.created(call, new, claimed) if managed is None else managed
        asked = admission.request(call, admission.CREATE, new)
        await admission.admit(call, asked)
        strategy.prepare_create(new)
        call.parts.implied.keep(Place(resource, tenant, call.route.namespace, name), new)
        strategy.asked_by(new, call.user.to_dict())
        _check(call, new, _causes_new(call, new, strategy))
        _warn(call, strategy.warnings(new, None))
        await admission.admit(call, asked, validating=True)
        place = Place(resource, tenant, call.route.namespace, new["metadata"]["name"])
        try:
            written = await quotas.write(call, _creation(call, place, new, managed_now, dry_run), dry_run=dry_run)
            await admission.relied_on(call, written.entry.revision)
            return written
        except StatusError as error:
            if error.reason != "AlreadyExists" or not generate or attempt == _NAME_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _creation(call: Call, place: Place, obj: Object, managed: bytes, dry_run: bool) -> quotas.Write:
    return lambda: claims.create(call, place, obj, managed, dry_run=dry_run)


async def read_object(call: Call, field_validation: str, *, new: bool = False) -> Object:
    """The object of a request's body, decoded and pruned, in the form it is stored in. Raises StatusError."""
    resource = call.resource
    body = await negotiation.read_body(call.http)
    kind = schema.for_kind(resource.api_version, resource.kind)

    def decoded() -> tuple[Object, list[str]]:
        payload, content_type = negotiation.payload(body, sent_as, (resource.api_version, resource.kind))
        return kind.decode(payload, field_validation, content_type)

    sent_as = call.http.headers.get("Content-Type", "")
    large = is_large(len(body), sent_as)
    obj, warnings = await call.parts.large_bodies.read(decoded) if large else decoded()
    call.warnings += warnings
    obj.setdefault("metadata", {})
    obj = versions.stored(call.resource, obj)
    check_place(call, obj, new)
    metadata.drop_tenant(obj["metadata"])
    call.warnings += metadata.drop_equal_owners(obj["metadata"])
    return obj


def check_place(call: Call, obj: Object, new: bool) -> None:
    """The body must not name another place than the URL; what it leaves out is filled in."""
    found, route = obj["metadata"], call.route
    if not call.resource.namespaced:
        found.pop("namespace", None)
    elif found.setdefault("namespace", route.namespace) != route.namespace:
        if found["namespace"]:
            message = "the namespace of the provided object does not match the namespace sent on the request"
            raise StatusError("BadRequest", message)
        found["namespace"] = route.namespace
    if new:
        if found.get("resourceVersion") not in (None, "", "0"):
            raise StatusError("BadRequest", "resourceVersion should not be set on objects to be created")
    elif found.get("name") != route.name:
        if found.get("name"):
            message = f"the name of the object ({found['name']}) does not match the name on the URL ({route.name})"
            raise StatusError("BadRequest", message)
        raise StatusError("BadRequest", "name must be provided")


def _completed_new(call: Call, obj: Object, strategy: Strategy) -> Object:
    stored = call.resource.stored
    metadata.fill_new(obj["metadata"], call.parts.clock(), generation=strategy.generation)
    if strategy.has_status and not strategy.status_on_create:
        obj["status"] = {}
    schema.for_kind(stored.api_version, stored.kind).default(obj)
    return obj


def _causes_new(call: Call, obj: Object, strategy: Strategy) -> Causes:
    stored = call.resource.stored
    causes = metadata.validate(obj["metadata"], strategy, namespaced=stored.namespaced)
    causes += strategy.validate_create(obj)
    causes += strategy.validate(obj)
    if not strategy.complete:
        causes += schema.for_kind(stored.api_version, stored.kind).validate(obj, causes)
    return causes


def _warn(call: Call, warnings: list[str]) -> None:
    """A decision may be made again, when another write came in between; it warns once."""
    call.warnings.extend(each for each in warnings if each not in call.warnings)


def _check(call: Call, obj: Object, causes: Causes) -> None:
    if causes:
        stored = call.resource.stored
        raise invalid(stored.group, stored.kind, obj["metadata"].get("name", ""), causes[:_MAX_CAUSES])


async def update(call: Call) -> web.StreamResponse:
    """PUT of an object, or of its status."""
    accepted = negotiation.accepted(call)
    asked = options.write_options(call.http.query, "update")
    sent = await read_object(call, asked.field_validation)
    await admission.prepare(call)
    strategy = registry.of(call.resource, call.route.subresource)

    def changed(old: Stored | None) -> Decision:
        if old is None:
            raise missing(place_of(call))
        check_uid(call, sent["metadata"].get("uid"), old)
        return decide_update(call, strategy, clone(sent), old)

    if strategy.create_on_update and not call.route.subresource:
        await call.parts.freshness.now()
        place = place_of(call)
        if call.parts.mirror.object(call.resource, place.tenant, place.namespace, place.name) is None:
            if sent["metadata"].get("uid"):
                raise conflict(call.resource.group_resource, place.name, "Precondition failed: UID is of no object")
            sent["metadata"].pop("resourceVersion", None)
            return answer(call, await create_object(call, sent, dry_run=asked.dry_run), accepted, 201)
    written = await change(call, changed, dry_run=asked.dry_run)
    return answer(call, written, accepted)


def decide_update(
    call: Call, strategy: Strategy, new: Object, old: Stored, managed: bytes | None = None
) -> Decision:  # fmt: skip
    """What writing `new` over `old` comes to; `managed` says who manages it then, where that is known.

    Raises StatusError: 409 for a stale revision, 422 for what may not be.
    """
    resource = call.resource
    stored = resource.stored
    expected = new["metadata"].get("resourceVersion")
    if expected and expected != old["metadata"]["resourceVersion"]:
        raise conflict(resource.group_resource, call.route.name, MODIFIED)
    if not expected and resource.stored.group_resource in metadata.NEVER_UNCONDITIONALLY:
        causes = validation.invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise invalid(resource.group, resource.name, call.route.name, causes)
    claimed = new["metadata"].pop("managedFields", None)
    metadata.carry_over(new["metadata"], old["metadata"])
    kind = schema.for_kind(stored.api_version, stored.kind)
    kind.default(new)
    if managed is None:
        managed = managers.updated(call, new, old, claimed)
    asked = admission.request(call, admission.UPDATE, new, old)
    admission.complete(asked)
    causes = []
    if call.route.subresource == "status":
        _keep_all_but_status(new, old)
        strategy.prepare_status(new, old)
        causes += strategy.validate_status(new, old)
    else:
        if strategy.has_status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = clone(old["status"])
        strategy.prepare_update(new, old)
        call.parts.implied.keep(place_of(call), new)
        if strategy.generation and _counts(new, old, strategy):
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1
        causes += strategy.validate(new)
        causes += strategy.validate_update(new, old)
    causes += metadata.validate_update(new["metadata"], old["metadata"], strategy, namespaced=stored.namespaced)
    if not strategy.complete:
        causes += kind.validate(new, causes)
    _check(call, new, causes)
    if not call.route.subresource:
        _warn(call, strategy.warnings(new, old))
    admission.check(asked)
    if deletion.finished(new, strategy) and not deletion.finished(old, strategy):
        return Remove(also=[*claims.released(call, old), *quotas.charges(call, None, old)], last=new)
    return Put(new, [*claims.reclaimed(call, new, old), *quotas.charges(call, new, old, managed)], managed)


def check_uid(call: Call, uid: str | None, old: Object) -> None:
    """The uid of a body that replaces an object is a precondition. Raises StatusError 409."""
    if uid and uid != old["metadata"]["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
        raise conflict(call.resource.group_resource, call.route.name, why)


def _keep_all_but_status(new: Object, old: Object) -> None:
    """A status update changes the status and nothing else but what metadata a strategy lets through."""
    for key in [key for key in new if key not in ("metadata", "status")]:
        del new[key]
    new.update({key: clone(value) for key, value in old.items() if key not in ("metadata", "status")})
    new["metadata"]["ownerReferences"] = clone(old["metadata"].get("ownerReferences"))
    if not new["metadata"]["ownerReferences"]:
        del new["metadata"]["ownerReferences"]


def _counts(new: Object, old: Object, strategy: Strategy) -> bool:
    """Whether metadata.generation counts this change."""
    metadata_too = [name for name in strategy.counts_metadata if new["metadata"].get(name) != old["metadata"].get(name)]
    return bool(metadata_too) or _content(new) != _content(old)


def _content(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def place_of(call: Call) -> Place:
    return Place(call.resource, call.one_tenant, call.route.namespace, call.route.name)


async def change(call: Call, decide: Any, *, dry_run: bool = False) -> Written:
    place = place_of(call)

    async def write() -> Written:
        return await claims.claiming(call, None, lambda: call.parts.objects.change(place, decide, dry_run=dry_run))

    written = await quotas.write(call, write, dry_run=dry_run)
    await admission.relied_on(call, written.entry.revision)
    return written


def answer(call: Call, written: Written, accepted: negotiation.Accepted, status: int = 200) -> web.Response:
    view = view_for(call, accepted)
    if view.shape == views.TABLE:
        body: Any = view.table([written.entry])
        body["metadata"] = {"resourceVersion": str(written.entry.revision)}
    else:
        body = view.encode(written.entry)
    created = 201 if written.created else status
    return negotiation.answer(body, created, accepted.media_type, call.warnings)
