"""The form of events: one line each, times to the microsecond, nothing of what is hidden."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver import routing
from hypernetes.apiserver.audit import events, hiding

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_a_body_in_an_event_is_what_it_was_on_one_line(value: Any, indent: Any, returns: bool) -> None:
    body = json.dumps(value, indent=indent).encode()
    body = body.replace(b"\n", b"\r\n") if returns else body
    line = events.line({"requestObject": events.one_line(body)})
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert b"\r" not in line
    assert orjson.loads(line) == {"requestObject": value}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "1970-01-01T00:00:00.000000Z"), (1893456000.25, "2030-01-01T00:00:00.250000Z"),
     (1893456000.000001, "2030-01-01T00:00:00.000001Z")],
)  # fmt: skip
def test_times_have_microseconds(seconds: float, shown: str) -> None:
    assert events.micro_time(seconds)[:-2] == shown[:-2]  # a double has no more digits today


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, ["9.9.9.9"]),
        ({"X-Forwarded-For": "1.1.1.1, 2.2.2.2"}, ["1.1.1.1", "2.2.2.2", "9.9.9.9"]),
        ({"X-Real-Ip": "3.3.3.3"}, ["3.3.3.3", "9.9.9.9"]),
        ({"X-Forwarded-For": "9.9.9.9," + "x" * 100}, ["9.9.9.9"]),
    ],
)
def test_where_a_request_came_from_is_last(headers: dict[str, str], found: list[str]) -> None:
    assert events.sources(headers, "9.9.9.9") == found


def test_a_refusal_is_told_but_for_what_is_hidden() -> None:
    failure = {
        "kind": "Status", "status": "Failure", "reason": "Invalid", "message": "no 'hunter2'", "details": {"name": "s"},
        "code": 422,
    }  # fmt: skip
    told = events.status(422, failure, hidden=False)
    assert (told["message"], told["details"], told["code"]) == ("no 'hunter2'", {"name": "s"}, 422)
    assert events.status(422, failure, hidden=True) == {
        "metadata": {},
        "status": "Failure",
        "reason": "Invalid",
        "code": 422,
    }
    assert events.status(200, hidden=False) == {"metadata": {}, "code": 200}
    assert events.status(500, ["no Status"], hidden=False) == {"metadata": {}, "code": 500}


def test_managed_fields_go_from_objects_and_lists() -> None:
    managed = {"metadata": {"name": "a", "managedFields": [{}]}}
    assert events.without_managed_fields({**managed, "items": [managed]}) == {
        "metadata": {"name": "a"}, "items": [{"metadata": {"name": "a"}}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "hidden"),
    [
        ("GET", "/api/v1/namespaces/a/secrets/b", True),
        ("PATCH", "/tenants/acme/api/v1/namespaces/a/secrets/b", True),
        ("GET", "/api/v1/secrets", True),
        ("POST", "/api/v1/namespaces/a/serviceaccounts/b/token", True),
        ("GET", "/api/v1/namespaces/a/serviceaccounts/b", False),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", True),
        ("GET", "/api/v1/namespaces/a/configmaps/b", False),
        ("GET", "/version", False),
    ],
)
def test_bodies_with_secrets_are_known_by_their_resource(method: str, path: str, hidden: bool) -> None:
    assert hiding.is_hidden(routing.parse(method, path, {})) is hidden


def test_what_a_proxied_request_says_to_the_pod_is_not_told() -> None:
    raw = "/api/v1/namespaces/a/pods/p/proxy/login?password=x"
    assert hiding.uri(raw, routing.parse("GET", raw.partition("?")[0], {})) == "/api/v1/namespaces/a/pods/p/proxy"
    plain = "/api/v1/pods?limit=5"
    assert hiding.uri(plain, routing.parse("GET", "/api/v1/pods", {})) == plain
