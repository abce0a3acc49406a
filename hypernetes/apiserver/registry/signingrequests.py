"""CertificateSigningRequests: what is asked for, of whom, and what for. (Who may approve and sign is admission's.)"""

import base64
from collections.abc import Mapping
from typing import Any

from cryptography import x509

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import signingapprovals
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_IDENTITY = ("username", "uid", "groups", "extra")
_MIN_SECONDS = 600
_MAX_SIGNER_CHARACTERS = 571
_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip


def asked_by(request: Object, user: Mapping[str, Any]) -> None:
    """Whose certificate it is to be is not the client's to say."""
    spec = request["spec"]
    for name in _IDENTITY:
        spec.pop(name, None)
    spec.update(user)


def prepare_update(new: Object, old: Object) -> None:
    """What was asked for stays as it was asked."""
    new["spec"] = old["spec"]


def validate(request: Object) -> Causes:
    spec = request.get("spec") or {}
    causes = _request(spec.get("request") or "")
    usages = spec.get("usages") or []
    if not usages:
        causes += validation.required("spec.usages", "usages must be specified")
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            causes += validation.not_supported(f"spec.usages[{index}]", usage, _USAGES)
        elif usage in usages[:index]:
            causes += validation.duplicate(f"spec.usages[{index}]", usage)
    signer = spec.get("signerName") or ""
    causes += signer_name(signer, "spec.signerName") if signer else validation.required("spec.signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _MIN_SECONDS:
        causes += validation.invalid("spec.expirationSeconds", seconds, f"may not specify less than {_MIN_SECONDS}")
    return causes


def _request(data: str) -> Causes:
    try:
        x509.load_pem_x509_csr(base64.b64decode(data))
    except ValueError as error:
        return validation.invalid("spec.request", data[:64], f"unable to parse: {error}")
    return []


def signer_name(name: str, path: str) -> Causes:
    """`example.com/signer`: a domain, and a path within it."""
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return validation.invalid(path, name, why)
    causes: Causes = []
    if len(domain) > validation.DNS_SUBDOMAIN_MAX:
        causes += validation.too_long(path, validation.DNS_SUBDOMAIN_MAX)
    labels = domain.split(".")
    for label in labels:
        causes += validation.dns_label(label, path)
    if len(labels) < 2:
        causes += validation.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    for part in rest.split("."):
        causes += validation.dns_subdomain(part, path)
    if len(name) > _MAX_SIGNER_CHARACTERS:
        causes += validation.too_long(path, _MAX_SIGNER_CHARACTERS)
    return causes


STRATEGY = Strategy(
    complete=True, has_status=True, asked_by=asked_by, prepare_update=prepare_update, validate=validate,
    prepare_status=signingapprovals.prepare_status, validate_status=signingapprovals.validate_status,
)  # fmt: skip
