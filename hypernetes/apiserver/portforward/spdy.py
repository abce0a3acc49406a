"""SPDY/3.1 as far as port-forward uses it: streams with headers, data, ends and resets; pings.

https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ . Kubernetes' clients keep no flow control windows,
so none are kept here. All that comes is a stranger's: frames and headers are bounded, and what doesn't fit is an error.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

VERSION = 3
MAX_FRAME_BYTES = 1 << 20
MAX_HEADER_BYTES = 16 << 10
_FIN = 0x01
_CONTROL = 0x8000_0000
_STREAM_MASK = 0x7FFF_FFFF
_HEAD = struct.Struct(">IBBH")  # what it is, flags, and the length as 8 and 16 bits


class SpdyError(Exception):
    """The other side doesn't keep to the protocol."""


class Kind(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


# The words that header blocks are compressed with (§2.6.10.1): names and values with their lengths, then plain text.
_WORDS = (
    "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|accept-ranges|age|allow|"
    "authorization|cache-control|connection|content-base|content-encoding|content-language|content-length|"
    "content-location|content-md5|content-range|content-type|date|etag|expect|expires|from|host|if-match|"
    "if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|max-forwards|pragma|"
    "proxy-authenticate|proxy-authorization|range|referer|retry-after|server|te|trailer|transfer-encoding|upgrade|"
    "user-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie|"
    "keep-alive|origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS.split("|")) + _TEXT.encode()


@dataclass(frozen=True, slots=True)
class Opened:
    stream: int
    headers: Mapping[str, str]
    ended: bool  # the other side sends nothing on it


@dataclass(frozen=True, slots=True)
class Data:
    stream: int
    data: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int


@dataclass(frozen=True, slots=True)
class Ping:
    number: int


Event = Opened | Data | Reset | Ping


class Decoder:
    """Frames of one connection, in whatever pieces they come."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Event]:
        """What `data` completes. Raises SpdyError, after which the connection is of no more use."""
        self._pending += data
        while len(self._pending) >= _HEAD.size:
            word, flags, high, low = _HEAD.unpack_from(self._pending)
            length = high << 16 | low
            if length > MAX_FRAME_BYTES:
                raise SpdyError(f"a frame of {length} bytes is larger than {MAX_FRAME_BYTES}")
            if len(self._pending) < _HEAD.size + length:
                return
            payload = bytes(self._pending[_HEAD.size : _HEAD.size + length])
            del self._pending[: _HEAD.size + length]
            if not word & _CONTROL:
                yield Data(word, payload, bool(flags & _FIN))
            elif (event := self._control(word, flags, payload)) is not None:
                yield event

    def _control(self, word: int, flags: int, payload: bytes) -> Event | None:
        if (word & ~_CONTROL) >> 16 != VERSION:
            raise SpdyError("another version than SPDY/3")
        try:
            match word & 0xFFFF:
                case Kind.SYN_STREAM:
                    stream = struct.unpack_from(">I", payload)[0] & _STREAM_MASK
                    return Opened(stream, self._headers(payload[10:]), bool(flags & _FIN))
                case Kind.SYN_REPLY | Kind.HEADERS:
                    self._headers(payload[4:])  # read in any case: the compression goes on from it
                case Kind.RST_STREAM:
                    return Reset(struct.unpack_from(">I", payload)[0] & _STREAM_MASK)
                case Kind.PING:
                    return Ping(struct.unpack_from(">I", payload)[0])
        except struct.error as error:
            raise SpdyError("a frame is too short") from error
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            text = self._inflate.decompress(block, MAX_HEADER_BYTES)
        except zlib.error as error:
            raise SpdyError("a header block can't be read") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"headers are larger than {MAX_HEADER_BYTES} bytes")
        words = _Words(text)
        return {words.next().lower(): words.next() for _ in range(words.number())}


class _Words:
    """Numbers and length-prefixed words, one after the other."""

    def __init__(self, text: bytes) -> None:
        self._text, self._at = text, 0

    def number(self) -> int:
        (found,) = struct.unpack_from(">I", self._text, self._at)
        self._at += 4
        number: int = found
        if number > len(self._text):
            raise SpdyError("a header block says more than it holds")
        return number

    def next(self) -> str:
        length = self.number()
        word = self._text[self._at : self._at + length]
        if len(word) != length:
            raise SpdyError("a header block ends in a word")
        self._at += length
        return word.decode("utf-8", errors="replace")


class Encoder:
    """Frames to send on one connection."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def opened(self, stream: int, headers: Mapping[str, str], *, ended: bool = False) -> bytes:
        head = struct.pack(">IIH", stream, 0, 0)
        return _frame(Kind.SYN_STREAM, head + self._headers(headers), _FIN if ended else 0)

    def reply(self, stream: int, headers: Mapping[str, str]) -> bytes:
        return _frame(Kind.SYN_REPLY, struct.pack(">I", stream) + self._headers(headers))

    def _headers(self, headers: Mapping[str, str]) -> bytes:
        text = struct.pack(">I", len(headers))
        for word in (word.encode() for pair in headers.items() for word in pair):
            text += struct.pack(">I", len(word)) + word
        return self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def data(stream: int, content: bytes, *, ended: bool = False) -> bytes:
    length = len(content)
    return _HEAD.pack(stream, _FIN if ended else 0, length >> 16, length & 0xFFFF) + content


def reset(stream: int) -> bytes:
    return _frame(Kind.RST_STREAM, struct.pack(">II", stream, 5))  # 5: CANCEL


def ping(number: int) -> bytes:
    return _frame(Kind.PING, struct.pack(">I", number))


def _frame(kind: Kind, payload: bytes, flags: int = 0) -> bytes:
    length = len(payload)
    return _HEAD.pack(_CONTROL | VERSION << 16 | kind, flags, length >> 16, length & 0xFFFF) + payload
