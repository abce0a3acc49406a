"""JSON → protobuf → JSON is the identity, for every kind that has a message."""

import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.apiserver import protobuf, schema
from hypernetes.apiserver.jsonvalues import clone
from hypernetes.apiserver.protobuf import descriptors
from hypernetes.apiserver.schema import KindSchema
from tests.unit.apiserver.registry.test_any_object import anything

Object = dict[str, Any]


def kinds() -> list[tuple[str, str]]:
    """One apiVersion and kind for each message; lists are their items'."""
    found: dict[str, tuple[str, str]] = {}
    for (api_version, kind), message in descriptors.kinds().items():
        if not kind.endswith("List") and kind not in ("WatchEvent", "PartialObjectMetadata"):
            found.setdefault(message, (api_version, kind))
    return sorted(found.values())


def stored(kind: KindSchema, seed: int) -> Object:
    """An object of the kind as it would be stored."""
    drawn = anything(kind.root, random.Random(seed), 0)
    drawn.pop("apiVersion", None)
    drawn.pop("kind", None)
    _leave_out(kind.kind, drawn)
    decoded, _ = kind.decode(drawn, "Ignore")
    return kind.default(decoded)


def _leave_out(kind: str, drawn: Object) -> None:
    """What the messages have no place for."""
    spec = drawn.get("spec", {})
    if kind == "Namespace":
        spec.pop("network", None)  # ours, of which no typed client knows
    for embedded in [drawn.get("deleteOptions", {}), *spec.get("volumeClaimTemplates", ())]:
        embedded.pop("apiVersion", None)
        embedded.pop("kind", None)
    for version in spec.get("versions", ()) if kind == "CustomResourceDefinition" else ():
        version.pop("schema", None)  # what is drawn for its unions is no schema: they are looked at below
        version.pop("subresources", None)


@pytest.mark.parametrize(("api_version", "name"), kinds(), ids=[f"{version} {kind}" for version, kind in kinds()])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_stored_is_the_same_after_it(api_version: str, name: str, seed: int) -> None:
    kind = schema.for_kind(api_version, name)
    obj = stored(kind, seed)
    read = protobuf.decode(protobuf.encode(obj))
    bare = clone(obj)
    _leave_out(name, bare)  # what a StatefulSet's claims are is filled in again
    assert _without_empty(read) == _without_empty(bare)
    again, complaints = kind.decode(read, "Strict")
    assert complaints == []
    assert _without_empty(kind.default(again)) == _without_empty(obj)
    assert protobuf.encode(again) == protobuf.encode(obj)


def _without_empty(value: Any) -> Any:
    """Without what protobuf doesn't tell from what isn't there: null, and an empty list or map."""
    if isinstance(value, dict):
        kept = {key: _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in (None, [], {})}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value


def test_every_kind_that_is_served_with_a_schema_of_upstreams_is_looked_at() -> None:
    assert len(kinds()) > 55
    assert {("v1", "Pod"), ("v1", "Status"), ("v1", "DeleteOptions"), ("autoscaling/v1", "Scale")} <= set(kinds())


CRD = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a.b"},
    "spec": {"group": "b", "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
        "type": "object", "$ref": "#/x", "x-kubernetes-preserve-unknown-fields": True, "maximum": 10, "minimum": 0.5,
        "default": {"a": [1, None]}, "enum": ["a", 1, None], "x-kubernetes-validations": [{"rule": "self == self"}],
        "properties": {"items": {"items": {"type": "string"}}, "either": {"items": [{"type": "string"}, {}]}},
        "additionalProperties": False, "additionalItems": {"type": "array"}, "not": {"additionalProperties": True},
        "dependencies": {"a": ["b", "c"], "d": {"type": "string"}},
    }}, "subresources": {"status": {}}}]},
}  # fmt: skip


def test_a_schema_within_an_object_keeps_its_unions_and_its_spelling() -> None:
    assert protobuf.decode(protobuf.encode(CRD)) == CRD


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_list_is_its_items(seed: int) -> None:
    kind = schema.for_kind("v1", "Pod")
    item = stored(kind, seed)
    whole = {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": [item, item]}
    read = protobuf.decode(protobuf.encode(whole))
    assert orjson.dumps(read["items"][0]) == orjson.dumps(read["items"][1])
    assert {"apiVersion": "v1", "kind": "Pod", **read["items"][0]} == protobuf.decode(protobuf.encode(item))
