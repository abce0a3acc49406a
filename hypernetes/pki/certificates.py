"""What certificates say, and the authority that signs them. No file, no clock: the caller gives both."""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hypernetes.api.tenancy import TenantSAN

AUTHORITY_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=90)
BACKDATE = timedelta(minutes=5)  # not-before lies this far back, so that a peer whose clock is behind accepts it
MIN_RSA_BITS = 2048

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


class CertificateError(ValueError):
    """A certificate, key or request is unusable; the message says why."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What one certificate says: its user (CN), groups (O), tenant, and the names it serves under."""

    common_name: str
    organizations: tuple[str, ...] = ()
    san: TenantSAN | None = None  # client certificates only
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    server: bool = False
    client: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified client certificate says about its holder."""

    common_name: str
    organizations: tuple[str, ...]
    san: TenantSAN | None  # None: it names no tenant, so it opens nothing
    not_after: datetime


@dataclass(frozen=True)
class Authority:
    """The cluster's certificate authority. Keys are EC P-256, signatures ECDSA with SHA-256."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, cluster_id: str, now: datetime, kind: str = "ca") -> "Authority":
        key = new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"hypernetes-{kind}-{cluster_id}")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> "Authority":
        """Raises CertificateError."""
        return cls(load_certificate(certificate), load_key(key))

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, profile: Profile, key: PublicKey, now: datetime, lifetime: timedelta = LEAF_LIFETIME) -> bytes:
        """A certificate (PEM) for the holder of `key`; it never outlives the authority's own."""
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] * profile.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * profile.client
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(profile))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(min(now + lifetime, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        names = _alternative_names(profile)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issued(self, certificate: x509.Certificate) -> bool:
        """Whether this authority, and not an earlier one of the same name, signed it."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"the private key can't be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("the private key is not an elliptic-curve key")
    return key


def load_certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CertificateError(f"the certificate can't be read: {error}") from error


def signing_request(common_name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A PEM certificate request for our own key. The signer decides on the subject; the name is for people."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def requested_key(pem: bytes) -> PublicKey:
    """The public key of a certificate request whose signature proves that the asker holds the private one.

    Nothing else in the request counts. EC P-256/P-384/P-521, RSA from 2048 bits and Ed25519 are taken.
    Raises CertificateError.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        valid = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError) as error:
        raise CertificateError(f"not a PEM certificate request: {error}") from error
    except UnsupportedAlgorithm as error:
        raise CertificateError(f"the request uses an algorithm that is not supported: {error}") from error
    if not valid:
        raise CertificateError("the request's signature doesn't match its key")
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise CertificateError(f"an RSA key must have at least {MIN_RSA_BITS} bits, this one has {key.key_size}")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
            raise CertificateError(f"curve {key.curve.name} is not supported; use P-256, P-384 or P-521")
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise CertificateError("only EC, RSA and Ed25519 keys are supported")


def renewal_due(not_before: datetime, not_after: datetime, now: datetime) -> bool:
    """A certificate is renewed when less than a third of its lifetime is left."""
    return not_after - now < (not_after - not_before) / 3


def read_identity(der: bytes) -> Identity:
    """What a peer's certificate (DER, as TLS gives it) says. The TLS layer has verified its chain and time.

    Two tenant SANs in one certificate name no tenant: nobody may choose. Raises CertificateError.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        uris = _uris(certificate)
    except ValueError as error:
        raise CertificateError(f"the client certificate can't be read: {error}") from error
    if len(names) != 1:
        raise CertificateError("the client certificate must have exactly one common name")
    sans = [san for san in map(TenantSAN.parse, uris) if san is not None]
    return Identity(
        common_name=str(names[0].value),
        organizations=tuple(str(group.value) for group in groups),
        san=sans[0] if len(sans) == 1 else None,
        not_after=certificate.not_valid_after_utc,
    )


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.UniformResourceIdentifier)


def _subject(profile: Profile) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in profile.organizations]
    try:
        return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, profile.common_name)])
    except ValueError as error:
        raise CertificateError(f"{profile.common_name!r} can't be a certificate's subject: {error}") from error


def _alternative_names(profile: Profile) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in profile.dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in profile.addresses]
    if profile.san is not None:
        names.append(x509.UniformResourceIdentifier(str(profile.san)))
    return names


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
