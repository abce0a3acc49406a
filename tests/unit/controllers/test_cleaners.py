"""What goes when it is over: bootstrap tokens and CertificateSigningRequests."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from hypernetes.api import times
from hypernetes.api.models.certificates_v1 import CertificateSigningRequest
from hypernetes.api.models.core_v1 import Secret
from hypernetes.controllers import csrcleaner, tokencleaner
from hypernetes.controllers.csrcleaner import CSRCleaner
from hypernetes.controllers.tokencleaner import TokenCleaner
from hypernetes.pki import Authority
from tests.unit.controllers.fake_cluster import START, Json, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

HOUR = 3600.0


def token(expiration: str | None, type: str = "bootstrap.kubernetes.io/token") -> Json:
    data = {} if expiration is None else {"expiration": base64.b64encode(expiration.encode()).decode()}
    metadata = {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type, "data": data}


@pytest.mark.parametrize(
    ("secret", "left"),
    [
        (token("2030-01-01T01:00:00Z"), HOUR),
        (token("2030-01-01T03:00:00+02:00"), HOUR),
        (token("2029-12-31T23:59:59Z"), 0),
        (token("tomorrow"), 0),
        (token(None), None),
        (token("2029-12-31T23:59:59Z", type="Opaque"), None),
    ],
)
def test_when_a_token_is_over(secret: Json, left: float | None) -> None:
    assert tokencleaner.expires_in(Secret.from_dict(secret), START) == left


def request(*verdicts: tuple[str, float], age: float = 0.0, **status: Any) -> Json:
    """Verdicts with the seconds since they were given."""
    conditions = [
        {"type": type, "status": "True", "lastUpdateTime": times.format_time(START - timedelta(seconds=ago))}
        for type, ago in verdicts
    ]
    made = times.format_time(START - timedelta(seconds=age))
    return {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "jane", "creationTimestamp": made},
        "spec": {"request": "", "signerName": "example.com/any"}, "status": {"conditions": conditions, **status},
    }  # fmt: skip


def certificate(left: float) -> str:
    """One that has so many seconds left."""
    made = Authority.create("test", START).pem
    lifetime = x509.load_pem_x509_certificate(made).not_valid_after_utc - START
    return base64.b64encode(Authority.create("test", START - lifetime + timedelta(seconds=left)).pem).decode()


@pytest.mark.parametrize(
    ("obj", "left"),
    [
        (request(age=23 * HOUR), HOUR),
        (request(age=24 * HOUR), 0),
        (request(("Approved", 0.5 * HOUR), age=30 * HOUR), 0.5 * HOUR),
        (request(("Approved", HOUR)), 0),
        (request(("Denied", HOUR)), 0),
        (request(("Failed", 2 * HOUR)), 0),
        (request(("Approved", 0), ("Failed", HOUR)), 0),
        (request(("Approved", 0), certificate=base64.b64encode(b"no certificate").decode()), HOUR),
        (request(("Approved", 0), certificate=certificate(left=60)), 60),
        (request(("Approved", 0), certificate=certificate(left=-1)), 0),
    ],
)
def test_when_a_signing_request_is_over(obj: Json, left: float) -> None:
    assert csrcleaner.expires_in(CertificateSigningRequest.from_dict(obj), START) == left


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
async def test_both_go_when_their_time_has_come_and_others_stay() -> None:
    async with Story(TokenCleaner, CSRCleaner).running() as cluster:
        await cluster.put(token("2030-01-01T00:10:00Z"), "system")
        other = token("2030-01-01T00:10:00Z", type="Opaque")
        await cluster.put({**other, "metadata": {"name": "other", "namespace": "kube-system"}}, "system")
        await cluster.put(request(("Denied", 0.0)))
        await settle(500)
        assert cluster.names("Secret", "system") == ["bootstrap-token-abcdef", "other"]
        await settle(200)
        assert cluster.names("Secret", "system") == ["other"]
        assert cluster.names("CertificateSigningRequest") == ["jane"]
        await settle(HOUR)
        assert cluster.names("CertificateSigningRequest") == []
