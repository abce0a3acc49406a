"""Protobuf bodies: good ones become what their JSON would have been, and no bytes at all do harm."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api.status import StatusError
from hypernetes.apiserver import protobuf

VARINT, BYTES = 0, 2


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(raw)) + raw


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


# numbers as upstream's generated.proto has them
NAME, GENERATION, CREATED, LABELS = 1, 7, 8, 11
META = field(NAME, "a") + field(LABELS, field(1, "k") + field(2, "v")) + field(CREATED, field(1, 1_600_000_000))
CONFIG_MAP = envelope("v1", "ConfigMap", field(1, META) + field(2, field(1, "x") + field(2, "y")))


def test_a_config_map_becomes_what_its_json_would_have_been() -> None:
    assert protobuf.decode(CONFIG_MAP) == {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "y"},
        "metadata": {"name": "a", "labels": {"k": "v"}, "creationTimestamp": "2020-09-13T12:26:40Z"},
    }  # fmt: skip


def test_numbers_keep_their_sign_and_unknown_fields_are_skipped() -> None:
    raw = field(1, field(GENERATION, (1 << 64) - 5) + field(99, "?") + field(98, 7))
    assert protobuf.decode(envelope("v1", "ConfigMap", raw))["metadata"] == {"generation": -5}


def test_a_map_of_quantities_is_read() -> None:
    hard = field(1, "pods") + field(2, field(1, "20"))
    body = envelope("v1", "ResourceQuota", field(2, field(1, hard)))
    assert protobuf.decode(body)["spec"] == {"hard": {"pods": "20"}}


BAD: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("another envelope", b"\x0a\x00"),
    ("no kind", envelope("", "", b"")),
    ("a kind that isn't known", envelope("v1", "Gadget", b"")),
    ("a list of kinds", envelope("v1", "../../etc", b"")),
    ("a number without an end", envelope("v1", "ConfigMap", b"\x80" * 20)),
    ("a length past the end", envelope("v1", "ConfigMap", b"\x0a\x7f")),
    ("a huge length", envelope("v1", "ConfigMap", b"\x0a" + b"\xff" * 9 + b"\x01")),
    ("a group", envelope("v1", "ConfigMap", b"\x0b")),
    ("text that is no UTF-8", envelope("v1", "ConfigMap", field(1, field(NAME, b"\xff")))),
    ("a number for a message", envelope("v1", "ConfigMap", field(1, 5))),
    ("a message for a number", envelope("v1", "ConfigMap", field(1, field(GENERATION, b"x")))),
    ("a time past all years", envelope("v1", "ConfigMap", field(1, field(CREATED, field(1, 1 << 62))))),
    ("a number for a map", envelope("v1", "ConfigMap", field(2, 1))),
]


@pytest.mark.parametrize("body", [body for _, body in BAD], ids=[name for name, _ in BAD])
def test_a_body_that_is_no_message_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(StatusError) as refused:
        protobuf.decode(body)
    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def harmless(body: bytes) -> None:
    """It is decoded, or refused as a bad request."""
    code = 200
    try:
        protobuf.decode(body)
    except StatusError as error:
        code = error.code
    assert code in (200, 400)


KINDS = st.sampled_from([("v1", "Pod"), ("v1", "ConfigMap"), ("v1", "Event"), ("apps/v1", "Deployment"),
                         ("v1", "Service"), ("v1", "DeleteOptions"), ("coordination.k8s.io/v1", "Lease")])  # fmt: skip
FIELDS: Any = st.recursive(
    st.builds(field, st.integers(1, 20), st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=12))),
    lambda inner: st.builds(field, st.integers(1, 20), st.lists(inner, max_size=4).map(b"".join)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(kind=KINDS, fields=st.lists(FIELDS, max_size=5))
def test_no_message_does_harm(kind: tuple[str, str], fields: list[bytes]) -> None:
    harmless(envelope(*kind, b"".join(fields)))


@settings(max_examples=100, deadline=None)
@given(kind=KINDS, raw=st.binary(max_size=60))
def test_no_bytes_do_harm(kind: tuple[str, str], raw: bytes) -> None:
    harmless(envelope(*kind, raw))
    harmless(b"k8s\x00" + raw)


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, len(CONFIG_MAP) - 1), byte=st.integers(0, 255))
def test_no_flipped_byte_does_harm(at: int, byte: int) -> None:
    harmless(CONFIG_MAP[:at] + bytes([byte]) + CONFIG_MAP[at + 1 :])
