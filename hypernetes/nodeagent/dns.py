"""The cluster's DNS as one tenant sees it, answered from the informers (no DNS server runs anywhere).

The records are those of https://github.com/kubernetes/dns/blob/master/docs/specification.md. Pure: a question and a
view in, an answer out; `answer` says None for names that aren't the cluster's, which the caller forwards.
"""

import bisect
import ipaddress
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from hypernetes.api.models.core_v1 import Service, ServicePort
from hypernetes.api.models.discovery_v1 import Endpoint, EndpointSlice
from hypernetes.api.tenancy import CLUSTER_DOMAIN
from hypernetes.nodeagent import services

TTL_SECONDS = 5
_ZONE = dns.name.from_text(f"{CLUSTER_DOMAIN}.")
_REVERSE = dns.name.from_text("in-addr.arpa.")
HEADER_BYTES = 12
_CLASSIC_UDP_BYTES = 512
_MAX_MESSAGE_BYTES = 65535
_MIN_RECORD_BYTES = 12  # a pointer to the name, type, class, TTL, length
_TRUNCATED = 0x02  # in the header's third byte


@dataclass(frozen=True, slots=True)
class View:
    """One tenant's services. `service` and `slices` look up by (namespace, name); `all_services` serves PTR."""

    service: Callable[[str, str], Service | None]
    slices: Callable[[str, str], Iterable[EndpointSlice]]
    all_services: Callable[[], Iterable[Service]]
    service_cidr: str


@dataclass(frozen=True, slots=True)
class _Found:
    """Records of a name by type. A name that exists without records of the asked type is NODATA."""

    records: tuple[dns.rdata.Rdata, ...] = ()
    additional: tuple[tuple[dns.name.Name, dns.rdata.Rdata], ...] = ()


def answer(question: bytes, view: View) -> bytes | None:
    """The answer in wire form; None where it must be forwarded. Malformed questions get FORMERR, or, where not even a
    header can be read, ValueError. What no message can hold gets SERVFAIL."""
    try:
        query = dns.message.from_wire(question)
    except (dns.exception.DNSException, ValueError, struct.error) as error:
        return _format_error(question, error)
    try:
        return _answer(query, question, view)
    except dns.exception.DNSException:
        # TooBig: a headless service with more endpoints than 64 KiB hold, or a name of its making that is no name.
        return failure(question)


def _answer(query: dns.message.Message, question: bytes, view: View) -> bytes | None:
    if len(query.question) != 1 or query.opcode() != 0 or query.flags & dns.flags.QR:
        return _format_error(question, ValueError("not a plain question"))
    asked = query.question[0]
    if asked.rdclass != dns.rdataclass.IN:
        return _status(query, dns.rcode.REFUSED)
    if asked.name.is_subdomain(_ZONE):
        return _reply(query, _cluster(asked.name, view))
    if asked.name.is_subdomain(_REVERSE):
        return _reverse(query, view)
    return None


def fit(answered: bytes, question: bytes) -> bytes:
    """The answer as UDP may carry it: at most what the question allows (RFC 1035 4.2.1, RFC 6891 6.2.3), marked as
    truncated where records had to go. Its asker then asks by TCP, or takes what is there."""
    if len(answered) <= _CLASSIC_UDP_BYTES:
        return answered
    limit = max(dns.message.from_wire(question).payload, _CLASSIC_UDP_BYTES)
    if len(answered) <= limit:
        return answered
    try:
        return _first_records(dns.message.from_wire(answered), limit)
    except (dns.exception.DNSException, ValueError, struct.error):
        # A resolver's answer that can't be taken apart is for its asker to judge, by TCP.
        return question[:2] + bytes([answered[2] | _TRUNCATED, answered[3]]) + bytes(8)


