"""Messages that are small and stand for much, that are nested without end, or that say what they may not."""

import time

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver import protobuf
from hypernetes.apiserver.protobuf import reading
from tests.unit.apiserver.protobuf.test_envelopes import BYTES, VARINT, envelope, field, varint

THREE_MEGABYTES = 3 * 1024 * 1024
POD_SPEC, CONTAINERS = 2, 2
SCHEMA_ALL_OF, SCHEMA_NOT = 25, 28
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
DEADLINE_SECONDS = 5.0  # on a machine that is busy; it takes a tenth of that


def nested(number: int, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = field(number, data)
    return data


def schema_of_crd(schema: bytes) -> bytes:
    spec, versions, validation, open_api = 2, 7, 4, 1
    return envelope(*CRD, field(spec, field(versions, field(validation, field(open_api, schema)))))


def tiny(tag: bytes) -> bytes:
    return tag * (THREE_MEGABYTES // len(tag) - 100)


BOMBS = {
    "a million containers": envelope("v1", "Pod", field(POD_SPEC, tiny(varint(CONTAINERS << 3 | BYTES) + b"\x00"))),
    "a million names": envelope("v1", "Pod", field(1, tiny(varint(14 << 3 | BYTES) + b"\x00"))),
    "three million numbers in one field": envelope(
        "v1", "Pod", field(POD_SPEC, field(14, field(4, b"\x01" * (THREE_MEGABYTES - 100))))
    ),
    "a million numbers": envelope("v1", "Pod", field(POD_SPEC, field(14, tiny(varint(4 << 3 | VARINT) + b"\x01")))),
    "a million containers of many pods": envelope("v1", "PodList", field(2, field(2, tiny(b"\x12\x00"))) * 1),
    "a message within itself": schema_of_crd(nested(SCHEMA_NOT, 5_000)),
    "messages within themselves, half a million": schema_of_crd(field(SCHEMA_ALL_OF, nested(SCHEMA_NOT, 90)) * 5_000),
    "JSON within itself": envelope(
        "apps/v1", "ControllerRevision", field(2, field(1, b"[" * 100_000 + b"]" * 100_000))
    ),
    "JSON that is none": envelope("apps/v1", "ControllerRevision", field(2, field(1, b"{"))),
    "a number that is none": schema_of_crd(varint(9 << 3 | 1) + b"\x00\x00\x00\x00\x00\x00\xf8\x7f"),
    "a million fields that nobody knows": envelope("v1", "Pod", tiny(varint(99 << 3 | VARINT) + b"\x01")),
    "small ones with many of them": envelope(
        "v1", "Pod", field(POD_SPEC, field(CONTAINERS, (varint(99 << 3 | VARINT) + b"\x01") * 80) * 10_000)
    ),
    "a group without an end": envelope("v1", "Pod", b"\x9b\x06" * 100_000),
    "an envelope within an envelope": envelope("v1", "Pod", envelope("v1", "Pod", b"")),
    "a name that is no text": envelope("v1", "ConfigMap", field(2, field(1, b"\xff\xfe") + field(2, "x"))),
    "a kind that is long": envelope("v1", "x" * 1_000_000, b""),
    "another encoding": envelope("v1", "Pod", b"\x1f\x8b\x08\x00") + field(3, "gzip"),
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_what_stands_for_too_much_is_refused_at_once(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(StatusError) as refused:
        protobuf.decode(body)
    assert refused.value.code == 400
    assert len(refused.value.message) < 500
    assert time.process_time() - began < DEADLINE_SECONDS


def test_what_is_unknown_is_dropped_whatever_its_form() -> None:
    forms = field(99, 7) + field(98, "x") + varint(97 << 3 | 1) + b"x" * 8 + varint(96 << 3 | 5) + b"x" * 4
    group = varint(95 << 3 | 3) + field(1, 7) + varint(95 << 3 | 4)
    unknown = envelope("v1", "Pod", forms + field(1, group + field(1, "a") + forms) + group)
    assert protobuf.decode(unknown) == {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}


def test_an_object_of_many_parts_is_read_as_long_as_they_are_not_too_many() -> None:
    few = envelope("v1", "Endpoints", field(2, field(1, field(1, "10.0.0.1")) * (reading.MAX_PARTS // 3)))
    assert len(protobuf.decode(few)["subsets"]) == 1
    many = envelope("v1", "Pod", field(POD_SPEC, field(CONTAINERS, b"") * (reading.MAX_PARTS + 1)))
    with pytest.raises(StatusError, match="more than 200,000 parts"):
        protobuf.decode(many)


def test_a_list_of_numbers_may_be_packed_or_not() -> None:
    groups = 4  # of a pod's security context
    packed = field(14, field(groups, varint(7) + varint(300)))
    apart = field(14, field(groups, 7) + field(groups, 300))
    for context in (packed, apart):
        pod = protobuf.decode(envelope("v1", "Pod", field(POD_SPEC, context)))
        assert pod["spec"]["securityContext"]["supplementalGroups"] == [7, 300]


def test_an_envelope_that_does_not_say_its_kind_is_what_the_request_is_about() -> None:
    body = envelope("", "", field(1, field(1, "a")))
    assert protobuf.decode(body, ("v1", "ConfigMap")) == {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
    }  # fmt: skip
