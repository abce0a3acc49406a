"""DIR/pki: `ca.crt`, `ca.key`, and `<role>.crt`, `<role>.key` for each role.

`front-proxy-ca` is another authority, of one role alone: whoever shows a certificate of it may say for whom they
ask, and nobody can get one by a signing request.

Files are replaced by rename, so a reader sees the old or the new one and never half of one. Key and certificate are
two files: a reader that catches the new key with the old certificate finds that they don't match, keeps what it has,
and looks again (`contexts.HotContext`).
"""

import os
import tempfile
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509

from hypernetes.pki.certificates import (
    LEAF_LIFETIME,
    Authority,
    CertificateError,
    Profile,
    key_pem,
    load_certificate,
    load_key,
    new_key,
    renewal_due,
)
from hypernetes.pki.roles import FRONT_PROXY_CLIENT, profile_of


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file that only its owner may read, atomically and durably."""
    _replace(path, content, 0o600)


def write_public(path: Path, content: bytes) -> None:
    """Replaces a file that everybody may read, atomically and durably."""
    _replace(path, content, 0o644)


class PkiDirectory:
    """The certificates of one cluster. Only one process at a time may write them (`hn up` locks DIR)."""

    def __init__(self, path: Path, cluster_id: str) -> None:
        self.path = path
        self.cluster_id = cluster_id

    @property
    def ca_certificate(self) -> Path:
        return self.path / "ca.crt"

    @property
    def front_proxy_ca(self) -> Path:
        return self.path / "front-proxy-ca.crt"

    def certificate(self, role: str) -> Path:
        return self.path / f"{role}.crt"

    def key(self, role: str) -> Path:
        return self.path / f"{role}.key"

    @cached_property
    def authority(self) -> Authority:
        """The authority that is there. Raises FileNotFoundError, CertificateError."""
        return Authority.from_pem(self.ca_certificate.read_bytes(), (self.path / "ca.key").read_bytes())

    @cached_property
    def front_proxy_authority(self) -> Authority:
        """Raises FileNotFoundError, CertificateError."""
        return Authority.from_pem(self.front_proxy_ca.read_bytes(), (self.path / "front-proxy-ca.key").read_bytes())

    def ensure_authority(self, now: datetime) -> None:
        """Makes the authorities at first start. The key is written first: a certificate says that both are there."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, certificate in (("ca", self.ca_certificate), ("front-proxy-ca", self.front_proxy_ca)):
            if not certificate.exists():
                authority = Authority.create(self.cluster_id, now, name)
                write_private(self.path / f"{name}.key", key_pem(authority.key))
                write_public(certificate, authority.pem)
                self.__dict__.pop("authority", None)
                self.__dict__.pop("front_proxy_authority", None)

    def ensure(
        self, role: str, now: datetime, *, addresses: Iterable[str] = (), lifetime: timedelta = LEAF_LIFETIME
    ) -> bool:
        """Issues the role's certificate if it is missing, due, damaged or says something else than it should.

        Returns whether it was issued.
        """
        profile = profile_of(role, self.cluster_id, addresses)
        if self._is_good(role, profile, now):
            return False
        key = new_key()
        certificate = self._authority_of(role).issue(profile, key.public_key(), now, lifetime)
        write_private(self.key(role), key_pem(key))
        write_public(self.certificate(role), certificate)
        return True

    def addresses(self, role: str) -> list[str]:
        """Those that the role's certificate lists; none if it isn't there or is damaged."""
        try:
            certificate = load_certificate(self.certificate(role).read_bytes())
        except (FileNotFoundError, CertificateError):
            return []
        return [str(name.value) for name in _names(certificate) if isinstance(name, x509.IPAddress)]

    def _authority_of(self, role: str) -> Authority:
        return self.front_proxy_authority if role == FRONT_PROXY_CLIENT else self.authority

    def _is_good(self, role: str, profile: Profile, now: datetime) -> bool:
        try:
            certificate = load_certificate(self.certificate(role).read_bytes())
            key = load_key(self.key(role).read_bytes())
        except (FileNotFoundError, CertificateError):
            return False
        return (
            certificate.public_key() == key.public_key()
            and self._authority_of(role).issued(certificate)
            and not renewal_due(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now)
            and _says(certificate, self._authority_of(role), profile)
        )


def _says(certificate: x509.Certificate, authority: Authority, profile: Profile) -> bool:
    """Whether a certificate says what `profile` does: compared with one issued from it.

    More names and addresses than wanted are fine: who starts the server knows less of them than who looks after it.
    Who a client is, its URI, must be the very same.
    """
    wanted = load_certificate(authority.issue(profile, new_key().public_key(), certificate.not_valid_before_utc))
    names, wanted_names = _names(certificate), _names(wanted)
    return (
        certificate.subject == wanted.subject
        and _other_extensions(certificate) == _other_extensions(wanted)
        and wanted_names <= names
        and all(not isinstance(name, x509.UniformResourceIdentifier) for name in names - wanted_names)
    )


def _names(certificate: x509.Certificate) -> frozenset[x509.GeneralName]:
    return frozenset(
        name
        for extension in certificate.extensions
        if isinstance(extension.value, x509.SubjectAlternativeName)
        for name in extension.value
    )


def _other_extensions(certificate: x509.Certificate) -> list[x509.Extension[x509.ExtensionType]]:
    return [each for each in certificate.extensions if not isinstance(each.value, x509.SubjectAlternativeName)]


def _replace(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
