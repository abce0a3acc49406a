"""Small checks of names, labels, ports and addresses that the strategies of many kinds share.

Each takes a value and the path of its field, and returns the causes of an Invalid: none where the value is fine. The
reasons are upstream's (FieldValueInvalid, …), and so is what each rule allows.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypernetes.api import quantity
from hypernetes.api.status import cause

Cause = dict[str, str]
Causes = list[Cause]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS1123_LABEL = re.compile(rf"{_LABEL}\Z")
_DNS1123_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z")
_PORT_NAME = re.compile(r"[-a-z0-9]+\Z")
_IP_MODES = ("Proxy", "VIP")
_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")

_DOMAIN_PATH = re.compile(r"/?[A-Za-z0-9/\-._~%!$&'()*+,;=:]+\Z")
_LINK_MULTICAST = {4: ipaddress.ip_network("224.0.0.0/24"), 6: ipaddress.ip_network("ff02::/16")}

DNS_LABEL_MAX = 63
DNS_SUBDOMAIN_MAX = 253
LABEL_VALUE_MAX = 63
PORT_NAME_MAX = 15  # RFC 6335
ANNOTATIONS_MAX_BYTES = 256 * 1024


def required(path: str, why: str = "") -> Causes:
    return [cause("FieldValueRequired", path, f"Required value{f': {why}' if why else ''}")]


def invalid(path: str, value: Any, why: str) -> Causes:
    return [cause("FieldValueInvalid", path, f"Invalid value: {_shown(value)}: {why}")]


def forbidden(path: str, why: str) -> Causes:
    return [cause("FieldValueForbidden", path, f"Forbidden: {why}")]


def duplicate(path: str, value: Any) -> Causes:
    return [cause("FieldValueDuplicate", path, f"Duplicate value: {_shown(value)}")]


def not_supported(path: str, value: Any, choices: Iterable[str]) -> Causes:
    listed = ", ".join(f'"{choice}"' for choice in sorted(choices))
    return [cause("FieldValueNotSupported", path, f"Unsupported value: {_shown(value)}: supported values: {listed}")]


def too_long(path: str, limit: int) -> Causes:
    return [cause("FieldValueTooLong", path, f"Too long: may not be more than {limit} bytes")]


def too_many(path: str, count: int, limit: int) -> Causes:
    return [cause("FieldValueTooMany", path, f"Too many: {count}: must have at most {limit} items")]


def not_found(path: str, value: Any) -> Causes:
    return [cause("FieldValueNotFound", path, f"Not found: {_shown(value)}")]


def dns_label(value: str, path: str) -> Causes:
    """RFC 1123 label: what namespaces, services, containers and volumes are called."""
    if len(value) <= DNS_LABEL_MAX and _DNS1123_LABEL.match(value):
        return []
    why = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', start and end with one"
    return _text_causes(value, path, DNS_LABEL_MAX, _DNS1123_LABEL, why)


def dns_subdomain(value: str, path: str) -> Causes:
    """RFC 1123 subdomain: what most objects are called."""
    if len(value) <= DNS_SUBDOMAIN_MAX and _DNS1123_SUBDOMAIN.match(value):
        return []
    why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
    return _text_causes(value, path, DNS_SUBDOMAIN_MAX, _DNS1123_SUBDOMAIN, why)


def dns_name_or_wildcard(value: str, path: str) -> Causes:
    """`a.example.com`, or `*.example.com` for all names one level below."""
    if "*" not in value:
        return dns_subdomain(value, path)
    rest = value.removeprefix("*.")
    if rest != value and len(value) <= DNS_SUBDOMAIN_MAX and _DNS1123_SUBDOMAIN.match(rest):
        return []
    return invalid(path, value, "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain")


def fully_qualified_name(value: str, path: str) -> Causes:
    """A name of at least two labels."""
    if not value:
        return required(path)
    name = value.removesuffix(".")
    causes = dns_subdomain(name, path)
    if not causes and "." not in name:
        causes = invalid(path, value, "should be a domain with at least two segments separated by dots")
    return causes


def domain_prefixed_path(value: str, path: str) -> Causes:
    """`example.com/controller`."""
    if not value:
        return required(path)
    domain, slash, rest = value.partition("/")
    if not slash or not domain or not rest:
        return invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
    causes = dns_subdomain(domain, path)
    if not _DOMAIN_PATH.match(rest):
        causes += invalid(path, rest, "Invalid path")
    return causes


def path_segment(value: str, path: str) -> Causes:
    """The weakest rule for a name: it fits into a URL (events, roles)."""
    found: Causes = []
    if value in (".", ".."):
        found += invalid(path, value, f"may not be '{value}'")
    for part in ("/", "%"):
        if part in value:
            found += invalid(path, value, f"may not contain '{part}'")
    return found


def qualified_name(value: str, path: str) -> Causes:
    """A label key, annotation key or resource name: `[prefix/]name`."""
    prefix, slash, name = value.rpartition("/")
    found: Causes = []
    if slash:
        if not prefix:
            found += invalid(path, value, "prefix part must be non-empty")
        elif "/" in prefix:
            return invalid(path, value, "a qualified name must have at most one '/'")
        elif len(prefix) > DNS_SUBDOMAIN_MAX or not _DNS1123_SUBDOMAIN.match(prefix):
            found += invalid(path, value, "prefix part must be a lowercase RFC 1123 subdomain")
    if not name:
        found += invalid(path, value, "name part must be non-empty")
    if len(name) > LABEL_VALUE_MAX:
        found += invalid(path, value, f"name part must be no more than {LABEL_VALUE_MAX} characters")
    if not _QUALIFIED.match(name):
        found += invalid(
            path,
            value,
            "name part must consist of alphanumeric characters, '-', '_' or '.', and start and end with one",
        )
    return found


def label_value(value: str, path: str) -> Causes:
    found: Causes = []
    if len(value) > LABEL_VALUE_MAX:
        found += invalid(path, value, f"must be no more than {LABEL_VALUE_MAX} characters")
    if not _LABEL_VALUE.match(value):
        found += invalid(
            path, value,
            "must be empty or consist of alphanumeric characters, '-', '_' or '.', and start and end with one",
        )  # fmt: skip
    return found


def labels(values: Mapping[str, str] | None, path: str) -> Causes:
    """Keys and values of metadata.labels, of a nodeSelector, of matchLabels; all causes name the map."""
    found: Causes = []
    for key, value in (values or {}).items():
        found += qualified_name(key, path)
        found += label_value(value, path)
    return found


def annotations(values: Mapping[str, str] | None, path: str) -> Causes:
    found: Causes = []
    total = 0
    for key, value in (values or {}).items():
        found += qualified_name(key.lower(), path)
        total += len(key.encode()) + len(value.encode())
    if total > ANNOTATIONS_MAX_BYTES:
        found += too_long(path, ANNOTATIONS_MAX_BYTES)
    return found


def config_key(value: str, path: str) -> Causes:
    """A key of a ConfigMap or Secret, which becomes a file name."""
    if len(value) > DNS_SUBDOMAIN_MAX:
        return invalid(path, value, f"must be no more than {DNS_SUBDOMAIN_MAX} characters")
    if not _CONFIG_KEY.match(value):
        return invalid(path, value, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'")
    if value == "." or value.startswith(".."):
        return invalid(path, value, "must not be '.' or start with '..'")
    return []


def port_number(value: int, path: str) -> Causes:
    return [] if 1 <= value <= 65535 else invalid(path, value, "must be between 1 and 65535, inclusive")


def port_name(value: str, path: str) -> Causes:
    """RFC 6335: what a container's port is called."""
    found: Causes = []
    if len(value) > PORT_NAME_MAX:
        found += invalid(path, value, f"must be no more than {PORT_NAME_MAX} characters")
    if not _PORT_NAME.match(value):
        found += invalid(path, value, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", value):
        found += invalid(path, value, "must contain at least one letter (a-z)")
    if "--" in value:
        found += invalid(path, value, "must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        found += invalid(path, value, "must not begin or end with a hyphen")
    return found


def port_number_or_name(value: int | str, path: str) -> Causes:
    """A probe's or a service's target port."""
    return port_name(value, path) if isinstance(value, str) else port_number(value, path)


def ip(value: str, path: str) -> Causes:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
    return []


def ipv4(value: str, path: str) -> Causes:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return invalid(path, value, "must be a valid IPv4 address")
    return []


def cidr(value: str, path: str) -> Causes:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
    return [] if "/" in value else invalid(path, value, "must have a prefix length, (e.g. 10.9.8.0/24)")


def ordinary_ip(value: str, path: str) -> Causes:
    """An address of a machine elsewhere: none that means all of them, oneself, or whoever is on the link."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return invalid(path, value, "must be a valid IP address")
    if address.is_unspecified:
        return invalid(path, value, f"may not be unspecified ({address})")
    if address.is_loopback:
        return invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        return invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if address in _LINK_MULTICAST[address.version]:
        return invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return []


def non_negative(value: int | None, path: str) -> Causes:
    return invalid(path, value, "must be greater than or equal to 0") if value is not None and value < 0 else []


def positive(value: int | None, path: str) -> Causes:
    return invalid(path, value, "must be greater than 0") if value is not None and value <= 0 else []


def one_of(value: str | None, choices: Iterable[str], path: str) -> Causes:
    """FieldValueRequired for an empty value, FieldValueNotSupported for another one."""
    if not value:
        return required(path)
    allowed = tuple(choices)
    return [] if value in allowed else not_supported(path, value, allowed)


def non_negative_quantity(value: str, path: str) -> Causes:
    try:
        amount = quantity.parse(value)
    except ValueError as error:
        return invalid(path, value, str(error))
    return invalid(path, value, "must be greater than or equal to 0") if amount < 0 else []


def label_selector(selector: Mapping[str, Any] | None, path: str) -> Causes:
    """A LabelSelector's syntax; that it isn't empty is the caller's to ask."""
    found = labels((selector or {}).get("matchLabels"), f"{path}.matchLabels")
    for index, rule in enumerate((selector or {}).get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        operator, values = rule.get("operator", ""), rule.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                found += required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                found += forbidden(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        else:
            found += invalid(f"{at}.operator", operator, "not a valid selector operator")
        found += qualified_name(rule.get("key", ""), f"{at}.key")
        for position, value in enumerate(values):
            found += label_value(value, f"{at}.values[{position}]")
    return found


def balancer_addresses(entries: Iterable[Mapping[str, Any]], path: str) -> Causes:
    """What a load balancer is reached by: addresses or names, of status.loadBalancer.ingress."""
    found: Causes = []
    for index, entry in enumerate(entries):
        at, mode = f"{path}[{index}]", entry.get("ipMode")
        if entry.get("ip"):
            found += ip(entry["ip"], f"{at}.ip")
        elif mode is not None:
            found += forbidden(f"{at}.ipMode", "may not be specified when `ip` is not set")
        if mode is not None and mode not in _IP_MODES:
            found += not_supported(f"{at}.ipMode", mode, _IP_MODES)
        if entry.get("hostname"):
            found += dns_subdomain(entry["hostname"], f"{at}.hostname")
            if _is_ip(entry["hostname"]):
                found += invalid(f"{at}.hostname", entry["hostname"], "must be a DNS name, not an IP address")
    return found


def _is_ip(value: str) -> bool:
    return not ip(value, "")


def immutable(new: Mapping[str, Any], old: Mapping[str, Any], *paths: str) -> Causes:
    """The fields at these dotted paths are what they were."""
    found: Causes = []
    for path in paths:
        now, before = (_at(obj, path) for obj in (new, old))
        if now != before:
            found += invalid(path, now, "field is immutable")
    return found


def _at(obj: Any, path: str) -> Any:
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def finalizer(value: str, path: str) -> Causes:
    """Qualified, but for the few that are upstream's own."""
    causes = qualified_name(value, path)
    if not causes and "/" not in value and value not in _FINALIZERS:
        return invalid(path, value, "name is neither a standard finalizer name nor is it fully qualified")
    return causes


def object_name(name: str | None, rule: Callable[[str, str], Causes], path: str = "metadata.name") -> Causes:
    """metadata.name by the rule of its kind (dns_label, dns_subdomain, path_segment)."""
    return rule(name, path) if name else required(path, "name or generateName is required")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _text_causes(value: str, path: str, limit: int, form: re.Pattern[str], why: str) -> Causes:
    found: Causes = []
    if len(value) > limit:
        found += invalid(path, value, f"must be no more than {limit} characters")
    if not form.match(value):
        found += invalid(path, value, why)
    return found
