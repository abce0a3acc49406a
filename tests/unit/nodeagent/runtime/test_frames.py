"""The guest link's frames: what was sent arrives, in whatever pieces; hostile input ends in ProtocolError."""

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes import guest
from hypernetes.nodeagent.runtime import protocol
from hypernetes.nodeagent.runtime.frames import (
    FRAME_MAX,
    MAGIC,
    Fields,
    Frame,
    FrameParser,
    MessageBuilder,
    ProtocolError,
    seed_of,
)
from hypernetes.nodeagent.runtime.messages import parse_exited, parse_output
from hypernetes.nodeagent.runtime.protocol import Tag
from tests.unit.nodeagent.runtime.guestframes import encode

EPOCH = bytes(range(16))
SEED = seed_of(EPOCH)
frames = st.builds(Frame, st.integers(1, 255), st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=300))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.binary(max_size=100), st.lists(frames, max_size=5), st.lists(st.integers(0, 10_000), max_size=10))
def test_frames_arrive_whole_whatever_the_pieces_and_whatever_was_before(
    stale: bytes, sent: list[Frame], places: list[int]
) -> None:
    data = stale + MAGIC + EPOCH + b"".join(encode(SEED, frame) for frame in sent)
    parser = FrameParser(EPOCH)
    assert [frame for piece in cut(data, places) for frame in parser.feed(piece)] == sent


@given(st.binary(max_size=400))
def test_random_bytes_give_frames_or_a_protocol_error_and_nothing_else(noise: bytes) -> None:
    parser = FrameParser(EPOCH)
    try:
        list(parser.feed(MAGIC + EPOCH + noise))
    except ProtocolError:
        return
    assert len(noise) < 16 + FRAME_MAX


def test_a_frame_of_another_connection_is_refused() -> None:
    other = encode(seed_of(b"x" * 16), Frame(1, 0, 1, b"payload"))
    with pytest.raises(ProtocolError):
        list(FrameParser(EPOCH).feed(MAGIC + EPOCH + other))


def test_a_guests_frame_is_covered_by_its_head_alone_and_that_must_be_right() -> None:
    data = bytearray(MAGIC + EPOCH + encode(SEED, Frame(1, 0, 1, b"payload")))
    data[-1] ^= 1
    assert [frame.payload for frame in FrameParser(EPOCH).feed(bytes(data))] == [b"payloae"]
    data[-len(b"payload") - 5] ^= 1  # its id
    with pytest.raises(ProtocolError):
        list(FrameParser(EPOCH).feed(bytes(data)))


def test_an_endless_preamble_is_refused() -> None:
    parser = FrameParser(EPOCH)
    noise = (frame for _ in range(1000) for frame in parser.feed(bytes(65536)))
    with pytest.raises(ProtocolError):
        list(noise)


def test_a_frame_that_claims_too_much_is_refused_before_it_is_buffered() -> None:
    head = (FRAME_MAX + 1).to_bytes(4, "little") + bytes(12)
    with pytest.raises(ProtocolError):
        list(FrameParser(EPOCH).feed(MAGIC + EPOCH + head))


@given(st.lists(st.tuples(st.sampled_from(list(Tag)), st.binary(max_size=50)), max_size=10))
def test_fields_come_back_as_they_were_built(items: list[tuple[Tag, bytes]]) -> None:
    message = MessageBuilder()
    for tag, value in items:
        message.blob(tag, value)
    assert Fields(message.build()).items == [(int(tag), value) for tag, value in items]


@pytest.mark.parametrize("parse", [Fields, parse_output, parse_exited])
@given(noise=st.binary(max_size=200))
def test_random_payloads_parse_or_raise_a_protocol_error(parse: type[Fields], noise: bytes) -> None:
    try:
        parse(noise)
    except ProtocolError:
        return


def test_text_for_the_guest_can_not_hold_a_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        MessageBuilder().text(Tag.NAME, "a\0b")


def test_the_numbers_are_those_of_the_guests_header() -> None:
    header = (Path(guest.__file__).parent / "init" / "proto.h").read_text()
    for prefix, members in (("M", protocol.FrameType), ("T", protocol.Tag), ("O", protocol.Option)):
        in_c = {name: int(number) for name, number in re.findall(rf"\b{prefix}_(\w+) = (\d+)", header)}
        assert in_c == {member.name: member.value for member in members}
    for name in ("PROTOCOL_VERSION", "STREAM_WINDOW", "SPOOL_WINDOW", "FLAG_MORE"):
        assert f"#define {name} {getattr(protocol, name)}" in re.sub(r"[ \t]+", " ", header)
    assert f'"{protocol.PORT_NAME}"' in header
