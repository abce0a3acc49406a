"""APIServices: one version of an API group that a server in a tenant's pods serves.

Kubernetes' own groups and ours are nobody's to take over.
"""

import base64
import binascii
from typing import Any

from cryptography import x509

from hypernetes.api import scheme
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

DEFAULT_PORT = 443
_MAX_GROUP_PRIORITY, _MAX_VERSION_PRIORITY = 20_000, 1_000


def prepare_create(obj: Object) -> None:
    _prepare(obj)
    obj["status"] = {}


def prepare_update(new: Object, old: Object) -> None:
    _prepare(new)


def _prepare(obj: Object) -> None:
    service = obj.get("spec", {}).get("service")
    if service is not None:
        service.setdefault("port", DEFAULT_PORT)


def validate(obj: Object) -> Causes:
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
    group, version = spec.get("group") or "", spec.get("version") or ""
    causes: Causes = []
    if name != f"{version}.{group}":
        causes += validation.invalid(
            "metadata.name", name, f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
        )
    causes += validation.dns_label(version, "spec.version")
    if group:
        causes += validation.dns_subdomain(group, "spec.group")
    if not causes and group in scheme.groups():
        causes += validation.forbidden("spec.group", "the group is Kubernetes' own, and served as it is")
    causes += _priority(spec, "groupPriorityMinimum", _MAX_GROUP_PRIORITY)
    causes += _priority(spec, "versionPriority", _MAX_VERSION_PRIORITY)
    return causes + _server(spec)


def _priority(spec: Object, name: str, most: int) -> Causes:
    value = spec.get(name) or 0
    if 0 < value <= most:
        return []
    return validation.invalid(f"spec.{name}", value, f"must be positive and less than or equal to {most}")


def _server(spec: Object) -> Causes:
    service, insecure, bundle = spec.get("service"), spec.get("insecureSkipTLSVerify"), spec.get("caBundle")
    causes: Causes = []
    if service is None:
        if bundle:
            causes += validation.invalid("spec.caBundle", "<omitted>", "local APIServices may not have a caBundle")
        if insecure:
            why = "local APIServices may not have insecureSkipTLSVerify"
            causes += validation.invalid("spec.insecureSkipTLSVerify", True, why)
        return causes
    for name in ("name", "namespace"):
        if not service.get(name):
            causes += validation.required(f"spec.service.{name}")
    causes += validation.port_number(service.get("port") or 0, "spec.service.port")
    if insecure and bundle:
        why = "may not be true if caBundle is present"
        causes += validation.invalid("spec.insecureSkipTLSVerify", True, why)
    elif bundle and not _holds_certificates(bundle):
        causes += validation.invalid("spec.caBundle", "<omitted>", "holds no certificate in PEM")
    return causes


def _holds_certificates(bundle: str) -> bool:
    try:
        return bool(x509.load_pem_x509_certificates(base64.b64decode(bundle, validate=True)))
    except (binascii.Error, ValueError):
        return False


STRATEGY = Strategy(
    has_status=True,
    complete=True,
    name_rule=validation.path_segment,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
)
