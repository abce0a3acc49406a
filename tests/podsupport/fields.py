"""The fields of a pod's spec, by the schema: `Container.command`, each once, wherever its type is used."""

import copy
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

_CORE = "io.k8s.api.core.v1."
POD_SPEC = _CORE + "PodSpec"
_CONTAINER, _EPHEMERAL = _CORE + "Container", _CORE + "EphemeralContainer"


@cache
def schemas() -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((files("hypernetes.api") / "facts" / "schemas.json").read_bytes())
    return found


def field_of(kind: str, name: str) -> str:
    """An ephemeral container is a container, but for the one field that it has alone."""
    if kind == _EPHEMERAL and name in schemas()[_CONTAINER]["properties"]:
        kind = _CONTAINER
    return f"{kind.rpartition('.')[2]}.{name}"


def fields(closed: Collection[str] = ()) -> list[str]:
    """All fields in the order in which one meets them. Below a field of `closed` nothing is looked at."""
    found: dict[str, None] = {}
    seen: set[str] = set()

    def walk(kind: str) -> None:
        seen.add(kind)
        below = []
        for name, schema in properties(kind):
            field = field_of(kind, name)
            found.setdefault(field)
            if field not in closed and (nested := kind_in(schema)) is not None:
                below.append(nested)
        for nested in below:
            if nested not in seen:
                walk(nested)

    walk(POD_SPEC)
    return list(found)


def properties(kind: str) -> Iterator[tuple[str, Any]]:
    yield from schemas()[kind].get("properties", {}).items()


def kind_in(schema: Any) -> str | None:
    """The type of a field's value, or of its items."""
    name = schema.get("$ref") or schema.get("items", {}).get("$ref")
    return name if name in schemas() and schemas()[name].get("properties") else None


def dropped(body: Mapping[str, Any], field: str) -> dict[str, Any]:
    """A pod without a field, wherever it is set."""
    changed: dict[str, Any] = copy.deepcopy(dict(body))

    def walk(value: Any, kind: str) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item, kind)
        elif isinstance(value, dict):
            for name, schema in properties(kind):
                if name not in value:
                    continue
                if field_of(kind, name) == field:
                    del value[name]
                elif (nested := kind_in(schema)) is not None:
                    walk(value[name], nested)

    walk(changed.get("spec", {}), POD_SPEC)
    return changed
