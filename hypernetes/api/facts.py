"""Reads the data that describes the API: Kubernetes' stable groups and our own `hypernetes.io`."""

from functools import cache
from importlib.resources import files
from typing import Any

import orjson
import yaml

# What all kinds have in common.
_OF_KINDS = {
    "apiVersion": "The group and version in which the object is written.",
    "kind": "What the object is.",
    "metadata": "What every object has in common: name, labels and so on.",
    "spec": "What is wanted.",
    "status": "What is the case, as far as those know who see to it. Read-only for everybody else.",
    "items": "The objects.",
}

Schema = dict[str, Any]
Column = dict[str, Any]


def _read(name: str) -> Any:
    return orjson.loads((files("hypernetes.api") / "facts" / name).read_bytes())


@cache
def _ours() -> dict[str, Any]:
    ours: dict[str, Any] = _read("hypernetes.json")
    return ours


@cache
def _metrics() -> dict[str, Any]:
    """metrics.k8s.io: elsewhere an add-on's, here the API server's own."""
    metrics: dict[str, Any] = _read("metrics.json")
    return metrics


@cache
def _snapshots() -> dict[str, Any]:
    """snapshot.storage.k8s.io: elsewhere custom resources, here built in."""
    snapshots: dict[str, Any] = _read("snapshots.json")
    return snapshots


@cache
def schemas() -> dict[str, Schema]:
    """Every type by its full name (`io.k8s.api.core.v1.Pod`), in OpenAPI v2 form; `$ref` is a bare full name."""
    types: dict[str, Schema] = _read("schemas.json")
    for name, properties in _ours()["properties"].items():
        types[name]["properties"].update(properties)
    types.update(_ours()["schemas"])
    types.update(_metrics()["schemas"])
    types.update(_snapshots()["schemas"])
    return types


@cache
def resources() -> list[dict[str, Any]]:
    """Every resource and subresource (`pods/status`) with its kind, scope, verbs, short names and categories."""
    return [*_read("resources.json"), *_ours()["resources"], *_metrics()["resources"], *_snapshots()["resources"]]


@cache
def descriptions() -> dict[str, dict[str, str]]:
    """What types and fields are for, in our own words: full type name -> field ("" for the type itself) -> text."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted((files("hypernetes.api") / "facts" / "descriptions").iterdir(), key=lambda each: each.name):
        for package, types in yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader).items():
            for name, texts in types.items():
                full = f"{package}.{name}"
                assert full not in found, f"{full} is described twice"
                found[full] = texts
    for name, schema in schemas().items():
        if "x-kubernetes-group-version-kind" in schema:
            found[name] = {**_OF_KINDS, **found.get(name, {})}
    return found


@cache
def columns() -> dict[str, list[Column]]:
    """The columns of a kind's server-side table, keyed by the kind in lowerCamelCase."""
    return {**_read("columns.json"), **_ours()["columns"], **_snapshots()["columns"]}


@cache
def messages() -> dict[str, list[list[Any]]]:
    """The protobuf form of every type: full message name -> [field number, name, label, type]."""
    found: dict[str, list[list[Any]]] = _read("protobuf.json")
    return found
