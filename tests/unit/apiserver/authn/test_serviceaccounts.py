import base64
import hmac
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from hypernetes.api.models.authentication_v1 import BoundObjectReference, TokenRequestSpec
from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn import serviceaccounts
from hypernetes.apiserver.authn.serviceaccounts import (
    API_AUDIENCE,
    BoundObject,
    ServiceAccountToken,
    TokenError,
    check_life,
    claimed_tenant,
    grant,
    issuer,
    sign,
    user_of,
    verify,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = ECKey.generate_key("P-256")
OTHER_KEY = ECKey.generate_key("P-256")


@dataclass
class Living:
    tenants: dict[str, str] = field(default_factory=lambda: {"acme": "t1"})
    accounts: dict[tuple[str, str, str], str] = field(default_factory=lambda: {("acme", "web", "default"): "sa1"})
    pods: dict[tuple[str, str, str], str] = field(
        default_factory=lambda: {("acme", "web", "p"): "pod1", ("acme", "web", "theirs"): "pod2"}
    )

    def tenant_uid(self, tenant: str) -> str | None:
        return self.tenants.get(tenant)

    def service_account_uid(self, tenant: str, namespace: str, name: str) -> str | None:
        return self.accounts.get((tenant, namespace, name))

    def pod_uid(self, tenant: str, namespace: str, name: str) -> str | None:
        return self.pods.get((tenant, namespace, name))

    def pod_account(self, tenant: str, namespace: str, name: str) -> str | None:
        return "default" if name == "p" else "another"

    def secret_uid(self, tenant: str, namespace: str, name: str) -> str | None:
        return {"s": "secret1"}.get(name)

    def node_uid(self, name: str) -> str | None:
        return {"n1": "node1"}.get(name)


def granted(spec: TokenRequestSpec | None = None, living: Living | None = None) -> ServiceAccountToken:
    return grant(
        spec or TokenRequestSpec(),
        tenant="acme",
        tenant_uid="t1",
        namespace="web",
        account=BoundObject("default", "sa1"),
        objects=living or Living(),
        now=NOW,
    )


def bound(name: str = "p", uid: str | None = None, kind: str = "Pod") -> TokenRequestSpec:
    return TokenRequestSpec(bound_object_ref=BoundObjectReference(api_version_="v1", kind_=kind, name=name, uid=uid))


def test_a_token_says_after_verification_what_was_granted():
    for spec in (TokenRequestSpec(), bound(), bound("s", kind="Secret"), bound("n1", kind="Node")):
        token = granted(spec)
        encoded = sign(token, KEY)
        assert claimed_tenant(encoded) == "acme"
        assert verify(encoded, KEY, "acme") == token


def test_its_user_is_the_service_account_in_its_tenant():
    user = user_of(granted(bound()))
    assert user.name == "system:serviceaccount:web:default"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:web", "system:authenticated")
    assert (user.tenant, user.tenant_uid) == ("acme", "t1")
    assert user.uid == "sa1"
    assert user.extra["authentication.kubernetes.io/pod-uid"] == ("pod1",)
    on_node = user_of(granted(bound("n1", kind="Node")))
    assert on_node.extra["authentication.kubernetes.io/node-name"] == ("n1",)


@pytest.mark.parametrize(
    "change",
    [
        lambda living: living.tenants.clear(),
        lambda living: living.tenants.update(acme="t2"),
        lambda living: living.accounts.clear(),
        lambda living: living.accounts.update({("acme", "web", "default"): "sa2"}),
        lambda living: living.pods.clear(),
        lambda living: living.pods.update({("acme", "web", "p"): "pod2"}),
    ],
    ids=["tenant gone", "tenant made again", "account gone", "account made again", "pod gone", "pod made again"],
)
def test_a_token_ends_with_whatever_it_is_bound_to(change):
    living = Living()
    token = granted(bound(), living)
    check_life(token, living, NOW)
    change(living)
    with pytest.raises(TokenError):
        check_life(token, living, NOW)


def test_a_token_is_good_from_its_issue_until_its_expiry():
    token = granted(TokenRequestSpec(expiration_seconds=600))
    check_life(token, Living(), NOW - timedelta(seconds=5))
    check_life(token, Living(), NOW + timedelta(seconds=599))
    for moment in (NOW - timedelta(seconds=30), NOW + timedelta(seconds=600)):
        with pytest.raises(TokenError, match="expired"):
            check_life(token, Living(), moment)


def test_a_token_for_another_audience_does_not_open_the_api():
    token = granted(TokenRequestSpec(audiences=["vault"]))
    check_life(token, Living(), NOW, audiences=("vault",))
    with pytest.raises(TokenError, match="vault"):
        check_life(token, Living(), NOW)


def test_a_token_signed_by_another_tenants_key_is_refused():
    with pytest.raises(TokenError, match="signature"):
        verify(sign(granted(), OTHER_KEY), KEY, "acme")


def test_a_tenants_key_speaks_for_no_other_tenant():
    forged = sign(replace(granted(), tenant="globex"), KEY)
    with pytest.raises(TokenError):
        verify(forged, KEY, "acme")


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_the_token_does_not_choose_its_algorithm(algorithm: str):
    payload = sign(granted(), KEY).split(".")[1]
    signed = f"{_encode(json.dumps({'alg': algorithm}).encode())}.{payload}"
    # The classic attack: the public key, which everybody may have, taken as the secret of a HMAC.
    mac = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256") if algorithm == "HS256" else b""
    with pytest.raises(TokenError, match="signature"):
        verify(f"{signed}.{_encode(mac)}", KEY, "acme")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize("missing", ["aud", "exp", "nbf", "jti", "kubernetes.io", "hypernetes.io"])
def test_a_signed_token_without_a_claim_is_refused(missing: str):
    claims = jwt.decode(sign(granted(), KEY), KEY, algorithms=["ES256"]).claims
    del claims[missing]
    with pytest.raises(TokenError, match="claim"):
        verify(jwt.encode({"alg": "ES256"}, claims, KEY), KEY, "acme")


@pytest.mark.parametrize(
    "encoded",
    ["", "a", "a.b.c", "a.bm90IGpzb24.c", "a.W10.c", "a.eyJpc3MiOjF9.c", "\x00.\xff.é", "x" * 10_000, "a.e30.c"],
)
def test_what_is_no_token_of_ours_names_no_tenant(encoded: str):
    assert claimed_tenant(encoded) is None


def test_a_foreign_issuer_names_no_tenant():
    foreign = jwt.encode({"alg": "ES256"}, {"iss": "https://evil.example/tenants/acme"}, KEY)
    assert claimed_tenant(foreign) is None
    assert issuer("acme").endswith("/tenants/acme")


def test_by_default_a_token_opens_the_api_for_an_hour():
    token = granted()
    assert token.audiences == (API_AUDIENCE,)
    assert token.expires_at - token.issued_at == timedelta(hours=1)


def test_a_long_lifetime_is_shortened_and_the_answer_says_so():
    token = granted(TokenRequestSpec(expiration_seconds=365 * 86400))
    assert token.expires_at == NOW + timedelta(hours=48)
    assert serviceaccounts.status(token, "x") == {"token": "x", "expirationTimestamp": "2026-01-03T12:00:00Z"}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (TokenRequestSpec(expiration_seconds=599), "Invalid"),
        (TokenRequestSpec(audiences=["a", ""]), "Invalid"),
        (TokenRequestSpec(expiration_seconds=(1 << 32) + 1), "Invalid"),
        (bound(kind="ConfigMap"), "BadRequest"),
        (bound(name="nosuch"), "NotFound"),
        (bound("nosuch", kind="Secret"), "NotFound"),
        (bound("nosuch", kind="Node"), "NotFound"),
        (bound("theirs"), "BadRequest"),
        (bound("s", "secret0", kind="Secret"), "Conflict"),
        (bound(uid="pod0"), "Conflict"),
    ],
)
def test_a_token_request_that_cannot_be_granted_says_why(spec: TokenRequestSpec, reason: str):
    with pytest.raises(StatusError) as caught:
        granted(spec)
    assert caught.value.reason == reason
