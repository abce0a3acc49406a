"""Subresources that are neither the object nor its status: each is a small request of its own."""

import copy
import dataclasses
from typing import Any

import orjson
from aiohttp import web

from hypernetes.api import scheme, times
from hypernetes.api.models.authentication_v1 import TokenRequestSpec
from hypernetes.api.status import StatusError, cause, conflict, invalid, not_found
from hypernetes.api.tenancy import SYSTEM_TENANT, TenantSAN
from hypernetes.apiserver import codec, deletion, patch, registry, schema, streaming, tables, views
from hypernetes.apiserver.authn import certificates, serviceaccounts
from hypernetes.apiserver.authn.serviceaccounts import BoundObject, ServiceAccountToken
from hypernetes.apiserver.authz.nodes import node_of
from hypernetes.apiserver.fieldmanagement import entries, scaling
from hypernetes.apiserver.handlers import applying, managers, negotiation, options, writing
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.handlers.reading import find
from hypernetes.apiserver.objects import Decision, Place, Put, Remove, Stored, missing
from hypernetes.apiserver.registry import metadata, namespaces, scales

Object = dict[str, Any]

_NODES = scheme.by_name("v1", "nodes")
_PODS = scheme.by_name("v1", "pods")
_MAX_CERTIFICATE_REQUEST_BYTES = 64 * 1024


async def get_scale(call: Call) -> web.StreamResponse:
    await call.parts.freshness.now()
    entry = find(call)
    return _answer_scale(call, scales.of(codec.decode(entry.data, entry.revision)))


def _answer_scale(call: Call, scale: Object) -> web.Response:
    """In the form that the client asks for: `kubectl get --subresource=scale` prints a table."""
    accepted = negotiation.accepted(call)
    if accepted.shape == views.TABLE:
        resource = dataclasses.replace(call.resource, kind="Scale")
        include = call.http.query.get("includeObject") or tables.INCLUDE_METADATA
        body = tables.table(resource, [scale], include, version=accepted.version)
        body["metadata"] = {"resourceVersion": scale["metadata"]["resourceVersion"]}
    elif accepted.shape == views.METADATA:
        body = tables.partial_metadata(scale, accepted.version)
    else:
        body = scale
    return negotiation.answer(body, 200, accepted.media_type)


async def put_scale(call: Call) -> web.StreamResponse:
    """PUT or PATCH of a scale: changes spec.replicas and nothing else."""
    if call.route.verb == "patch" and patch.check_content_type(call.http.content_type) == patch.APPLY:
        return await _apply_scale(call)
    asked = options.write_options(call.http.query, call.route.verb)
    body, content_type = await negotiation.read_payload(call, ("autoscaling/v1", "Scale"))
    kind = schema.for_kind("autoscaling/v1", "Scale")
    strategy = registry.of(call.resource)

    def changed(old: Stored | None) -> Decision:
        if old is None:
            raise missing(writing.place_of(call))
        if call.route.verb == "patch":
            patched = patch.apply(content_type, scales.of(old), body, kind)
            scale, _ = patch.decode(kind, patched, asked.field_validation)
        else:
            scale, _ = kind.decode(body, asked.field_validation, content_type)
        writing.check_uid(call, (scale.get("metadata") or {}).get("uid"), old)
        new = scales.applied(scale, old, call.resource, call.route.name)
        return writing.decide_update(call, strategy, new, old, managers.scaled(call, scale, old))

    written = await writing.change(call, changed, dry_run=asked.dry_run)
    return _answer_scale(call, scales.of(codec.decode(written.entry.data, written.entry.revision)))


async def _apply_scale(call: Call) -> web.StreamResponse:
    asked = options.write_options(call.http.query, "patch", applies=True)
    known = managers.scale_versions()
    config = await applying.read_configuration(call, known.api_version, "Scale", asked.field_validation)
    kind, strategy = schema.for_kind(known.api_version, "Scale"), registry.of(call.resource)

    def changed(old: Stored | None) -> Decision:
        if old is None:
            raise missing(writing.place_of(call))
        before, shown = entries.load(old.managed), scales.of(old)
        new, after = applying.outcome(call, shown, config, scaling.of_scale(before), known, force=asked.force)
        scale, _ = patch.decode(kind, shown if new is None else new, asked.field_validation)
        obj = scales.applied(scale, old, call.resource, call.route.name)
        managed = entries.dump(scaling.of_workload(before, after, call.resource.api_version))
        return applying.settled(writing.decide_update(call, strategy, obj, old, managed), old)

    written = await writing.change(call, changed, dry_run=asked.dry_run)
    return _answer_scale(call, scales.of(codec.decode(written.entry.data, written.entry.revision)))


