"""What an APIService's server says of its resources, read strictly (pure)."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from hypernetes.apiserver.aggregation.registered import Registered
from hypernetes.apiserver.documents import JSON, Document
from hypernetes.apiserver.openapi import gnostic

Row = dict[str, Any]

MAX_BYTES = 1 << 20  # of one document of a server
_MAX_ROWS = 2_000
_MAX_TEXT = 253
_MAX_WORDS = 64
_VERBS = frozenset({"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"})


class Unreadable(ValueError):
    """Why an answer is no discovery document."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The condition Available."""

    available: bool
    reason: str
    message: str


PASSED = Verdict(True, "Passed", "all checks passed")


@dataclass(frozen=True, slots=True)
class Offer:
    """A registered version, whether it can be used, and the resources it had when it last could."""

    registered: Registered
    verdict: Verdict
    rows: tuple[Row, ...] = ()
    openapi: Document | None = None  # v3
    definitions: dict[str, Any] = field(default_factory=dict, compare=False)  # of its v2 document: paths, definitions


def rows(body: bytes) -> tuple[Row, ...]:
    """Of an APIResourceList. Raises Unreadable."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable("no JSON") from error
    if not isinstance(said, dict) or said.get("kind") != "APIResourceList":
        raise Unreadable("no APIResourceList")
    found = said.get("resources") or []
    if not isinstance(found, list) or len(found) > _MAX_ROWS:
        raise Unreadable(f"not a list of at most {_MAX_ROWS} resources")
    by_name = {row["name"]: row for row in map(_row, found)}
    return tuple(by_name[name] for name in sorted(by_name))


def _row(said: Any) -> Row:
    if not isinstance(said, dict):
        raise Unreadable("a resource that is no object")
    row: Row = {
        "name": _text(said, "name"), "singularName": _text(said, "singularName", ""),
        "namespaced": said.get("namespaced") is True, "kind": _text(said, "kind"),
        "verbs": [verb for verb in _words(said, "verbs") if verb in _VERBS],
    }  # fmt: skip
    for name in ("shortNames", "categories"):
        if words := _words(said, name):
            row[name] = words
    for name in ("group", "version"):
        if text := _text(said, name, ""):
            row[name] = text
    return row


def _text(said: dict[str, Any], name: str, default: str | None = None) -> str:
    value = said.get(name, default)
    if not isinstance(value, str) or len(value) > _MAX_TEXT or (default is None and not value):
        raise Unreadable(f"a resource whose {name} is no text")
    return value


def _words(said: dict[str, Any], name: str) -> list[str]:
    words = said.get(name) or []
    if not isinstance(words, list) or len(words) > _MAX_WORDS:
        raise Unreadable(f"a resource whose {name} are no list")
    if not all(isinstance(word, str) and len(word) <= _MAX_TEXT for word in words):
        raise Unreadable(f"a resource whose {name} are no words")
    return words


def openapi_v3(body: bytes) -> Document | None:
    """As it came, if it is such a document; None for anything else: nobody depends on it."""
    said = _object(body)
    if said is None or not isinstance(said.get("openapi"), str) or not isinstance(said.get("paths"), dict):
        return None
    return Document.of_bytes(body, JSON)


def openapi_v2(body: bytes, registered: Registered) -> dict[str, Any]:
    """Its paths under the version's own prefix, and its definitions; empty where it has no such document."""
    said = _object(body)
    if said is None or said.get("swagger") != "2.0":
        return {}
    paths, definitions = said.get("paths"), said.get("definitions")
    if not isinstance(paths, dict) or not isinstance(definitions, dict):
        return {}
    own = {path: item for path, item in paths.items() if path.startswith(f"{registered.prefix}/")}
    found = {"paths": own, "definitions": definitions}
    return found if own and _can_be_written(found) else {}


def _can_be_written(found: dict[str, Any]) -> bool:
    """Whether it has a form that clients can be told in: what a stranger nests or leaves out shows then."""
    try:
        orjson.dumps(found)
        gnostic.document({"swagger": "2.0", "info": {"title": "", "version": ""}, **found})
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return False
    return True


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None