def _first_records(message: dns.message.Message, limit: int) -> bytes:
    """As many of the answer's records as fit: some resolvers never ask by TCP, and any address is better than none."""
    answer = message.answer
    message.authority, message.additional = [], []

    def wire(count: int) -> bytes:
        message.answer, left = [], count
        for rrset in answer:
            if left > 0:
                message.answer.append(dns.rrset.from_rdata_list(rrset.name, rrset.ttl, list(rrset)[:left]))
                left -= len(rrset)
        return message.to_wire(max_size=_MAX_MESSAGE_BYTES)

    total = sum(len(rrset) for rrset in answer)
    sizes = range(min(total, limit // _MIN_RECORD_BYTES) + 1)
    count = bisect.bisect_right(sizes, limit, key=lambda number: len(wire(number))) - 1
    if count < total:
        message.flags |= dns.flags.TC
    return wire(max(count, 0))


def failure(question: bytes) -> bytes:
    """SERVFAIL to a question that could not be forwarded; ValueError where it has no header."""
    return _header_only(question, dns.rcode.SERVFAIL)


def _format_error(question: bytes, error: Exception) -> bytes:
    if len(question) < HEADER_BYTES:
        raise ValueError("a DNS message without a header") from error
    return _header_only(question, dns.rcode.FORMERR)


def _header_only(question: bytes, code: int) -> bytes:
    if len(question) < HEADER_BYTES:
        raise ValueError("a DNS message without a header")
    recursion_desired = question[2] & 0x01
    return question[:2] + bytes([0x80 | recursion_desired, 0x80 | code]) + bytes(8)


def _status(query: dns.message.Message, code: int) -> bytes:
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(code)  # type: ignore[arg-type]
    return response.to_wire()


def _reply(query: dns.message.Message, found: dict[int, _Found] | None) -> bytes:
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    asked = query.question[0]
    if found is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    else:
        alias = found.get(dns.rdatatype.CNAME)
        wanted = alias if alias and alias.records else found.get(asked.rdtype)
        if asked.rdtype == dns.rdatatype.ANY:
            wanted = next(iter(found.values()), None)
        if wanted and wanted.records:
            response.answer.append(dns.rrset.from_rdata_list(asked.name, TTL_SECONDS, wanted.records))
            for name, record in wanted.additional:
                response.additional.append(dns.rrset.from_rdata(name, TTL_SECONDS, record))
            return response.to_wire(max_size=_MAX_MESSAGE_BYTES)
    response.authority.append(dns.rrset.from_rdata(_ZONE, TTL_SECONDS, _soa()))
    return response.to_wire()


def _rdata(kind: dns.rdatatype.RdataType, text: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, kind, text)


def _soa() -> dns.rdata.Rdata:
    return _rdata(dns.rdatatype.SOA, f"ns.dns.{_ZONE} hostmaster.{_ZONE} 1 7200 1800 86400 {TTL_SECONDS}")


def _cluster(name: dns.name.Name, view: View) -> dict[int, _Found] | None:
    """The records of a name below cluster.local, by type; None for NXDOMAIN. {} is an empty non-terminal."""
    labels = [label.decode("ascii", "replace").lower() for label in name.relativize(_ZONE).labels]
    if not labels or labels in (["svc"], ["pod"]):
        return {}
    if labels == ["dns-version"]:
        return {}
    kind = labels[-1]
    if kind == "pod":
        return _pod(labels[:-1])
    if kind != "svc":
        return None
    if len(labels) == 2:
        exists = any((each.metadata.namespace or "") == labels[0] for each in view.all_services())
        return {} if exists else None
    return _service(labels[:-3], labels[-3], labels[-2], view)


def _pod(labels: list[str]) -> dict[int, _Found] | None:
    """`10-0-0-5.namespace.pod` says its own address, whatever is there (as upstream's default)."""
    if len(labels) == 1:
        return {}
    if len(labels) != 2:
        return None
    address = _dashed(labels[0])
    return None if address is None else {dns.rdatatype.A: _Found((_a(address),))}


def _dashed(label: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(label.replace("-", ".")))
    except ValueError:
        return None


def _service(prefix: list[str], name: str, namespace: str, view: View) -> dict[int, _Found] | None:
    service = view.service(namespace, name)
    if service is None:
        return None
    full = _full_name(name, namespace)
    if service.spec.type == "ExternalName":
        return None if prefix else _external(service)
    headless = service.spec.cluster_ip in (None, "", "None")
    endpoints = _endpoints(service, view.slices(namespace, name)) if headless else []
    if not prefix:
        addresses = [address for _, _, address in endpoints] if headless else [service.spec.cluster_ip or ""]
        return {dns.rdatatype.A: _Found(tuple(_a(address) for address in dict.fromkeys(addresses)))}
    if len(prefix) == 2 and prefix[0].startswith("_") and prefix[1] in ("_tcp", "_udp", "_sctp"):
        return _srv(prefix[0][1:], prefix[1][1:].upper(), service, endpoints, full, headless)
    if len(prefix) == 1 and prefix[0] in ("_tcp", "_udp", "_sctp"):
        return {}
    if len(prefix) == 1 and headless:
        own = [address for endpoint, _, address in endpoints if _endpoint_name(endpoint, address) == prefix[0]]
        return {dns.rdatatype.A: _Found(tuple(_a(address) for address in dict.fromkeys(own)))} if own else None
    return None


def _full_name(name: str, namespace: str) -> dns.name.Name:
    return dns.name.from_text(f"{name}.{namespace}.svc", _ZONE)


def _external(service: Service) -> dict[int, _Found] | None:
    try:
        target = dns.name.from_text((service.spec.external_name or "").rstrip(".") + ".")
    except dns.exception.DNSException:
        return {}
    return {dns.rdatatype.CNAME: _Found((_rdata(dns.rdatatype.CNAME, str(target)),))}


def _endpoints(service: Service, slices: Iterable[EndpointSlice]) -> list[tuple[Endpoint, EndpointSlice, str]]:
    """(endpoint, its slice, one address) that the service publishes."""
    result = []
    for each in slices:
        if each.address_type != "IPv4":
            continue
        for endpoint in each.endpoints:
            if services.is_ready(endpoint) or service.spec.publish_not_ready_addresses:
                result += [(endpoint, each, address) for address in endpoint.addresses if _is_address(address)]
    return result


def _is_address(text: str) -> bool:
    return _dashed(text.replace(".", "-")) is not None


def _endpoint_name(endpoint: Endpoint, address: str) -> str:
    return endpoint.hostname or address.replace(".", "-")


def _srv(
    port_name: str,
    protocol: str,
    service: Service,
    endpoints: list[tuple[Endpoint, EndpointSlice, str]],
    full: dns.name.Name,
    headless: bool,
) -> dict[int, _Found] | None:
    ports = [port for port in service.spec.ports if _matches(port, port_name, protocol)]
    if not ports:
        return None
    if not headless:
        record = _srv_record(ports[0].port, full)
        return {dns.rdatatype.SRV: _Found((record,), ((full, _a(service.spec.cluster_ip or "")),))}
    records: list[dns.rdata.Rdata] = []
    additional: list[tuple[dns.name.Name, dns.rdata.Rdata]] = []
    for endpoint, each, address in endpoints:
        for port in each.ports:
            if (port.name or "") == (ports[0].name or "") and (port.protocol or "TCP") == protocol and port.port:
                target = dns.name.from_text(_endpoint_name(endpoint, address), full)
                records.append(_srv_record(port.port, target))
                additional.append((target, _a(address)))
    return {dns.rdatatype.SRV: _Found(tuple(records), tuple(additional))}


def _matches(port: ServicePort, name: str, protocol: str) -> bool:
    return (port.name or "") == name and (port.protocol or "TCP") == protocol


def _srv_record(port: int, target: dns.name.Name) -> dns.rdata.Rdata:
    return _rdata(dns.rdatatype.SRV, f"0 100 {port} {target}")


def _a(address: str) -> dns.rdata.Rdata:
    return _rdata(dns.rdatatype.A, address)


def _reverse(query: dns.message.Message, view: View) -> bytes | None:
    """PTR of the tenant's service addresses and headless endpoints; the rest of the service range is nobody's."""
    asked = query.question[0]
    try:
        address = dns.reversename.to_address(asked.name)
        parsed = ipaddress.ip_address(address)
    except (dns.exception.DNSException, ValueError):
        return None
    target = _name_of(str(parsed), view)
    if target is not None:
        return _reply(query, {dns.rdatatype.PTR: _Found((_rdata(dns.rdatatype.PTR, str(target)),))})
    return _reply(query, None) if parsed in ipaddress.ip_network(view.service_cidr) else None


def _name_of(address: str, view: View) -> dns.name.Name | None:
    for service in view.all_services():
        namespace, name = service.metadata.namespace or "", service.metadata.name or ""
        full = _full_name(name, namespace)
        if service.spec.cluster_ip == address:
            return full
        if service.spec.cluster_ip == "None":
            for endpoint, _, each in _endpoints(service, view.slices(namespace, name)):
                if each == address:
                    return dns.name.from_text(_endpoint_name(endpoint, address), full)
    return None
