"""What is kept of an object, with what differs from reader to reader."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource
from hypernetes.api.tenancy import TENANT_ANNOTATION
from hypernetes.apiserver import codec, protobuf, views
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Entry
from hypernetes.apiserver.protobuf import descriptors, envelopes, splicing, writing
from tests.unit.apiserver.registry.test_any_object import made

IN_PROTOBUF = [each for each in scheme.served() if each.is_stored and protobuf.has(each.api_version, each.kind)]


@pytest.mark.parametrize("resource", IN_PROTOBUF, ids=lambda each: each.group_resource)
def test_the_metadata_of_every_kind_comes_first(resource: Resource) -> None:
    message = descriptors.of_kind(resource.api_version, resource.kind)
    assert message is not None
    assert {field.key: field.number for field in descriptors.fields(message)}["metadata"] == 1
    assert protobuf.has(resource.api_version, f"{resource.kind}List")


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32), revision=st.integers(0, 2**63), tenant=st.none() | st.sampled_from(["a", "t" * 63]),
    resource=st.sampled_from([each for each in IN_PROTOBUF if each.stored is each]),
)  # fmt: skip
def test_it_is_what_json_says(seed: int, revision: int, tenant: str | None, resource: Resource) -> None:
    obj = made(resource.api_version, resource.kind, seed)
    data = codec.encode(obj)
    spliced = codec.splice(data, revision, tenant)
    message = envelopes.decode(envelopes.encode(codec.decode(spliced, revision) if revision else obj))
    entry = Entry(Keys("c").of(resource, tenant or "x", "", "a"), revision, data)
    view = views.view_of(resource, annotated=tenant is not None, media_type=protobuf.MEDIA_TYPE)
    shown = protobuf.decode(view.encode(entry))
    if revision:
        later = protobuf.decode(view.encode(entry, revision + 1))["metadata"]
        assert later == {**shown["metadata"], "resourceVersion": str(revision + 1)}
    assert shown["metadata"].get("resourceVersion") == (str(revision) if revision else None)
    assert shown["metadata"].get("annotations", {}).get(TENANT_ANNOTATION) == tenant
    for each in (shown, message):
        each["metadata"].pop("resourceVersion", None)
        annotations = each["metadata"].pop("annotations", {})
        each["annotations"] = {key: value for key, value in annotations.items() if key != TENANT_ANNOTATION}
    assert shown == message


def test_a_long_metadata_keeps_its_length() -> None:
    for size in (0, 90, 100, 127, 128, 16_000, 16_383, 16_384, 3_000_000):
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x" * size}, "data": {"a": "b"}}
        kept = splicing.begun(writing.write("k8s.io.api.core.v1.ConfigMap", obj), 5)
        message = splicing.splice(splicing.splice(kept, 12345), 17, "acme")
        read = protobuf.decode(envelopes.wrap("v1", "ConfigMap", message))
        assert read["metadata"]["resourceVersion"] == "17"
        assert (len(read["metadata"]["name"]), read["data"]) == (size, {"a": "b"})


def test_frames_are_counted() -> None:
    frames = b"".join(envelopes.event("ADDED", b"x" * size) for size in (0, 1, 300))
    assert envelopes.frames(frames) == 3
