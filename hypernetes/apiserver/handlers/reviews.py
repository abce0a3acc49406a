"""Questions in the form of objects that are created and never kept: who am I, whose is this token, may they?

Every answer is about the tenant of the path, which is the asker's own or one that the provider looks after. So a token
of another tenant is nobody's, and nothing is told about what anybody may elsewhere.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from hypernetes.api import times
from hypernetes.api.status import StatusError, cause
from hypernetes.apiserver import schema
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.authz import Attributes
from hypernetes.apiserver.authz.policyrules import PolicyRule
from hypernetes.apiserver.handlers import negotiation, options
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_AUTHORIZATION = "authorization.k8s.io"


async def self_subject(call: Call) -> web.StreamResponse:
    """SelfSubjectReview: who the server takes the asker for."""
    review = await _read(call)
    metadata = {**(review.get("metadata") or {}), "creationTimestamp": times.format_time(call.parts.clock())}
    return _answer(call, {**review, "metadata": metadata, "status": {"userInfo": call.user.to_dict()}})


async def token(call: Call) -> web.StreamResponse:
    """TokenReview: whose a token is."""
    review = await _read(call)
    spec = review.get("spec") or {}
    encoded = spec.get("token") or ""
    if not encoded:
        raise StatusError("BadRequest", "token is required for TokenReview in authentication")
    await call.parts.freshness.now()
    found = await call.parts.authenticator.review(encoded, call.one_tenant, spec.get("audiences") or ())
    if found is None:
        status: Object = {"user": {}, "error": "the token opens nothing here"}
    else:
        status = {"authenticated": True, "user": found[0].to_dict(), "audiences": found[1]}
    return _answer(call, {**review, "status": status})


async def subject_access(call: Call) -> web.StreamResponse:
    """SubjectAccessReview: whether somebody may do something."""
    review = await _read(call)
    spec = review.get("spec") or {}
    causes = _spec_causes(spec) + _subject_causes(spec) + _metadata_causes(review, namespaced=False)
    return await _decided(call, review, spec, causes, _subject(call, spec))


async def local_subject_access(call: Call) -> web.StreamResponse:
    """LocalSubjectAccessReview: the same in one namespace, so that its owner may be allowed to ask."""
    review = await _read(call)
    metadata = review["metadata"]
    namespace = call.route.namespace
    if not namespace:
        raise StatusError("BadRequest", "the namespace of the request must be given")
    if metadata.setdefault("namespace", namespace) != namespace:
        raise StatusError("BadRequest", "the namespace of the object does not match the namespace on the request")
    spec = review.get("spec") or {}
    causes = _spec_causes(spec) + _subject_causes(spec) + _metadata_causes(review, namespaced=True)
    resource = spec.get("resourceAttributes")
    if resource is not None and resource.get("namespace", "") != namespace:
        causes.append(_wrong("spec.resourceAttributes.namespace", "must match metadata.namespace"))
    if spec.get("nonResourceAttributes") is not None:
        causes.append(_wrong("spec.nonResourceAttributes", "disallowed on this kind of request"))
    distinct = list({(each["field"], each["reason"]): each for each in causes}.values())
    return await _decided(call, review, spec, distinct, _subject(call, spec))


async def self_subject_access(call: Call) -> web.StreamResponse:
    """SelfSubjectAccessReview: whether the asker may do something."""
    review = await _read(call)
    spec = review.get("spec") or {}
    causes = _spec_causes(spec) + _metadata_causes(review, namespaced=False)
    return await _decided(call, review, spec, causes, call.user)


async def self_subject_rules(call: Call) -> web.StreamResponse:
    """SelfSubjectRulesReview: all that the asker may in a namespace."""
    review = await _read(call)
    namespace = (review.get("spec") or {}).get("namespace") or ""
    if not namespace:
        raise StatusError("BadRequest", "no namespace on request")
    await call.parts.freshness.now()
    rules = call.parts.authorizer.policy(call.one_tenant).rules_of(call.user, namespace)
    ordered = sorted(rules, key=lambda rule: (rule.api_groups, rule.resources, rule.non_resource_urls, rule.verbs))
    status = {
        "resourceRules": [rule.to_dict() for rule in ordered if rule.resources],
        "nonResourceRules": [_urls_only(rule) for rule in ordered if rule.non_resource_urls],
        "incomplete": call.user.component,  # our own processes' rules are no roles
    }
    return _answer(call, {**review, "spec": {}, "status": status})


HANDLERS: dict[tuple[str, str], Callable[[Call], Awaitable[web.StreamResponse]]] = {
    ("authentication.k8s.io", "selfsubjectreviews"): self_subject,
    ("authentication.k8s.io", "tokenreviews"): token,
    (_AUTHORIZATION, "subjectaccessreviews"): subject_access,
    (_AUTHORIZATION, "localsubjectaccessreviews"): local_subject_access,
    (_AUTHORIZATION, "selfsubjectaccessreviews"): self_subject_access,
    (_AUTHORIZATION, "selfsubjectrulesreviews"): self_subject_rules,
}


async def _read(call: Call) -> Object:
    asked = options.write_options(call.http.query, "create")
    body, content_type = await negotiation.read_payload(call, (call.resource.api_version, call.resource.kind))
    kind = schema.for_kind(call.resource.api_version, call.resource.kind)
    review, warnings = kind.decode(body, asked.field_validation, content_type)
    call.warnings += warnings
    review.setdefault("metadata", {})
    return review


def _answer(call: Call, review: Object) -> web.StreamResponse:
    accepted = negotiation.accepted(call)
    return negotiation.answer(review, 201, accepted.media_type, call.warnings)


async def _decided(call: Call, review: Object, spec: Object, causes: Causes, user: User) -> web.StreamResponse:
    if causes:
        text = "; ".join(f"{each['field']}: {each['message']}" for each in causes)
        message = f"{call.resource.kind} is invalid: {text}"
        raise StatusError("Invalid", message, causes=causes, details={"group": _AUTHORIZATION})
    await call.parts.freshness.now()
    decision = call.parts.authorizer.authorize(user, _attributes(call.one_tenant, spec))
    status: Object = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    return _answer(call, {**review, "status": status})


def _attributes(tenant: str, spec: Mapping[str, Any]) -> Attributes:
    asked = spec.get("resourceAttributes")
    if asked is None:
        path = spec["nonResourceAttributes"]
        return Attributes(tenant, path.get("verb") or "", path=path.get("path") or "")
    return Attributes(
        tenant=tenant, verb=asked.get("verb") or "", group=asked.get("group") or "",
        resource=asked.get("resource") or "", subresource=asked.get("subresource") or "",
        namespace=asked.get("namespace") or "", name=asked.get("name") or "",
        field_selector=(asked.get("fieldSelector") or {}).get("rawSelector") or "",
    )  # fmt: skip


def _subject(call: Call, spec: Mapping[str, Any]) -> User:
    """Whom a review is about, in the tenant of the path; never one of our own processes."""
    extra = {key.lower(): tuple(values or ()) for key, values in (spec.get("extra") or {}).items()}
    uid = call.parts.lookups.tenant_uid(call.one_tenant) or ""
    groups = tuple(spec.get("groups") or ())
    return User(spec.get("user") or "", groups, call.one_tenant, uid, extra, spec.get("uid") or "")


def _urls_only(rule: PolicyRule) -> Object:
    return {"verbs": list(rule.verbs), "nonResourceURLs": list(rule.non_resource_urls)}


def _wrong(field: str, message: str) -> dict[str, str]:
    return cause("FieldValueInvalid", field, message)


def _spec_causes(spec: Mapping[str, Any]) -> Causes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        return [_wrong("spec.nonResourceAttributes", "cannot be specified in combination with resourceAttributes")]
    if resource is None and path is None:
        return [_wrong("spec.resourceAttributes", "exactly one of nonResourceAttributes or resourceAttributes")]
    return []


def _subject_causes(spec: Mapping[str, Any]) -> Causes:
    if spec.get("user") or spec.get("groups"):
        return []
    return [_wrong("spec.user", "at least one of user or group must be specified")]


def _metadata_causes(review: Mapping[str, Any], *, namespaced: bool) -> Causes:
    ignored = {"managedFields", "namespace"} if namespaced else {"managedFields"}
    if any(value for key, value in review["metadata"].items() if key not in ignored):
        return [_wrong("metadata", "must be empty except for namespace")]
    return []
