"""Blocks of headers: what becomes a request, and what doesn't."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver.http2 import requests
from hypernetes.apiserver.http2.requests import Malformed, TooLong

LIMIT = 1000
FIRST = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/api?watch=1&x=%2f"), (b":authority", b"here:1")]


def read(*fields, first=FIRST):
    return requests.message([*first, *fields], LIMIT)


def replaced(name, value):
    return [(each, value if each == name else old) for each, old in FIRST]


def without(name):
    return [field for field in FIRST if field[0] != name]


def test_it_reads_as_the_first_line_and_headers_of_http_1():
    found = read((b"accept", b"a"), (b"accept", b"b"), (b"x-own", "ü".encode()))
    assert (found.method, found.path, found.should_close) == ("GET", "/api?watch=1&x=%2f", False)
    assert (found.url.raw_path, found.url.raw_query_string) == ("/api", "watch=1&x=%2f")
    assert found.headers["Host"] == "here:1"
    assert found.headers.getall("Accept") == ["a", "b"]
    assert found.headers["X-Own"] == "ü"


def test_a_cookie_in_crumbs_is_one_cookie():
    assert read((b"cookie", b"a=1"), (b"cookie", b"b=2")).headers.getall("Cookie") == ["a=1; b=2"]


def test_the_host_may_be_said_in_two_ways_but_not_two_hosts():
    assert read((b"host", b"here:1")).headers.getall("Host") == ["here:1"]
    assert read((b"host", b"there"), first=without(b":authority")).headers["Host"] == "there"
    for hosts in ([b"there"], [b"here:1", b"here:1"]):
        with pytest.raises(Malformed):
            read(*((b"host", host) for host in hosts))


@pytest.mark.parametrize(
    "field",
    [
        (b"X-Upper", b"a"), (b"", b"a"), (b"x a", b"a"), (b"x:a", b"a"), (b"x\r\na", b"a"), (b"x\x80", b"a"),
        (b"x", b"a\r\nb: c"), (b"x", b"a\nb"), (b"x", b"a\0b"), (b"x", b" a"), (b"x", b"a\t"),
        (b"connection", b"close"), (b"transfer-encoding", b"chunked"), (b"upgrade", b"websocket"),
        (b"keep-alive", b"1"), (b"proxy-connection", b"close"), (b"te", b"gzip"),
        (b"content-length", b"+5"), (b"content-length", b"0x5"), (b"content-length", b"9" * 30),
        (b"content-length", b"-1"), (b":status", b"200"), (b":method", b"GET"), (b":protocol", b"websocket"),
    ],
)  # fmt: skip
def test_what_is_no_header_of_a_request_is_refused(field):
    with pytest.raises(Malformed):
        read(field)


@pytest.mark.parametrize(
    "first",
    [
        without(b":method"), without(b":path"), without(b":scheme"), replaced(b":path", b""),
        replaced(b":path", b"api"), replaced(b":path", b"*"), replaced(b":path", b"/a b"), replaced(b":path", b"/\0"),
        replaced(b":path", b"https://there/"), replaced(b":method", b"G T"), replaced(b":method", b""),
        replaced(b":authority", b"a\r\nb"), [*without(b":path"), (b"x", b"a"), (b":path", b"/")],
    ],
)  # fmt: skip
def test_a_first_line_that_is_none_is_refused(first):
    with pytest.raises(Malformed):
        read(first=first)


def test_two_lengths_are_refused():
    with pytest.raises(Malformed):
        read((b"content-length", b"5"), (b"content-length", b"5"))


@pytest.mark.parametrize(
    "fields",
    [[(b"x", b"a" * (LIMIT + 1))], [(b"x" * (LIMIT + 1), b"a")], [(b"x", b"a")] * (requests.MAX_FIELDS + 1)],
)
def test_lengths_and_numbers_have_a_bound(fields):
    with pytest.raises(TooLong):
        read(*fields)
    with pytest.raises(TooLong):
        read(first=replaced(b":path", b"/" + b"a" * LIMIT))


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=8))
def test_nothing_else_comes_of_any_bytes(fields):
    try:
        found = requests.message(fields, LIMIT)
    except Malformed:
        return
    assert found.path.startswith("/")
    assert not any(control in value for value in found.headers.values() for control in "\r\n\0")


@given(st.lists(st.binary(max_size=20).map(lambda value: (b"x", value)), max_size=8))
def test_no_header_breaks_its_line(fields):
    try:
        found = read(*fields)
    except Malformed:
        return
    assert not any(control in value for value in found.headers.values() for control in "\r\n\0")
