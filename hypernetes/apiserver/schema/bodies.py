"""Request bodies: JSON or YAML bytes to a dict, with the keys that occur twice, which the fast parser hides."""

import json
from typing import Any

import orjson
import yaml

from hypernetes.api.status import StatusError

JSON = "application/json"
YAML = "application/yaml"
_MAX_YAML_NODES = 200_000  # with aliases expanded; a 3 MB body without any has fewer


def media_type(content_type: str) -> str:
    """`application/json` of `Application/JSON; charset=utf-8`; JSON where there is none."""
    return content_type.partition(";")[0].strip().lower() or JSON


def parse(body: bytes, content_type: str = JSON, *, find_duplicates: bool = False) -> tuple[Any, list[str]]:
    """The value, and the complaints about duplicate keys (only if asked for).

    StatusError 400 for malformed text, 415 for another media type.
    """
    kind = media_type(content_type)
    if kind == JSON:
        return _json(body, find_duplicates)
    if kind == YAML:
        return _yaml(body)
    raise StatusError(
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {JSON}, {YAML}",
    )


def _json(body: bytes, find_duplicates: bool) -> tuple[Any, list[str]]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise StatusError("BadRequest", f"the body is not valid JSON: {error}") from error
    return value, _duplicates(body) if find_duplicates else []


class _Pairs(dict[str, Any]):
    """A JSON object that remembers which of its keys came twice."""

    __slots__ = ("twice",)
    twice: list[str]


def _duplicates(body: bytes) -> list[str]:
    found = False

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        found = True
        marked = _Pairs(made)
        names = [key for key, _ in pairs]
        marked.twice = [key for key in made if names.count(key) > 1]
        return marked

    value = json.loads(body, object_pairs_hook=keep)
    complaints: list[str] = []
    if found:
        _collect(value, "", complaints)
    return complaints


def _collect(value: Any, path: str, complaints: list[str]) -> None:
    if isinstance(value, dict):
        for key in getattr(value, "twice", ()):
            complaints.append(f'duplicate field "{path}.{key}"' if path else f'duplicate field "{key}"')
        for key, item in value.items():
            _collect(item, f"{path}.{key}" if path else key, complaints)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _collect(item, f"{path}[{index}]", complaints)


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: no timestamps, string keys, duplicate keys noted."""

    duplicates: list[str]


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> Any:
    made: dict[str, Any] = {}
    yield made
    loader.flatten_mapping(node)
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, bool):
            key = "true" if key else "false"
        elif isinstance(key, int | float):
            key = str(key)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a string", key_node.start_mark)
        if key in made:
            loader.duplicates.append(f'line {key_node.start_mark.line + 1}: key "{key}" already set in map')
        made[key] = loader.construct_object(value_node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(body: bytes) -> tuple[Any, list[str]]:
    loader: _Loader | None = None
    try:
        loader = _Loader(body)
        loader.duplicates = []
        value = loader.get_single_data()
        _check_size(value, {}, set())
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise StatusError("BadRequest", f"the body is not valid YAML: {' '.join(str(error).split())}") from error
    finally:
        if loader is not None:
            loader.dispose()
    return value, loader.duplicates


def _check_size(value: Any, sizes: dict[int, int], under_way: set[int]) -> int:
    """The number of nodes with aliases expanded; ValueError where that has no end, or no end in sight."""
    if not isinstance(value, dict | list):
        return 1
    identity = id(value)
    if identity in under_way:
        raise ValueError("an anchor contains itself")
    if identity not in sizes:
        under_way.add(identity)
        entries = value.values() if isinstance(value, dict) else value
        size = 1 + sum(_check_size(entry, sizes, under_way) for entry in entries)
        under_way.remove(identity)
        if size > _MAX_YAML_NODES:
            raise ValueError("its aliases expand to too many nodes")
        sizes[identity] = size
    return sizes[identity]
