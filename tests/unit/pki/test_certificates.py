from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from hypernetes.api.tenancy import TenantSAN
from hypernetes.pki import Authority, CertificateError, Profile, profile_of, read_identity, renewal_due
from hypernetes.pki.certificates import AUTHORITY_LIFETIME, load_certificate, new_key, requested_key, signing_request

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAN = TenantSAN("abc123", "acme", "6a0e2f6c-34a5-4f9e-9a80-0d8f8a9d3f10")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("abc123", NOW)


def der(pem: bytes) -> bytes:
    return load_certificate(pem).public_bytes(serialization.Encoding.DER)


def test_a_client_certificate_says_user_groups_and_tenant(authority: Authority):
    profile = Profile("acme-admin", ("system:masters", "dev"), SAN, client=True)
    identity = read_identity(der(authority.issue(profile, new_key().public_key(), NOW, timedelta(days=10))))
    assert identity.common_name == "acme-admin"
    assert identity.organizations == ("system:masters", "dev")
    assert identity.san == SAN
    assert identity.not_after == NOW + timedelta(days=10)


def test_a_certificate_without_tenant_or_with_two_names_none(authority: Authority):
    def identity_with(*uris: str):
        key = new_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))
            .issuer_name(authority.certificate.subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=1))
        )
        if uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(authority.key, hashes.SHA256())
        return read_identity(certificate.public_bytes(serialization.Encoding.DER))

    other = TenantSAN("abc123", "globex", SAN.tenant_uid)
    assert identity_with(str(SAN)).san == SAN
    assert identity_with().san is None
    assert identity_with(str(SAN), str(other)).san is None
    assert identity_with("hypernetes://abc123/tenants/acme").san is None


def test_bytes_that_are_no_certificate_are_refused():
    with pytest.raises(CertificateError, match="can't be read"):
        read_identity(b"\x30\x03\x02\x01\x01")


def test_a_leaf_never_outlives_its_authority(authority: Authority):
    leaf = load_certificate(
        authority.issue(Profile("x", client=True), new_key().public_key(), NOW, AUTHORITY_LIFETIME * 2)
    )
    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_the_serving_certificate_lists_the_names_and_addresses_pods_use(authority: Authority):
    profile = profile_of("apiserver", "abc123", ["127.0.0.1", "10.254.0.1", "127.0.0.1"])
    leaf = load_certificate(authority.issue(profile, new_key().public_key(), NOW))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "kubernetes", "kubernetes.default", "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local", "localhost",
    ]  # fmt: skip
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "10.254.0.1"]
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [x509.ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize(
    ("role", "user", "groups"),
    [
        ("admin", "admin", ("system:masters",)),
        ("scheduler", "system:hn-scheduler", ()),
        ("controllers", "system:hn-controllers", ()),
        ("apiserver-kubelet-client", "system:hn-apiserver", ()),
        ("node-n1", "system:node:n1", ("system:nodes",)),
    ],
)
def test_every_component_is_of_the_tenant_system(role: str, user: str, groups: tuple[str, ...]):
    profile = profile_of(role, "abc123")
    assert (profile.common_name, profile.organizations, profile.client) == (user, groups, True)
    assert profile.san is not None
    assert profile.san.tenant == "system"


def test_an_authority_knows_its_own_signatures_from_those_of_a_namesake(authority: Authority):
    namesake = Authority.create("abc123", NOW)
    leaf = namesake.issue(Profile("x", client=True), new_key().public_key(), NOW)
    assert namesake.issued(load_certificate(leaf))
    assert not authority.issued(load_certificate(leaf))


@pytest.mark.parametrize(("days_left", "due"), [(31, False), (30, False), (29, True), (0, True), (-1, True)])
def test_renewal_is_due_when_less_than_a_third_is_left(days_left: int, due: bool):
    assert renewal_due(NOW, NOW + timedelta(days=90), NOW + timedelta(days=90 - days_left)) is due


def test_a_request_is_taken_for_its_key_alone():
    key = new_key()
    assert requested_key(signing_request("anybody", key)) == key.public_key()


def test_a_request_with_a_changed_key_is_refused():
    pem = signing_request("acme-admin", new_key())
    request = x509.load_pem_x509_csr(pem)
    forged = bytearray(request.public_bytes(serialization.Encoding.DER))
    forged[-1] ^= 1  # the last byte of the signature
    with pytest.raises(CertificateError, match="signature"):
        requested_key(x509.load_der_x509_csr(bytes(forged)).public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (rsa.generate_private_key(65537, 1024), "2048 bits"),
        (ec.generate_private_key(ec.SECP192R1()), "secp192r1"),
    ],
)
def test_a_weak_key_is_refused(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, message: str):
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(CertificateError, match=message):
        requested_key(request.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    "pem", [b"", b"not pem", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
)
def test_what_is_no_request_is_refused(pem: bytes):
    with pytest.raises(CertificateError):
        requested_key(pem)
