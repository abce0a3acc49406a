import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import TenantSAN
from hypernetes.apiserver.authn.certificates import sign
from hypernetes.pki import Authority, read_identity
from hypernetes.pki.certificates import load_certificate, new_key, signing_request

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AUTHORITY = Authority.create("abc123", NOW)
SAN = TenantSAN("abc123", "acme", "6a0e2f6c-34a5-4f9e-9a80-0d8f8a9d3f10")
KEY = new_key()


def spec(**changes: Any) -> dict[str, Any]:
    request = base64.b64encode(signing_request("anybody", KEY)).decode()
    return {"request": request, "user": "acme-admin", "groups": ["system:masters"], **changes}


def test_the_certificate_names_the_tenant_and_not_what_the_request_says():
    status = sign(spec(expirationSeconds=86400), AUTHORITY, SAN, NOW)
    certificate = load_certificate(base64.b64decode(status["certificate"]))
    identity = read_identity(certificate.public_bytes(serialization.Encoding.DER))
    assert (identity.common_name, identity.organizations, identity.san) == ("acme-admin", ("system:masters",), SAN)
    assert certificate.public_key() == KEY.public_key()
    assert AUTHORITY.issued(certificate)
    assert status["expirationTimestamp"] == "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"request": None}, "spec.request"),
        ({"request": "%%%"}, "spec.request"),
        ({"request": base64.b64encode(b"not a request").decode()}, "spec.request"),
        ({"request": "A" * 20_000}, "spec.request"),
        ({"user": ""}, "spec.user"),
        ({"user": 1}, "spec.user"),
        ({"user": "x" * 65}, "spec.user"),
        ({"user": "a\nb"}, "spec.user"),
        ({"groups": "system:masters"}, "spec.groups"),
        ({"groups": [""]}, "spec.groups"),
        ({"groups": ["g"] * 33}, "spec.groups"),
        ({"expirationSeconds": 1}, "spec.expirationSeconds"),
        ({"expirationSeconds": True}, "spec.expirationSeconds"),
        ({"expirationSeconds": "1h"}, "spec.expirationSeconds"),
    ],
)
def test_bad_input_is_an_invalid_that_names_the_field(change: dict[str, Any], field: str):
    with pytest.raises(StatusError) as caught:
        sign(spec(**change), AUTHORITY, SAN, NOW)
    assert caught.value.code == 422
    assert [cause["field"] for cause in caught.value.causes] == [field]
