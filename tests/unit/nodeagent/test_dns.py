"""The cluster's DNS: what a name's answer is, for one tenant."""

from dataclasses import replace
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.nodeagent import dns as cluster_dns

SERVICES = {
    ("web", "page"): {"clusterIP": "10.254.0.10", "ports": [{"name": "http", "port": 80}]},
    ("web", "db"): {"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]},
    ("web", "away"): {"type": "ExternalName", "externalName": "db.example.com"},
}
SLICE = {
    "metadata": {"name": "db-1", "namespace": "web", "labels": {"kubernetes.io/service-name": "db"}},
    "addressType": "IPv4",
    "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
    "endpoints": [
        {"addresses": ["10.0.0.5"], "hostname": "db-0"},
        {"addresses": ["10.0.0.6"]},
        {"addresses": ["10.0.0.7"], "conditions": {"ready": False}},
    ],
}


def view() -> cluster_dns.View:
    found = {
        key: Service.from_dict({"metadata": {"namespace": key[0], "name": key[1]}, "spec": spec})
        for key, spec in SERVICES.items()
    }
    slices = {("web", "db"): [EndpointSlice.from_dict(SLICE)]}
    return cluster_dns.View(
        service=lambda namespace, name: found.get((namespace, name)),
        slices=lambda namespace, name: slices.get((namespace, name), []),
        all_services=found.values,
        service_cidr="10.254.0.0/16",
    )


def ask(name: str, kind: str = "A") -> dns.message.Message:
    answer = cluster_dns.answer(dns.message.make_query(name, kind).to_wire(), view())
    assert answer is not None, "it was to be forwarded"
    return dns.message.from_wire(answer)


def records(message: dns.message.Message) -> set[str]:
    return {record.to_text() for rrset in message.answer for record in rrset}


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("page.web.svc.cluster.local", "A", {"10.254.0.10"}),
        ("PAGE.web.svc.CLUSTER.local", "A", {"10.254.0.10"}),
        ("db.web.svc.cluster.local", "A", {"10.0.0.5", "10.0.0.6"}),
        ("db-0.db.web.svc.cluster.local", "A", {"10.0.0.5"}),
        ("10-0-0-6.db.web.svc.cluster.local", "A", {"10.0.0.6"}),
        ("10-0-0-9.web.pod.cluster.local", "A", {"10.0.0.9"}),
        ("away.web.svc.cluster.local", "A", {"db.example.com."}),
        ("_http._tcp.page.web.svc.cluster.local", "SRV", {"0 100 80 page.web.svc.cluster.local."}),
        (
            "_sql._tcp.db.web.svc.cluster.local",
            "SRV",
            {"0 100 5432 db-0.db.web.svc.cluster.local.", "0 100 5432 10-0-0-6.db.web.svc.cluster.local."},
        ),
        ("10.0.254.10.in-addr.arpa", "PTR", {"page.web.svc.cluster.local."}),
        ("5.0.0.10.in-addr.arpa", "PTR", {"db-0.db.web.svc.cluster.local."}),
    ],
)
def test_names_that_are_there(name: str, kind: str, expected: set[str]) -> None:
    answer = ask(name, kind)
    assert answer.rcode() == dns.rcode.NOERROR
    assert records(answer) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.web.svc.cluster.local", "AAAA"),
        ("page.web.svc.cluster.local", "MX"),
        ("web.svc.cluster.local", "A"),
        ("svc.cluster.local", "A"),
        ("cluster.local", "A"),
    ],
)
def test_a_name_without_that_record_is_nodata_and_not_nxdomain(name: str, kind: str) -> None:
    answer = ask(name, kind)
    assert (answer.rcode(), records(answer)) == (dns.rcode.NOERROR, set())
    assert answer.authority[0].rdtype == dns.rdatatype.SOA


@pytest.mark.parametrize(
    "name",
    [
        "nothing.web.svc.cluster.local",
        "page.other.svc.cluster.local",
        "other.svc.cluster.local",
        "example.com.web.svc.cluster.local",
        "x.page.web.svc.cluster.local",
        "not-an-address.web.pod.cluster.local",
        "99.0.254.10.in-addr.arpa",
    ],
)
def test_a_name_that_is_not_there_is_nxdomain(name: str) -> None:
    answer = ask(name, "PTR" if name.endswith("arpa") else "A")
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.authority[0].rdtype == dns.rdatatype.SOA


@pytest.mark.parametrize("name", ["example.com", "cluster.local.example.com", "8.8.8.8.in-addr.arpa"])
def test_other_peoples_names_are_forwarded(name: str) -> None:
    assert cluster_dns.answer(dns.message.make_query(name, "A").to_wire(), view()) is None


@given(st.binary(max_size=200))
def test_no_question_a_guest_sends_breaks_the_answer(question: bytes) -> None:
    try:
        answer: Any = cluster_dns.answer(question, view())
    except ValueError:
        assert len(question) < 12
        return
    assert answer is None or answer[:2] == question[:2]


def crowded(addresses: int) -> cluster_dns.View:
    """A headless service of so many addresses; one takes 16 bytes of an answer."""
    endpoints = [{"addresses": [f"10.1.{number // 250}.{number % 250 + 1}"]} for number in range(addresses)]
    each = EndpointSlice.from_dict({**SLICE, "endpoints": endpoints})
    return replace(view(), slices=lambda namespace, name: [each])


@pytest.mark.parametrize(
    ("addresses", "payload", "cut"),
    [(20, None, False), (200, None, True), (200, 1232, True), (200, 4096, False), (20, 100, False), (200, 0, True)],
)
def test_an_answer_by_udp_is_as_long_as_the_question_allows(addresses: int, payload: int | None, cut: bool) -> None:
    edns: dict[str, Any] = {} if payload is None else {"use_edns": 0, "payload": payload}
    question = dns.message.make_query("db.web.svc.cluster.local", "A", **edns).to_wire()
    answered = cluster_dns.answer(question, crowded(addresses))
    assert answered is not None
    fitted = cluster_dns.fit(answered, question)
    message = dns.message.from_wire(fitted)
    assert len(fitted) <= max(payload or 0, 512)
    assert bool(message.flags & dns.flags.TC) is cut
    assert (len(records(message)) < addresses) is cut
    assert records(message), "who never asks by TCP has at least some of them"


def test_an_answer_too_long_and_unreadable_is_only_marked_as_truncated() -> None:
    question = dns.message.make_query("example.org", "A").to_wire()
    fitted = cluster_dns.fit(question[:2] + b"\x81\x80" + b"\xff" * 600, question)
    assert fitted == question[:2] + b"\x83\x80" + bytes(8)


@given(st.binary(max_size=1500))
def test_whatever_a_resolver_answers_fits(answered: bytes) -> None:
    question = dns.message.make_query("example.org", "A").to_wire()
    assert len(cluster_dns.fit(answered, question)) <= 512


def test_a_headless_service_with_more_endpoints_than_a_message_holds_is_a_failure() -> None:
    addresses = [f"10.{high}.{low}.1" for high in range(20) for low in range(250)]
    many = EndpointSlice.from_dict(SLICE | {"endpoints": [{"addresses": [address]} for address in addresses]})
    wide = replace(view(), slices=lambda namespace, name: [many])
    answer = cluster_dns.answer(dns.message.make_query("db.web.svc.cluster.local", "A").to_wire(), wide)
    assert answer is not None
    assert dns.message.from_wire(answer).rcode() == dns.rcode.SERVFAIL
