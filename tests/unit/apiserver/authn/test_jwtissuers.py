from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hypernetes.apiserver.authn.jwtconfig import Issuer, Mapped
from hypernetes.apiserver.authn.jwtissuers import Refused, identity
from hypernetes.apiserver.authn.jwtkeys import usable
from hypernetes.providers.identity.base import Identity, TenantReference

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
URL = "https://id.example.com"
ISSUER = Issuer(
    URL, f"{URL}/d", "", ("kubernetes", "other"), "", Mapped("org"), Mapped("sub", "id:"), Mapped("groups", "id:"),
    "sub", (("example.com/mail", "mail"),), (("hd", "example.com"), ("acr", "")),
)  # fmt: skip
CLAIMS: dict[str, Any] = {
    "iss": URL, "aud": ["x", "other"], "exp": SECONDS + 60, "iat": SECONDS - 60, "nbf": SECONDS - 60, "sub": "jane",
    "org": "acme", "groups": ["dev", "ops"], "mail": "jane@example.com", "hd": "example.com", "acr": "1",
}  # fmt: skip


def test_claims_are_mapped():
    assert identity(CLAIMS, ISSUER, NOW) == Identity(
        "id:jane", TenantReference("acme"), ("id:dev", "id:ops"), "jane", {"example.com/mail": ("jane@example.com",)},
        NOW - timedelta(seconds=60), NOW + timedelta(seconds=60),
    )  # fmt: skip
    one = {**CLAIMS, "aud": "kubernetes", "groups": "dev"}
    assert identity(one, ISSUER, NOW).groups == ("id:dev",)
    without = {name: value for name, value in CLAIMS.items() if name not in ("groups", "mail", "iat", "nbf")}
    assert identity(without, ISSUER, NOW).groups == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": SECONDS}, {"exp": None}, {"exp": "later"}, {"exp": True}, {"exp": 1e30}, {"exp": float("nan")},
        {"nbf": SECONDS + 11}, {"iat": SECONDS + 11}, {"nbf": "x"}, {"iss": "https://id.example.com/"}, {"iss": None},
        {"aud": "x"}, {"aud": []}, {"aud": None}, {"aud": {"kubernetes": 1}}, {"aud": [["kubernetes"]]},
        {"sub": ""}, {"sub": None}, {"sub": 5}, {"sub": "x" * 1025}, {"org": "system"}, {"org": "../acme"}, {"org": ""},
        {"org": ["acme"]}, {"org": None}, {"groups": 5}, {"groups": [1]}, {"groups": ["g"] * 513}, {"groups": {}},
        {"hd": "example.org"}, {"hd": None}, {"acr": None}, {"mail": 7},
    ],
)  # fmt: skip
def test_claims_that_are_not_as_they_must_be_open_nothing(changed: dict[str, Any]):
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    with pytest.raises(Refused):
        identity(claims, ISSUER, NOW)


def test_no_claim_makes_anybody_one_of_the_clusters_own():
    plain = replace(ISSUER, username=Mapped("sub"), groups=Mapped("groups"))
    with pytest.raises(Refused):
        identity({**CLAIMS, "sub": "system:admin"}, plain, NOW)
    assert identity({**CLAIMS, "groups": ["system:masters", "system:nodes", "dev"]}, plain, NOW).groups == ("dev",)
    prefixed = replace(ISSUER, tenant_claim=Mapped("org", "sys"))
    with pytest.raises(Refused):
        identity({**CLAIMS, "org": "tem"}, prefixed, NOW)


def test_an_address_that_nobody_verified_is_no_name():
    mail = replace(ISSUER, username=Mapped("email"))
    claims = {**CLAIMS, "email": "jane@example.com"}
    assert identity(claims, mail, NOW).user == "jane@example.com"
    assert identity({**claims, "email_verified": True}, mail, NOW).user == "jane@example.com"
    for said in (False, "true", 1):
        with pytest.raises(Refused):
            identity({**claims, "email_verified": said}, mail, NOW)


def test_a_tenant_that_the_operator_names_may_be_the_providers():
    assert identity(CLAIMS, replace(ISSUER, tenant="system", tenant_claim=None), NOW).tenant == TenantReference(
        "system"
    )


@pytest.mark.parametrize(
    "keys",
    [
        [], [None], [{}], [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}], [{"kty": "RSA"}],
        [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}], [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}],
    ],
)  # fmt: skip
def test_secrets_weak_keys_and_nonsense_are_no_keys(keys: list[Any]):
    assert usable({"keys": keys}) == []


@pytest.mark.parametrize("keys", [None, {}, "x", 5])
def test_a_key_set_without_keys_is_refused(keys: Any):
    with pytest.raises(ValueError, match="no keys"):
        usable({"keys": keys})
