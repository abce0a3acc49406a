"""SPDY/3.1 frames: what is written is read, in whatever pieces; what is no frame is an error."""

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver.portforward import spdy
from hypernetes.apiserver.portforward.spdy import Data, Decoder, Encoder, Opened, Ping, Reset, SpdyError

HEADERS = {"streamtype": "data", "port": "8080", "requestid": "0"}


def test_the_dictionary_is_that_of_the_protocol() -> None:
    """Its checksum is in the first bytes of every SPDY/3 header block."""
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2
    assert Encoder().opened(1, HEADERS)[18:24].hex() == "78bbe3c6a7c2"


def test_streams_data_resets_and_pings_are_read() -> None:
    encoder, decoder = Encoder(), Decoder()
    text = b"".join(
        (
            encoder.opened(1, HEADERS),
            encoder.opened(3, {**HEADERS, "requestid": "1"}, ended=True),
            spdy.data(1, b"hello"),
            spdy.data(1, b"", ended=True),
            encoder.reply(1, {}),
            spdy.reset(3),
            spdy.ping(7),
        )
    )
    assert list(decoder.feed(text)) == [
        Opened(1, HEADERS, ended=False),
        Opened(3, {**HEADERS, "requestid": "1"}, ended=True),
        Data(1, b"hello", ended=False),
        Data(1, b"", ended=True),
        Reset(3),
        Ping(7),
    ]


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 50))
def test_pieces_of_any_size_give_the_same(contents: list[bytes], size: int) -> None:
    encoder, decoder = Encoder(), Decoder()
    text = b"".join([encoder.opened(1, HEADERS), *(spdy.data(1, content) for content in contents)])
    found = [event for at in range(0, len(text), size) for event in decoder.feed(text[at : at + size])]
    assert found == [Opened(1, HEADERS, ended=False), *(Data(1, content, ended=False) for content in contents)]


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">IBBH", 0x80030001, 0, 0xFF, 0xFFFF),  # 16 MiB
        struct.pack(">IBBH", 0x80020001, 0, 0, 10) + bytes(10),  # SPDY/2
        struct.pack(">IBBH", 0x80030001, 0, 0, 2) + bytes(2),  # too short
        struct.pack(">IBBH", 0x80030001, 0, 0, 14) + bytes(10) + b"junk",
        struct.pack(">IBBH", 0x80030003, 0, 0, 1) + b"x",
    ],
)
def test_what_is_no_frame_is_an_error(frame: bytes) -> None:
    with pytest.raises(SpdyError):
        list(Decoder().feed(frame))


def test_headers_that_explode_are_refused() -> None:
    with pytest.raises(SpdyError, match="larger than"):
        list(Decoder().feed(Encoder().opened(1, {"bomb": "x" * 1_000_000})))


@given(st.binary(max_size=400))
def test_noise_is_an_error_or_nothing(noise: bytes) -> None:
    with contextlib.suppress(SpdyError):
        list(Decoder().feed(noise))
