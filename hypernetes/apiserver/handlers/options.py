"""Query parameters and DeleteOptions, checked as upstream checks them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from multidict import MultiMapping

from hypernetes.api import selectors
from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError, invalid
from hypernetes.apiserver import validation
from hypernetes.apiserver.mirror import Match
from hypernetes.apiserver.registry import events, fields

Query = MultiMapping[str]
Shown = Callable[[selectors.Labels], selectors.Labels]

EXACT, NOT_OLDER_THAN = "Exact", "NotOlderThan"
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_META_GROUP = "meta.k8s.io"
_PROPAGATIONS = ("Background", "Foreground", "Orphan")
_FIELD_VALIDATIONS = ("Ignore", "Warn", "Strict")
_MANAGER_MAX_BYTES = 128


@dataclass(frozen=True, slots=True)
class ListOptions:
    limit: int
    continue_token: str
    resource_version: int | None  # None: not given, the newest
    match: str  # resourceVersionMatch: "", EXACT or NOT_OLDER_THAN
    timeout_seconds: int | None
    bookmarks: bool
    send_initial_events: bool | None
    labels: tuple[selectors.Requirement, ...]
    fields: tuple[selectors.FieldTerm, ...]

    @property
    def selects(self) -> bool:
        return bool(self.labels or self.fields)

    @property
    def having(self) -> selectors.Requirement | None:
        """A label that all that is selected must have, with one of some values; None where the selector names none."""
        return next((requirement for requirement in self.labels if requirement.operator == "In"), None)

    def field(self, path: str) -> str:
        """The value that a field must equal, if the selector says so; else ""."""
        return next((term.value for term in self.fields if term.path == path and not term.negated), "")

    def matcher(self, shown: Shown | None = None) -> Match | None:
        """The predicate over entries; None where everything matches.

        `shown` gives those labels that the client may see, where these aren't all: else a selector would tell the rest.
        """
        labels, terms = self.labels, self.fields
        if not labels and not terms:
            return None
        selects = selectors.all_of(labels)
        if shown is not None:
            return lambda entry: all(term(entry.fields) for term in terms) and selects(shown(entry.labels))
        if not terms:
            return lambda entry: selects(entry.labels)
        return lambda entry: all(term(entry.fields) for term in terms) and selects(entry.labels)


def list_options(query: Query, resource: Resource, *, watch: bool) -> ListOptions:
    """Raises StatusError: 400 for what can't be read, 422 for what doesn't fit together."""
    limit = _integer(query, "limit") or 0
    timeout = _integer(query, "timeoutSeconds")
    initial = _boolean(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    match, token = query.get("resourceVersionMatch", ""), query.get("continue", "")
    version = resource_version(query)
    causes = _match_causes(match, version, token, watch, initial)
    if causes:
        raise invalid(_META_GROUP, "ListOptions", "", causes)
    if token and version not in (None, 0):
        raise StatusError("BadRequest", "specifying resource version is not allowed when using continue")
    return ListOptions(
        limit=0 if watch else limit,
        continue_token=token,
        resource_version=version,
        match=match,
        timeout_seconds=timeout,
        bookmarks=_boolean(query, "allowWatchBookmarks"),
        send_initial_events=initial,
        labels=_labels(query.get("labelSelector", "")),
        fields=_fields(query.get("fieldSelector", ""), resource),
    )


def _match_causes(match: str, version: int | None, token: str, watch: bool, initial: bool | None) -> validation.Causes:
    path = "resourceVersionMatch"
    causes: validation.Causes = []
    if watch:
        if initial is not None and not match:
            causes += validation.forbidden(path, "sendInitialEvents requires setting resourceVersionMatch")
        if initial is None and match:
            causes += validation.forbidden(path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents")
        if initial is not None and match and match != NOT_OLDER_THAN:
            causes += validation.forbidden(path, "sendInitialEvents requires resourceVersionMatch NotOlderThan")
            causes += validation.not_supported(path, match, (NOT_OLDER_THAN,))
        return causes
    if initial is not None:
        causes += validation.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if match:
        if token:
            causes += validation.forbidden(path, "resourceVersionMatch is forbidden when continue is provided")
        if version is None:
            causes += validation.forbidden(path, "resourceVersionMatch is forbidden unless resourceVersion is provided")
        if match not in (EXACT, NOT_OLDER_THAN):
            causes += validation.not_supported(path, match, (EXACT, NOT_OLDER_THAN))
        elif match == EXACT and version == 0:
            causes += validation.forbidden(path, 'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
    return causes


def resource_version(query: Query) -> int | None:
    text = query.get("resourceVersion", "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 19:
        raise StatusError("BadRequest", f"Invalid value: {text!r}: resourceVersion must be a non-negative number")
    return int(text)


def _labels(text: str) -> tuple[selectors.Requirement, ...]:
    try:
        requirements = selectors.parse_labels(text)
    except ValueError as error:
        raise StatusError("BadRequest", str(error)) from error
    for requirement in requirements:
        causes = validation.qualified_name(requirement.key, "key")
        for value in requirement.values:
            causes += validation.label_value(value, "values")
        if causes:
            raise StatusError("BadRequest", f"unable to parse label selector {text!r}: {causes[0]['message']}")
    return requirements


def _fields(text: str, resource: Resource) -> tuple[selectors.FieldTerm, ...]:
    try:
        terms = selectors.parse_fields(text)
    except ValueError as error:
        raise StatusError("BadRequest", str(error)) from error
    stored = resource.stored
    supported = fields.supported(stored.group or "core", stored.name, stored.namespaced)
    found = []
    for term in terms:
        path = events.core_path(term.path) if resource.group == "events.k8s.io" else term.path
        if path is None or path not in supported:
            message = f'Unable to find "{resource.group_resource}" that match field selector: '
            raise StatusError("BadRequest", f"{message}field label not supported: {term.path}")
        found.append(replace(term, path=path))
    return tuple(found)


def _integer(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not _INTEGER.match(text) or not -(2**63) <= int(text) < 2**63:
        raise StatusError("BadRequest", f"query parameter {name}: {text[:100]!r} is not a 64-bit number")
    return int(text)


def _boolean(query: Query, name: str) -> bool:
    return query.get(name, "false").lower() not in ("false", "0")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What the query of a POST, PUT or PATCH asks for."""

    dry_run: bool  # do everything but write
    field_validation: str  # Ignore, Warn (the default) or Strict
    force: bool = False  # an apply takes what others manage


