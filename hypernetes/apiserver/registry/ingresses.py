"""Ingresses and their classes: which host and path leads to which service."""

import ipaddress
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_WITHIN_NO_PATH = ("//", "/./", "/../", "%2f", "%2F")
_ENDS_NO_PATH = ("/..", "/.")
_SCOPES = ("Cluster", "Namespace")
_MAX_CONTROLLER_CHARACTERS = 250


def prepare_create(ingress: Object) -> None:
    ingress["status"] = {"loadBalancer": {}}


def validate(ingress: Object) -> Causes:
    spec = ingress.get("spec") or {}
    rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
    causes: Causes = []
    if not rules and backend is None:
        causes += validation.invalid("spec", "", "either `defaultBackend` or `rules` must be specified")
    if backend is not None:
        causes += _backend(backend, "spec.defaultBackend")
    for index, rule in enumerate(rules):
        causes += _rule(rule, f"spec.rules[{index}]")
    for index, entry in enumerate(spec.get("tls") or ()):
        causes += _tls(entry, f"spec.tls[{index}]")
    if "ingressClassName" in spec:
        causes += validation.dns_subdomain(spec["ingressClassName"], "spec.ingressClassName")
    return causes


def validate_create(ingress: Object) -> Causes:
    annotation = (ingress["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
    name = (ingress.get("spec") or {}).get("ingressClassName")
    if annotation is None or name is None or annotation == name:
        return []
    why = "must match `ingressClassName` when both are specified"
    return validation.invalid(f"annotations.{_CLASS_ANNOTATION}", annotation, why)


def _rule(rule: Object, path: str) -> Causes:
    causes = _host(rule["host"], f"{path}.host") if rule.get("host") else []
    if "http" not in rule:
        return causes
    paths = rule["http"].get("paths") or []
    if not paths:
        causes += validation.required(f"{path}.http.paths")
    for index, entry in enumerate(paths):
        causes += _path(entry, f"{path}.http.paths[{index}]")
    return causes


def _host(host: str, path: str) -> Causes:
    causes: Causes = []
    try:
        ipaddress.ip_address(host)
        causes += validation.invalid(path, host, "must be a DNS name, not an IP address")
    except ValueError:
        pass  # as it should be
    return causes + validation.dns_name_or_wildcard(host, path)


def _path(entry: Object, path: str) -> Causes:
    kind, place = entry.get("pathType"), entry.get("path") or ""
    if kind is None:
        return validation.required(f"{path}.pathType", "pathType must be specified")
    causes: Causes = []
    if kind in ("Exact", "Prefix"):
        if not place.startswith("/"):
            causes += validation.invalid(f"{path}.path", place, "must be an absolute path")
        for part in _WITHIN_NO_PATH:
            if part in place:
                causes += validation.invalid(f"{path}.path", place, f"must not contain '{part}'")
        for end in _ENDS_NO_PATH:
            if place.endswith(end):
                causes += validation.invalid(f"{path}.path", place, f"cannot end with '{end}'")
    elif kind not in _PATH_TYPES:
        causes += validation.not_supported(f"{path}.pathType", kind, _PATH_TYPES)
    elif place and not place.startswith("/"):
        causes += validation.invalid(f"{path}.path", place, "must be an absolute path")
    return causes + _backend(entry.get("backend") or {}, f"{path}.backend")


def _backend(backend: Object, path: str) -> Causes:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return validation.invalid(path, "", "cannot set both resource and service backends")
    if resource is not None:
        return _reference(resource, f"{path}.resource")
    if service is None:
        return validation.invalid(path, "", "resource or service backend is required")
    name = service.get("name") or ""
    at = f"{path}.service.name"
    causes = validation.dns_label(name, at) if name else validation.required(at)
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        causes += validation.invalid(path, "", "cannot set both port name & port number")
    elif port.get("name"):
        causes += validation.port_name(port["name"], f"{path}.service.port.name")
    elif port.get("number"):
        causes += validation.port_number(port["number"], f"{path}.service.port.number")
    else:
        causes += validation.required(path, "port name or number is required")
    return causes


def _reference(reference: Object, path: str) -> Causes:
    causes: Causes = []
    if reference.get("apiGroup") is not None:
        causes += validation.dns_subdomain(reference["apiGroup"], f"{path}.apiGroup")
    for name in ("kind", "name"):
        value, at = reference.get(name) or "", f"{path}.{name}"
        causes += validation.path_segment(value, at) if value else validation.required(at)
    return causes


def _tls(entry: Object, path: str) -> Causes:
    causes: Causes = []
    for index, host in enumerate(entry.get("hosts") or ()):
        causes += validation.dns_name_or_wildcard(host, f"{path}.hosts[{index}]")
    if entry.get("secretName"):
        causes += validation.dns_subdomain(entry["secretName"], f"{path}.secretName")
    return causes


def validate_status(new: Object, old: Object) -> Causes:
    given = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return validation.balancer_addresses(given, "status.loadBalancer.ingress")


def warnings(ingress: Object, old: Object | None) -> list[str]:
    if old is None and _CLASS_ANNOTATION in (ingress["metadata"].get("annotations") or {}):
        return [f"annotation \"{_CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"]
    return []


def validate_class(ingress_class: Object) -> Causes:
    spec = ingress_class.get("spec") or {}
    controller, path = spec.get("controller") or "", "spec.controller"
    causes: Causes = []
    if len(controller) > _MAX_CONTROLLER_CHARACTERS:
        causes += validation.too_long(path, _MAX_CONTROLLER_CHARACTERS)
    causes += validation.domain_prefixed_path(controller, path)
    parameters = spec.get("parameters")
    if parameters is not None:
        causes += _reference(parameters, "spec.parameters") + _scope(parameters, "spec.parameters")
    return causes


def _scope(parameters: Object, path: str) -> Causes:
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope not in _SCOPES:
        return validation.not_supported(f"{path}.scope", scope or "", _SCOPES)
    if scope == "Cluster":
        if namespace is None:
            return []
        return validation.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")
    if not namespace:
        return validation.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
    return validation.dns_label(namespace, f"{path}.namespace")


def validate_class_update(new: Object, old: Object) -> Causes:
    return validation.immutable(new, old, "spec.controller")


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    prepare_create=prepare_create,
    validate=validate,
    validate_create=validate_create,
    validate_status=validate_status,
    warnings=warnings,
)
CLASSES = Strategy(complete=True, generation=True, validate=validate_class, validate_update=validate_class_update)
