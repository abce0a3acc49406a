"""The stored form of objects, and what is spliced into it."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver import codec

TEXTS = st.dictionaries(st.text(min_size=1), st.text(), max_size=3)


@given(TEXTS, st.booleans(), TEXTS)
def test_what_is_spliced_in_is_what_a_parser_would_have_put_there(
    annotations: dict[str, str], has: bool, data: dict[str, str]
) -> None:
    annotations.pop("hypernetes.io/tenant", None)
    metadata = {"name": "a", **({"annotations": annotations} if has else {}), "labels": {"metadata": "{"}}
    obj = {"kind": "ConfigMap", "data": data, "metadata": metadata, "apiVersion": "v1"}
    stored = codec.encode(obj)
    shown = orjson.loads(codec.splice(stored, 7, "acme"))
    assert shown["metadata"].pop("resourceVersion") == "7"
    assert shown["metadata"]["annotations"].pop("hypernetes.io/tenant") == "acme"
    if not (has and annotations):
        assert shown["metadata"].pop("annotations") == {}
        metadata.pop("annotations", None)
    assert shown == obj


def test_a_clients_own_revision_and_tenant_are_not_stored() -> None:
    metadata = {"name": "a", "resourceVersion": "5", "annotations": {"hypernetes.io/tenant": "evil"}}
    stored = codec.encode({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    assert orjson.loads(stored)["metadata"] == {"name": "a"}


def test_the_same_object_is_shown_as_another_version_of_its_group() -> None:
    stored = codec.encode({"apiVersion": "hypernetes.io/v1", "kind": "Network", "metadata": {"name": "a"}})
    assert orjson.loads(codec.splice(stored, 3, api_version="v1")) == {
        "apiVersion": "v1", "kind": "Network", "metadata": {"name": "a", "resourceVersion": "3"},
    }  # fmt: skip


FIELDS = st.dictionaries(st.text(alphabet='a],"[{}:\\ \n', max_size=8), st.just({}), max_size=4)


@given(FIELDS, TEXTS, st.booleans())
def test_managers_are_found_again_without_parsing(
    fields: dict[str, Any], annotations: dict[str, str], has: bool
) -> None:
    annotations.pop("hypernetes.io/tenant", None)
    managed = orjson.dumps([{"apiVersion": "v1", "fieldsV1": fields, "manager": "],", "operation": "Update"}] * 2)
    metadata = {"name": "a", **({"annotations": annotations} if has and annotations else {})}
    data = codec.encode({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"managedFields": [1]}})
    value = codec.join(data, managed)
    assert codec.split(value) == (data, managed)
    assert codec.split(data) == (data, b"")
    assert orjson.loads(value)["metadata"] == {**metadata, "managedFields": orjson.loads(managed)}
    for tenant in (None, "acme"):
        shown = orjson.loads(codec.splice(data, 7, tenant, managed=(managed[:5], managed[5:])))
        assert shown["metadata"]["managedFields"] == orjson.loads(managed)
        assert shown["metadata"]["resourceVersion"] == "7"
