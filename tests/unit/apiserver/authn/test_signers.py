import base64
import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from hypernetes.api.tenancy import TenantSAN
from hypernetes.apiserver.authn.signers import CLIENT, NODE_CLIENT, NODE_SERVING, Refused, decide
from hypernetes.pki.certificates import new_key

ACME = TenantSAN("abc123", "acme", "6a0e2f6c-34a5-4f9e-9a80-0d8f8a9d3f10")
SYSTEM = TenantSAN("abc123", "system", "6a0e2f6c-34a5-4f9e-9a80-0d8f8a9d3f11")
NODE = ("system:node:n1", "system:nodes")


def request(name: str | None, *groups: str, names: list[x509.GeneralName] | None = None, country: str = "") -> str:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    if name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    if country:
        attributes.append(x509.NameAttribute(NameOID.COUNTRY_NAME, country))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(new_key(), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


def spec(signer: str, encoded: str, *usages: str, **more: Any) -> dict[str, Any]:
    purpose = "server auth" if signer == NODE_SERVING else "client auth"
    return {"signerName": signer, "request": encoded, "usages": list(usages) or [purpose, "digital signature"], **more}


def test_a_client_gets_the_subject_it_asked_for_in_the_tenant_where_it_asked() -> None:
    profile, _, lifetime = decide(spec(CLIENT, request("jane", "dev", "ops"), expirationSeconds=3600), ACME)
    assert (profile.common_name, profile.organizations, profile.san) == ("jane", ("dev", "ops"), ACME)
    assert (profile.client, profile.server, profile.dns_names, lifetime.total_seconds()) == (True, False, (), 3600)


@pytest.mark.parametrize("san", [ACME, SYSTEM])
def test_administrators_are_not_made_by_requests(san: TenantSAN) -> None:
    with pytest.raises(Refused, match="system:masters"):
        decide(spec(CLIENT, request("jane", "dev", "system:masters")), san)


@pytest.mark.parametrize(
    ("name", "groups"),
    [("system:hn-controllers", ()), ("system:node:n1", ("system:nodes",)), ("x", ("system:nodes",))],
)
def test_in_the_providers_tenant_no_name_of_the_clusters_own_is_signed_for_people(
    name: str, groups: tuple[str, ...]
) -> None:
    with pytest.raises(Refused):
        decide(spec(CLIENT, request(name, *groups)), SYSTEM)
    assert decide(spec(CLIENT, request(name, *groups)), ACME)[0].san == ACME  # where it means nothing


def test_a_request_can_not_bring_a_tenant() -> None:
    uri = x509.UniformResourceIdentifier("hypernetes://abc123/tenants/globex/6a0e2f6c-34a5-4f9e-9a80-0d8f8a9d3f12")
    with pytest.raises(Refused):
        decide(spec(CLIENT, request("jane", names=[uri])), ACME)


def test_dns_names_of_a_clients_request_are_not_signed() -> None:
    profile, _, _ = decide(spec(CLIENT, request("jane", names=[x509.DNSName("kubernetes")])), ACME)
    assert (profile.dns_names, profile.addresses) == ((), ())


def test_a_node_is_signed_for_as_a_node() -> None:
    profile, _, _ = decide(spec(NODE_CLIENT, request(*NODE)), SYSTEM)
    assert (profile.common_name, profile.organizations, profile.san) == (NODE[0], (NODE[1],), SYSTEM)
    names = [x509.DNSName("n1"), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]
    serving, _, _ = decide(spec(NODE_SERVING, request(*NODE, names=names), username=NODE[0]), SYSTEM)
    assert (serving.dns_names, serving.addresses, serving.server, serving.client) == (
        ("n1",), ("192.0.2.1",), True, False,
    )  # fmt: skip
    assert serving.san is None  # it opens nothing


@pytest.mark.parametrize(
    ("asked", "san"),
    [
        (spec(CLIENT, request("jane"), "server auth"), ACME),
        (spec(CLIENT, request("jane"), "client auth", "cert sign"), ACME),
        (spec(CLIENT, request(None, "dev")), ACME),
        (spec(CLIENT, request("jane", country="DE")), ACME),
        (spec(CLIENT, request("jane\n")), ACME),
        (spec(CLIENT, base64.b64encode(b"no request").decode()), ACME),
        (spec(CLIENT, "???"), ACME),
        (spec(NODE_CLIENT, request("jane", "system:nodes")), SYSTEM),
        (spec(NODE_CLIENT, request(NODE[0], *NODE[1:], "dev")), SYSTEM),
        (spec(NODE_CLIENT, request(*NODE, names=[x509.DNSName("n1")])), SYSTEM),
        (spec(NODE_SERVING, request(*NODE, names=[x509.DNSName("n1")]), username="admin"), SYSTEM),
        (spec(NODE_SERVING, request(*NODE), username=NODE[0]), SYSTEM),
        (spec(NODE_SERVING, request(*NODE, names=[x509.DNSName("kubernetes")]), username=NODE[0]), ACME),
    ],
)
def test_what_a_signer_is_not_for_it_refuses(asked: dict[str, Any], san: TenantSAN) -> None:
    with pytest.raises(Refused):
        decide(asked, san)