_WRITE_KINDS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}  # by verb


def write_options(query: Query, verb: str, *, applies: bool = False) -> WriteOptions:
    """Raises StatusError 422 for what upstream doesn't take, naming every parameter that is wrong."""
    dry_runs = _all(query, "dryRun")
    strictness = query.get("fieldValidation") or "Warn"
    causes = _dry_run_causes(dry_runs) + _manager_causes(query.get("fieldManager", ""))
    if strictness not in _FIELD_VALIDATIONS:
        causes += validation.not_supported("fieldValidation", strictness, _FIELD_VALIDATIONS)
    if applies and not query.get("fieldManager"):
        causes += validation.required("fieldManager", "is required for apply patch")
    if verb == "patch" and not applies and "force" in query:
        causes += validation.forbidden("force", "may not be specified for non-apply patch")
    if causes:
        raise invalid(_META_GROUP, _WRITE_KINDS[verb], "", causes)
    return WriteOptions(bool(dry_runs), strictness, applies and _boolean(query, "force"))


def _dry_run_causes(values: list[str]) -> validation.Causes:
    wrong = [value for value in values if value != "All"]
    return validation.not_supported("dryRun", wrong[0], ("All",)) if wrong else []


def _manager_causes(name: str) -> validation.Causes:
    if len(name.encode("utf-8", "surrogatepass")) > _MANAGER_MAX_BYTES:
        return validation.too_long("fieldManager", _MANAGER_MAX_BYTES)
    if not name.isprintable():
        return validation.invalid("fieldManager", name, "should only contain printable characters")
    return []


def _all(query: Query, name: str) -> list[str]:
    """Every value of a parameter that may come more than once."""
    return list(query.getall(name, ()))


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    grace_seconds: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


def delete_options(query: Query, body: dict[str, Any]) -> DeleteOptions:
    """From the body and, where that is silent, the query. Raises StatusError."""
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = _integer(query, "gracePeriodSeconds")
    orphan = body.get("orphanDependents")
    if orphan is None and "orphanDependents" in query:
        orphan = _boolean(query, "orphanDependents")
    policy = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
    dry_runs = [*_all(query, "dryRun"), *(body.get("dryRun") or ())]
    causes = _dry_run_causes(dry_runs)
    if policy and orphan is not None:
        causes += validation.invalid(
            "propagationPolicy", policy, "orphanDependents and deletionPropagation are both set"
        )
    elif policy and policy not in _PROPAGATIONS:
        causes += validation.not_supported("propagationPolicy", policy, (*_PROPAGATIONS, "nil"))
    if grace is not None and grace < 0:
        grace = 1  # as upstream reads it: as soon as possible, but not by force
    if causes:
        raise invalid(_META_GROUP, "DeleteOptions", "", causes)
    preconditions = body.get("preconditions") or {}
    return DeleteOptions(
        grace_seconds=grace,
        propagation=policy or {True: "Orphan", False: "Background", None: ""}[orphan],
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=bool(dry_runs),
    )
