"""What an applied configuration says: whether its kind has such fields, and which it names."""

from functools import lru_cache
from typing import Any

import orjson

from hypernetes.apiserver.fieldmanagement import elements
from hypernetes.apiserver.fieldmanagement.comparing import ANYTHING
from hypernetes.apiserver.fieldmanagement.elements import Unsuitable
from hypernetes.apiserver.fieldmanagement.fieldsets import MEMBER, SELF, Fields
from hypernetes.apiserver.schema import Type

MAX_REMEMBERED_BYTES = 8 * 1024  # of a spec of which something is remembered
_MAX_COMPLAINTS = 100
_NUMBERS = {"integer": "numeric (int or float)", "number": "numeric (int or float)"}


def named(config: dict[str, Any], built: Type) -> Fields:
    """The fields that a configuration names. Raises Unsuitable as `check` does.

    Whoever applies does so again and again, mostly with the same spec: so what that names is remembered.
    """
    spec = orjson.dumps(config["spec"]) if isinstance(config.get("spec"), dict) and "spec" in built.fields else b""
    if not spec or len(spec) > MAX_REMEMBERED_BYTES:
        check(config, built)
        return fields_of(config, built)
    rest = {key: value for key, value in config.items() if key != "spec"}
    check(rest, built)
    return {**fields_of(rest, built), **_named_in_spec(spec, built)}


@lru_cache(maxsize=128)
def _named_in_spec(spec: bytes, built: Type) -> Fields:
    config = {"spec": orjson.loads(spec)}
    check(config, built)
    return fields_of(config, built)


def check(config: dict[str, Any], built: Type) -> None:
    """Raises Unsuitable for a field that the kind doesn't have, a value of another type, and entries of equal keys."""
    complaints: list[str] = []
    _check(config, built, "", complaints)
    if complaints:
        told = complaints[:_MAX_COMPLAINTS]
        raise Unsuitable(told[0] if len(told) == 1 else "errors:\n  " + "\n  ".join(told))


def _check(value: Any, built: Type, path: str, complaints: list[str]) -> None:
    kind = built.kind
    if value is None or kind == "any":
        return
    if kind in ("object", "map"):
        if not isinstance(value, dict):
            complaints.append(f"{path}: expected map, got {_shown(value)}")
            return
        for key, each in value.items():
            below = built.fields.get(key, built.item)
            if below is None:
                complaints.append(f"{path}.{key}: field not declared in schema")
            else:
                _check(each, below, f"{path}.{key}", complaints)
    elif kind == "list":
        if isinstance(value, list):
            _check_entries(value, built, path, complaints)
        else:
            complaints.append(f"{path}: expected list, got {_shown(value)}")
    elif (wrong := _wrong_scalar(value, kind)) is not None:
        complaints.append(f"{path}: expected {wrong}, got {_shown(value)}")


def _check_entries(entries: list[Any], built: Type, path: str, complaints: list[str]) -> None:
    assert built.item is not None
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        at = f"[{index}]"
        if not built.atomic:
            try:
                element = elements.of_entry(entry, built)
            except Unsuitable as error:
                complaints.append(f"{path}: element {index}: {error}")
                return
            at = elements.text(element)
            if element in seen:
                complaints.append(f"{path}: duplicate entries for key {at}")
            seen.add(element)
        _check(entry, built.item, f"{path}{at}", complaints)


def _wrong_scalar(value: Any, kind: str) -> str | None:
    """What a scalar should have been, if it isn't that."""
    if kind == "string":
        return None if isinstance(value, str) else "string"
    if kind == "boolean":
        return None if isinstance(value, bool) else "boolean"
    if kind in _NUMBERS:
        return None if isinstance(value, int | float) and not isinstance(value, bool) else _NUMBERS[kind]
    return "any scalar" if isinstance(value, dict | list) else None


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 100 else f"{text[:100]}…"


def fields_of(config: dict[str, Any], built: Type) -> Fields:
    """The set of fields that a configuration names; what leads there isn't named by itself."""
    return _inside(config, built)


def _inside(value: Any, built: Type) -> Fields:
    """Below a value that isn't owned as a whole."""
    out: Fields = {}
    item = ANYTHING if built.item is None else built.item
    if isinstance(value, dict):
        for key, each in value.items():
            declared = built.fields.get(key)
            node = _named(each, item if declared is None else declared, itself=declared is None)
            if node is not None:
                out[f"f:{key}"] = node
    elif isinstance(value, list) and not built.atomic and built.kind == "list":
        for entry in value:
            element = elements.of_entry(entry, built)
            node = _named(entry, item, itself=True)
            assert node is not None
            out[element] = MEMBER if element in out else node
    return out


def _named(value: Any, built: Type, *, itself: bool) -> Fields | None:
    """The node of one value; None where nothing of it is named. `itself`: it is named, and not only what it holds."""
    if built.atomic or value is None or value == {} or not isinstance(value, dict | list):
        return MEMBER
    if isinstance(value, list) and built.kind != "list":
        return MEMBER
    below = _inside(value, built)
    if not below:
        return MEMBER if itself else None
    if itself:
        below[SELF] = MEMBER
    return below
