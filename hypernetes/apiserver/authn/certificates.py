"""`tenants/<name>/certificate`: signs a client certificate of a tenant (pure; the handler reads and answers).

Only the provider's administrators may ask (authz). What the request file itself says counts for nothing but its key.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hypernetes.api.status import cause, invalid
from hypernetes.api.tenancy import TenantSAN
from hypernetes.pki import Authority, CertificateError, Profile
from hypernetes.pki.certificates import load_certificate, requested_key

DEFAULT_LIFETIME = timedelta(days=365)
MIN_LIFETIME = timedelta(minutes=10)
MAX_LIFETIME = timedelta(days=3650)
MAX_REQUEST_BYTES = 16 * 1024
MAX_NAME_CHARACTERS = 64  # of a common or organization name: X.520's upper bound
MAX_GROUPS = 32


def sign(spec: Mapping[str, Any], authority: Authority, san: TenantSAN, now: datetime) -> dict[str, Any]:
    """The status of a CertificateRequest: the certificate (base64 of PEM) and when it ends. Raises StatusError."""
    causes: list[dict[str, str]] = []
    user, groups = _user(spec, causes), _groups(spec, causes)
    lifetime = _lifetime(spec, causes)
    key = None
    try:
        key = requested_key(_request(spec))
    except CertificateError as error:
        causes.append(cause("FieldValueInvalid", "spec.request", str(error)))
    if causes or key is None:
        raise invalid("hypernetes.io", "CertificateRequest", san.tenant, causes)
    pem = authority.issue(Profile(user, groups, san, client=True), key, now, lifetime)
    expires = load_certificate(pem).not_valid_after_utc
    return {
        "certificate": base64.b64encode(pem).decode(),
        "authority": base64.b64encode(authority.pem).decode(),
        "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _request(spec: Mapping[str, Any]) -> bytes:
    encoded = spec.get("request")
    if not isinstance(encoded, str):
        raise CertificateError("must be a PEM certificate request in base64")
    if len(encoded) > MAX_REQUEST_BYTES:
        raise CertificateError(f"must not be longer than {MAX_REQUEST_BYTES} characters")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CertificateError("must be a PEM certificate request in base64") from error


def _user(spec: Mapping[str, Any], causes: list[dict[str, str]]) -> str:
    user = spec.get("user")
    if isinstance(user, str) and _is_name(user):
        return user
    causes.append(cause("FieldValueInvalid", "spec.user", f"must be 1 to {MAX_NAME_CHARACTERS} printable characters"))
    return ""


def _groups(spec: Mapping[str, Any], causes: list[dict[str, str]]) -> tuple[str, ...]:
    groups = spec.get("groups", [])
    if (
        isinstance(groups, list)
        and len(groups) <= MAX_GROUPS
        and all(isinstance(group, str) and _is_name(group) for group in groups)
    ):
        return tuple(groups)
    message = f"must be at most {MAX_GROUPS} names of 1 to {MAX_NAME_CHARACTERS} printable characters"
    causes.append(cause("FieldValueInvalid", "spec.groups", message))
    return ()


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME_CHARACTERS and text.isprintable()


def _lifetime(spec: Mapping[str, Any], causes: list[dict[str, str]]) -> timedelta:
    seconds = spec.get("expirationSeconds")
    if seconds is None:
        return DEFAULT_LIFETIME
    low, high = int(MIN_LIFETIME.total_seconds()), int(MAX_LIFETIME.total_seconds())
    if isinstance(seconds, int) and not isinstance(seconds, bool) and low <= seconds <= high:
        return timedelta(seconds=seconds)
    causes.append(cause("FieldValueInvalid", "spec.expirationSeconds", f"must be between {low} and {high}"))
    return DEFAULT_LIFETIME
