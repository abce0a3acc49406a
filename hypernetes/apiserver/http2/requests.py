"""A block of headers read as the start of an HTTP/1.1 request, which is what the handlers know.

All that RFC 9113 §8 asks of it is checked here, and what HTTP/1.1's parser would refuse, too: characters, lengths,
numbers. The library would end the connection, and with it the client's other requests; here only this one fails.
"""

import re
from collections.abc import Iterable

from aiohttp import HttpVersion11, hdrs
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy, istr
from yarl import URL

MAX_FIELDS = 128  # as aiohttp's parser

# shared between requests, and not made again at each look
_NAMES = {str(name).lower().encode(): name for name in vars(hdrs).values() if isinstance(name, istr)}
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # in lower case (§8.2.1)
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH = re.compile(rb"/[!-~\x80-\xff]*")
_CONTROLS = bytes((*range(9), *range(10, 32), 127))
_LENGTH = re.compile(r"[0-9]{1,18}")
_PSEUDO = frozenset({b":method", b":path", b":scheme", b":authority"})
_OF_ONE_CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})


class Malformed(Exception):
    """The request is no proper HTTP."""


class TooLong(Malformed):
    """Its path or a header is longer than is taken."""


NONE = RawRequestMessage(
    "UNKNOWN", "/", HttpVersion11, CIMultiDictProxy(CIMultiDict()), (), False, None, False, False, URL("/")
)  # fmt: skip  # of a request that can't be read


def message(fields: Iterable[tuple[bytes, bytes]], max_bytes: int) -> RawRequestMessage:
    """What aiohttp makes of the first line and the headers. `max_bytes` is for each of them. Raises Malformed."""
    pseudo: dict[bytes, bytes] = {}
    headers: CIMultiDict[str] = CIMultiDict()
    cookies: list[str] = []
    for field in fields:
        name, value = field[0], field[1]
        if len(value) > max_bytes or len(name) > max_bytes:
            raise TooLong
        if value.strip(b" \t") != value or len(value.translate(None, _CONTROLS)) != len(value):
            raise Malformed
        if name.startswith(b":"):
            if name not in _PSEUDO or name in pseudo or headers or cookies:
                raise Malformed
            pseudo[name] = value
            continue
        if not _NAME.fullmatch(name) or name in _OF_ONE_CONNECTION or (name == b"te" and value != b"trailers"):
            raise Malformed
        text = value.decode("utf-8", "surrogateescape")
        if name == b"cookie":  # may come in crumbs (§8.2.3)
            cookies.append(text)
        elif name != b"expect":  # windows say how much of a body is wanted
            headers.add(_NAMES.get(name) or name.decode(), text)
    if len(headers) > MAX_FIELDS:
        raise TooLong
    if cookies:
        headers[hdrs.COOKIE] = "; ".join(cookies)
    _check_length(headers)
    _take_authority(headers, pseudo.get(b":authority", b"").decode("utf-8", "surrogateescape"))
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if b":scheme" not in pseudo or not _METHOD.fullmatch(method) or not _PATH.fullmatch(path):
        raise Malformed
    return _message(method.decode(), path.decode("utf-8", "surrogateescape"), headers)


def _take_authority(headers: CIMultiDict[str], authority: str) -> None:
    """The host, which may be said in two ways, but not two hosts (§8.3.1). Raises Malformed."""
    hosts = headers.getall(hdrs.HOST, ())
    if len(hosts) > 1 or (hosts and authority and hosts[0] != authority):
        raise Malformed
    if authority:
        headers[hdrs.HOST] = authority


def _check_length(headers: CIMultiDict[str]) -> None:
    """Raises Malformed where a body's length isn't said, or said twice."""
    lengths = headers.getall(hdrs.CONTENT_LENGTH, ())
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise Malformed


def _message(method: str, path: str, headers: CIMultiDict[str]) -> RawRequestMessage:
    target, _, fragment = path.partition("#")
    target, _, query = target.partition("?")
    url = URL.build(path=target, query_string=query, fragment=fragment, encoded=True)
    return RawRequestMessage(method, path, HttpVersion11, CIMultiDictProxy(headers), (), False, None, False, False, url)