async def bind(call: Call) -> web.StreamResponse:
    """POST of a Binding: gives a pod its node, once. Both `pods/NAME/binding` and `bindings` lead here."""
    asked = options.write_options(call.http.query, "create")
    body, content_type = await negotiation.read_payload(call, ("v1", "Binding"))
    binding, _ = schema.for_kind("v1", "Binding").decode(body, asked.field_validation, content_type)
    metadata = binding.get("metadata") or {}
    name = call.route.name or metadata.get("name") or ""
    target = binding.get("target") or {}
    node = target.get("name") or ""
    if not name or not node or target.get("kind") not in (None, "", "Node"):
        raise StatusError("BadRequest", "a Binding must name its pod and its target node")
    if metadata.get("name", name) != name:
        message = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        raise StatusError("BadRequest", message)
    place = Place(_PODS, call.one_tenant, call.route.namespace, name)

    def bound(old: Object | None) -> Decision:
        if old is None:
            raise missing(place)
        return Put(_bound(old, node, metadata, call))

    await call.parts.objects.change(place, bound, dry_run=asked.dry_run)
    return negotiation.answer(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201},
        201,
        negotiation.media_type(call.http),
    )


def _bound(pod: Object, node: str, metadata: Object, call: Call) -> Object:
    name = pod["metadata"]["name"]
    uid = metadata.get("uid")
    if uid and uid != pod["metadata"]["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {pod['metadata']['uid']}"
        raise conflict("pods", name, why)
    if "deletionTimestamp" in pod["metadata"]:
        raise conflict("pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if pod["spec"].get("nodeName"):
        raise conflict("pods/binding", name, f"pod {name} is already assigned to node {pod['spec']['nodeName']!r}")
    if pod["spec"].get("schedulingGates"):
        raise conflict("pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
    new = copy.deepcopy(pod)
    new["spec"]["nodeName"] = node
    for key, value in (metadata.get("annotations") or {}).items():
        new["metadata"].setdefault("annotations", {})[key] = value
    for key, value in (metadata.get("labels") or {}).items():
        new["metadata"].setdefault("labels", {}).setdefault(key, value)
    now = times.format_time(call.parts.clock())
    conditions = [c for c in new["status"].get("conditions") or () if c["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    new["status"]["conditions"] = [*conditions, scheduled]
    return new


async def finalize(call: Call) -> web.StreamResponse:
    """PUT of a namespace's spec.finalizers; the last one to go takes the namespace with it."""
    accepted = negotiation.accepted(call)
    asked = options.write_options(call.http.query, "update")
    sent = await writing.read_object(call, asked.field_validation)
    strategy = registry.of(call.resource)

    def changed(old: Stored | None) -> Decision:
        if old is None:
            raise missing(writing.place_of(call))
        managed = managers.updated(call, sent, old, None)
        expected = sent["metadata"].get("resourceVersion")
        if expected and expected != old["metadata"]["resourceVersion"]:
            raise conflict("namespaces", call.route.name, writing.MODIFIED)
        new = {**copy.deepcopy(old), "metadata": copy.deepcopy(sent["metadata"])}
        metadata.carry_over(new["metadata"], old["metadata"])
        new["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = call.route.name
        new["spec"]["finalizers"] = list(sent.get("spec", {}).get("finalizers") or ())
        causes = metadata.validate_update(new["metadata"], old["metadata"], strategy, namespaced=False)
        causes += namespaces.finalizer_causes(new["spec"]["finalizers"])
        if causes:
            raise invalid("", "Namespace", call.route.name, causes)
        if not new["spec"]["finalizers"]:
            del new["spec"]["finalizers"]
        return Remove(last=new) if deletion.finished(new, strategy) else Put(new, managed=managed)

    return writing.answer(call, await writing.change(call, changed, dry_run=asked.dry_run), accepted)


async def token(call: Call) -> web.StreamResponse:
    """POST of a TokenRequest: a token of the service account."""
    asked = options.write_options(call.http.query, "create")
    body, content_type = await negotiation.read_payload(call, ("authentication.k8s.io/v1", "TokenRequest"))
    kind = schema.for_kind("authentication.k8s.io/v1", "TokenRequest")
    request, call.warnings[:] = kind.decode(body, asked.field_validation, content_type)
    tenant, namespace, name = call.one_tenant, call.route.namespace, call.route.name
    _check_same_account(request.get("metadata") or {}, namespace, name)
    await call.parts.freshness.now()
    lookups = call.parts.lookups
    tenant_uid, uid = lookups.tenant_uid(tenant), lookups.service_account_uid(tenant, namespace, name)
    if uid is None or tenant_uid is None:
        raise not_found("serviceaccounts", name)
    spec = request.get("spec") or {}
    granted = serviceaccounts.grant(
        TokenRequestSpec.from_dict({"audiences": [], **spec}), tenant=tenant, tenant_uid=tenant_uid,
        namespace=namespace, account=BoundObject(name, uid), objects=lookups, now=call.parts.clock(),
    )  # fmt: skip
    node = node_of(call.user)
    if node is not None and not _of_own_pod(call, node, granted):
        why = "an agent gets tokens that are bound to the pods of its node"
        raise StatusError("Forbidden", f'serviceaccounts "{name}" is forbidden: {why}')
    signed = serviceaccounts.sign(granted, await call.parts.token_keys.of(tenant, tenant_uid))
    now = times.format_time(call.parts.clock())
    answer = {
        **request,
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": now},
        "spec": {
            **spec,
            "audiences": list(granted.audiences),
            "expirationSeconds": int((granted.expires_at - granted.issued_at).total_seconds()),
            "boundObjectRef": spec.get("boundObjectRef"),
        },
        "status": serviceaccounts.status(granted, signed),
    }
    return negotiation.answer(answer, 201, negotiation.media_type(call.http), call.warnings)


def _of_own_pod(call: Call, node: str, granted: ServiceAccountToken) -> bool:
    """Whether the token ends with a pod of the node."""
    bound, graph = granted.bound, call.parts.authorizer.nodes.graph
    where = (call.one_tenant, call.route.namespace)
    return bound is not None and bound.kind == "Pod" and graph.pod(node, *where, bound.name) is not None


def _check_same_account(metadata: Object, namespace: str, name: str) -> None:
    """A TokenRequest may name its account, and no other. Raises StatusError 422."""
    causes = [
        cause("FieldValueInvalid", f"metadata.{field}", f"must match the {field} of the service account, {own!r}")
        for field, own in (("name", name), ("namespace", namespace))
        if metadata.get(field) not in (None, "", own)
    ]
    if causes:
        raise invalid("authentication.k8s.io", "TokenRequest", name, causes)


async def certificate(call: Call) -> web.StreamResponse:
    """POST of a CertificateRequest: a client certificate of the tenant."""
    body = await negotiation.read_body(call.http)
    if len(body) > _MAX_CERTIFICATE_REQUEST_BYTES:
        raise StatusError("RequestEntityTooLarge", f"limit is {_MAX_CERTIFICATE_REQUEST_BYTES}")
    try:
        request = orjson.loads(body)
        spec = request["spec"]
        if not isinstance(spec, dict):
            raise TypeError("spec is no object")
    except (ValueError, KeyError, TypeError) as error:
        raise StatusError("BadRequest", "the body is not a CertificateRequest with a spec") from error
    await call.parts.freshness.now()
    tenant = call.route.name
    uid = call.parts.lookups.tenant_uid(tenant)
    if uid is None:
        raise not_found("tenants.hypernetes.io", tenant)
    san = TenantSAN(call.parts.cluster_id, tenant, uid)
    status = certificates.sign(spec, call.parts.authority, san, call.parts.clock())
    return negotiation.answer(
        {
            "apiVersion": "hypernetes.io/v1", "kind": "CertificateRequest", "metadata": {"name": tenant},
            "spec": spec, "status": status,
        }, 201,
    )  # fmt: skip


async def log(call: Call) -> web.StreamResponse:
    pod, node = await _pod_and_node(call)
    return await streaming.read_log(call.http, call.parts.dialer, call.one_tenant, pod, node)


async def execute(call: Call) -> web.StreamResponse:
    pod, node = await _pod_and_node(call)
    return await streaming.execute(call.http, call.parts.dialer, call.one_tenant, pod, node)


async def attach(call: Call) -> web.StreamResponse:
    pod, node = await _pod_and_node(call)
    return await streaming.attach(call.http, call.parts.dialer, call.one_tenant, pod, node)


async def _pod_and_node(call: Call) -> tuple[Object, Object | None]:
    await call.parts.freshness.now()
    entry = find(call)
    pod = codec.decode(entry.data, entry.revision)
    node = call.parts.mirror.object(_NODES, SYSTEM_TENANT, "", pod["spec"].get("nodeName") or "")
    return pod, None if node is None else codec.decode(node.data, node.revision)
