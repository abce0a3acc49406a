"""CertificateApproval and CertificateSigning: approving and signing need a permission for the request's signer.

`approve` or `sign` on `signers` by the signer's name, or on `<its domain>/*`.
"""

from typing import Any

from hypernetes.apiserver.admission.request import UPDATE, Plugin, Request

Object = dict[str, Any]

_REQUESTS = (("certificates.k8s.io", "certificatesigningrequests"),)


def validate_approval(request: Request) -> None:
    _require(request, "approve")


def validate_signing(request: Request) -> None:
    """Only who sets a certificate, or says that there will be none, signs."""
    if _outcome(request.obj) != _outcome(request.old):
        _require(request, "sign")


def _outcome(obj: Object) -> tuple[Any, list[Object]]:
    status = obj.get("status") or {}
    failures = [condition for condition in status.get("conditions") or () if condition.get("type") == "Failed"]
    return status.get("certificate"), failures


def _require(request: Request, verb: str) -> None:
    signer = request.old.get("spec", {}).get("signerName", "")
    names = (signer, f"{signer.partition('/')[0]}/*")
    if not any(request.may(verb, "certificates.k8s.io", "signers", name) for name in names):
        raise request.forbidden(f'user not permitted to {verb} requests with signerName "{signer}"')


APPROVAL = Plugin("CertificateApproval", _REQUESTS, (UPDATE,), ("approval",), validate=validate_approval)
SIGNING = Plugin("CertificateSigning", _REQUESTS, (UPDATE,), ("status",), validate=validate_signing)
