"""What a proxy's URL names, and which pod of a service answers."""

import random
from typing import Any

import pytest
from yarl import URL

from hypernetes.api.status import StatusError
from hypernetes.apiserver.proxy import PodPort, Target, of_pod, of_service, parse
from hypernetes.apiserver.proxy.relay import relocated


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("web", Target("http", "web", "")),
        ("web:8080", Target("http", "web", "8080")),
        ("web:admin", Target("http", "web", "admin")),
        ("https:web:8443", Target("https", "web", "8443")),
        ("https:web:", Target("https", "web", "")),
        ("http:web:80", Target("http", "web", "80")),
    ],
)
def test_a_name_may_say_scheme_and_port(word: str, expected: Target) -> None:
    assert parse("services", word) == expected


@pytest.mark.parametrize("word", ["", ":80", "web:", "ftp:web:21", "a:b:c:d", "https::443"])
def test_other_forms_are_refused(word: str) -> None:
    with pytest.raises(StatusError) as raised:
        parse("pods", word)
    assert (raised.value.code, raised.value.reason) == (400, "BadRequest")


def pod(*ports: dict[str, Any], address: str = "10.0.0.5") -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "uid": "u1"},
        "spec": {"nodeName": "n1", "containers": [{"name": "side"}, {"name": "main", "ports": list(ports)}]},
        "status": {"podIP": address} if address else {},
    }


@pytest.mark.parametrize(
    ("word", "port"),
    [("web", 8080), ("web:9000", 9000), ("web:metrics", 9100), ("https:web:8443", 8443)],
)
def test_a_pods_port_is_the_one_asked_for_or_its_first(word: str, port: int) -> None:
    declared = pod({"containerPort": 8080}, {"name": "metrics", "containerPort": 9100})
    assert of_pod(parse("pods", word), declared) == PodPort("web", "u1", port)


def test_a_pod_without_ports_is_asked_at_the_schemes_own() -> None:
    assert of_pod(parse("pods", "web"), pod()).port == 80
    assert of_pod(parse("pods", "https:web:"), pod()).port == 443


@pytest.mark.parametrize(("word", "code"), [("web:nope", 400), ("web:0", 400), ("web:65536", 400)])
def test_a_port_that_isnt_there_is_refused(word: str, code: int) -> None:
    with pytest.raises(StatusError) as raised:
        of_pod(parse("pods", word), pod())
    assert raised.value.code == code


def test_a_pod_without_an_address_is_not_there_yet() -> None:
    with pytest.raises(StatusError) as raised:
        of_pod(parse("pods", "web"), pod(address=""))
    assert raised.value.code == 503


def service(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"ports": list(ports)}}


def endpoint(name: str, **conditions: bool) -> dict[str, Any]:
    return {
        "addresses": ["10.0.0.9"], "conditions": conditions, "targetRef": {"kind": "Pod", "name": name, "uid": name},
    }  # fmt: skip


HTTP, ADMIN = {"name": "http", "port": 80}, {"name": "admin", "port": 81}
SLICES = [
    {"ports": [{"name": "http", "port": 8080}], "endpoints": [endpoint("a", ready=True), endpoint("b")]},
    {
        "ports": [{"name": "http", "port": 9090}, {"name": "admin", "port": 9091}],
        "endpoints": [endpoint("c", ready=False), endpoint("d", ready=True)],
    },
    {"ports": [{"name": "http", "port": 1}], "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {}}]},
    {"ports": [{"name": "http"}], "endpoints": [endpoint("portless")]},
]


def chosen(word: str, *ports: dict[str, Any]) -> set[tuple[str, int]]:
    choose = random.Random(7)
    found = (of_service(parse("services", word), service(*ports), SLICES, choose) for _ in range(60))
    return {(each.pod, each.port) for each in found}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("web:80", {("a", 8080), ("b", 8080), ("d", 9090)}),
        ("web:http", {("a", 8080), ("b", 8080), ("d", 9090)}),
        ("web:81", {("d", 9091)}),
        ("https:web:admin", {("d", 9091)}),
    ],
)
def test_a_services_ready_pods_take_turns_and_nothing_but_pods(word: str, expected: set[tuple[str, int]]) -> None:
    assert chosen(word, HTTP, ADMIN) == expected


def test_the_only_port_neednt_be_named() -> None:
    assert chosen("web", HTTP) == {("a", 8080), ("b", 8080), ("d", 9090)}


@pytest.mark.parametrize("word", ["web", "web:nope", "web:82"])
def test_a_service_without_such_a_port_or_a_ready_pod_is_unavailable(word: str) -> None:
    with pytest.raises(StatusError) as raised:
        of_service(parse("services", word), service(HTTP, ADMIN), SLICES)
    assert (raised.value.code, raised.value.reason) == (503, "ServiceUnavailable")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/login?next=%2F", "/prefix/proxy/login?next=%2F"),
        ("http://web:80/a#b", "/prefix/proxy/a#b"),
        ("http://web/", "/prefix/proxy/"),
        ("next/page", "next/page"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
    ],
)
def test_a_redirect_on_the_same_server_stays_below_the_proxy(location: str, expected: str) -> None:
    assert relocated(location, URL("http://web:80/"), "/prefix/proxy") == expected
