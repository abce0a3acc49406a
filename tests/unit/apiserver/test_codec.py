"""The stored form of objects, and what is spliced into it."""

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
