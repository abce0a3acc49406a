"""What becomes of a CertificateSigningRequest: approved or denied by `approval`, signed or failed by `status`.

What was decided stays decided: no condition of these goes again, and a certificate is never replaced.
"""

import base64
import binascii
import copy
from typing import Any

from cryptography import x509

from hypernetes.api import times
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
_DECISIONS = (APPROVED, DENIED)
_CONDITIONS = "status.conditions"
_CERTIFICATE = "status.certificate"


def has(request: Object, kind: str) -> bool:
    return any(condition.get("type") == kind for condition in _conditions(request))


def prepare_approval(new: Object, old: Object) -> None:
    """Through `approval` the conditions change, and nothing else."""
    conditions = _conditions(new)
    new["spec"] = copy.deepcopy(old["spec"])
    new["status"] = copy.deepcopy(old.get("status") or {})
    new["status"].pop("conditions", None)
    if conditions:
        new["status"]["conditions"] = conditions
    _stamp(new, old)


def prepare_status(new: Object, old: Object) -> None:
    _stamp(new, old)


def validate_approval(new: Object, old: Object) -> Causes:
    return _of_conditions(new, old)


def validate_status(new: Object, old: Object) -> Causes:
    causes = _of_conditions(new, old)
    for kind in _DECISIONS:
        if has(new, kind) and not has(old, kind):
            causes += validation.forbidden(_CONDITIONS, f"updates may not add a condition of type {kind!r}")
    before, after = ((obj.get("status") or {}).get("certificate") or "" for obj in (old, new))
    if before and before != after:
        causes += validation.forbidden(_CERTIFICATE, "updates may not modify existing certificate content")
    if after and after != before:
        causes += _of_certificate(after)
    return causes


def _conditions(request: Object) -> list[Object]:
    return (request.get("status") or {}).get("conditions") or []


def _stamp(new: Object, old: Object) -> None:
    """Conditions say since when they are so."""
    now = times.format_time(times.now())
    known = {condition.get("type"): condition for condition in _conditions(old)}
    for condition in _conditions(new):
        before = known.get(condition.get("type"))
        condition["lastUpdateTime"] = condition.get("lastUpdateTime") or now
        if not condition.get("lastTransitionTime"):
            same = before is not None and before.get("status") == condition.get("status")
            condition["lastTransitionTime"] = before["lastTransitionTime"] if before is not None and same else now


def _of_conditions(new: Object, old: Object) -> Causes:
    causes: Causes = []
    seen: set[str] = set()
    for index, condition in enumerate(_conditions(new)):
        path, kind, status = f"{_CONDITIONS}[{index}]", condition.get("type") or "", condition.get("status") or ""
        if not kind:
            causes += validation.required(f"{path}.type")
        if not status:
            causes += validation.required(f"{path}.status")
        elif kind in (*_DECISIONS, FAILED) and status != "True":
            causes += validation.not_supported(f"{path}.status", status, ("True",))
        if kind in seen:
            causes += validation.duplicate(f"{path}.type", kind)
        seen.add(kind)
    if seen.issuperset(_DECISIONS):
        why = "Approved and Denied conditions are mutually exclusive"
        causes += validation.invalid(_CONDITIONS, sorted(seen), why)
    for kind in (*_DECISIONS, FAILED):
        if has(old, kind) and kind not in seen:
            causes += validation.forbidden(_CONDITIONS, f"updates may not remove a condition of type {kind!r}")
    return causes


def _of_certificate(data: str) -> Causes:
    try:
        x509.load_pem_x509_certificates(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        return validation.invalid(_CERTIFICATE, "<certificate data>", str(error))
    return []


APPROVAL = Strategy(complete=True, prepare_update=prepare_approval, validate_update=validate_approval)
