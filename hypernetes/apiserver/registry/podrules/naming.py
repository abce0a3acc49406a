"""How a pod finds others by name, and what it is called itself: DNS, hostname, aliases."""

import re
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
# Limits of libc's resolver, and of what passes for one.
_MAX_SERVERS, _MAX_SEARCHES, _MAX_SEARCH_CHARACTERS = 3, 32, 2048
_SEARCH_LABEL = r"[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?"
_SEARCH = re.compile(rf"{_SEARCH_LABEL}(\.{_SEARCH_LABEL})*\Z")
_HOSTNAME_MAX = 64  # HOST_NAME_MAX of Linux


def validate(spec: Object, path: str) -> Causes:
    policy = spec.get("dnsPolicy")
    causes: Causes = [] if policy in _DNS else validation.one_of(policy, _DNS, f"{path}.dnsPolicy")
    if "dnsConfig" in spec or policy == "None":
        causes += _dns_config(spec.get("dnsConfig"), policy, f"{path}.dnsConfig")
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            causes += validation.dns_label(spec[name], f"{path}.{name}")
    if spec.get("hostnameOverride") is not None:
        causes += _override(spec, f"{path}.hostnameOverride")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        at = f"{path}.hostAliases[{index}]"
        causes += validation.ip(alias.get("ip") or "", f"{at}.ip")
        for position, name in enumerate(alias.get("hostnames") or ()):
            causes += validation.dns_subdomain(name, f"{at}.hostnames[{position}]")
    return causes


def _override(spec: Object, path: str) -> Causes:
    """A hostname that is no pod's (KEP-4762)."""
    name = spec["hostnameOverride"]
    causes = validation.dns_subdomain(name, path)
    if len(name) > _HOSTNAME_MAX:
        causes += validation.invalid(path, name, f"must be no more than {_HOSTNAME_MAX} characters")
    for other in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(other):
            causes += validation.forbidden(path, f"may not be specified when {other} is true")
    return causes


def _dns_config(config: Object | None, policy: Any, path: str) -> Causes:
    servers, searches = (config or {}).get("nameservers") or [], (config or {}).get("searches") or []
    if policy == "None":
        if config is None:
            return validation.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
        if not servers:
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return validation.required(f"{path}.nameservers", why)
    causes: Causes = []
    if len(servers) > _MAX_SERVERS:
        why = f"must not have more than {_MAX_SERVERS} nameservers"
        causes += validation.invalid(f"{path}.nameservers", servers, why)
    for index, server in enumerate(servers):
        causes += validation.ip(server, f"{path}.nameservers[{index}]")
    if len(searches) > _MAX_SEARCHES:
        why = f"must not have more than {_MAX_SEARCHES} search paths"
        causes += validation.invalid(f"{path}.searches", searches, why)
    if len(" ".join(searches)) > _MAX_SEARCH_CHARACTERS:
        why = f"must not have more than {_MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        causes += validation.invalid(f"{path}.searches", searches, why)
    for index, search in enumerate(searches):
        name = search.removesuffix(".")
        if search != "." and (len(name) > validation.DNS_SUBDOMAIN_MAX or not _SEARCH.match(name)):
            why = "a lowercase RFC 1123 subdomain, which may have '_', is expected"
            causes += validation.invalid(f"{path}.searches[{index}]", name, why)
    for index, option in enumerate((config or {}).get("options") or ()):
        if not option.get("name"):
            causes += validation.required(f"{path}.options[{index}]", "must not be empty")
    return causes
