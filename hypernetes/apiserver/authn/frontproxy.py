"""A proxy in front of the API that has authenticated its clients itself, and says in headers who they are.

Upstream's request-header authentication, with the tenant: `X-Remote-User`, `X-Remote-Group`, `X-Remote-Extra-KEY`, and
`X-Remote-Tenant`. The headers count if the connection's certificate is one of the proxy's own authority, with a name
that is allowed; and such a certificate counts for nothing else. The provider's own tenant can't be named.
"""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID
from multidict import CIMultiDictProxy

from hypernetes.api.tenancy import SYSTEM_TENANT, is_dns_label
from hypernetes.api.usernames import SYSTEM_PREFIX
from hypernetes.providers.identity.base import ConfigurationError, Identity, TenantReference

USER, GROUP, EXTRA, TENANT = "X-Remote-User", "X-Remote-Group", "x-remote-extra-", "X-Remote-Tenant"


class FrontProxy:
    """`authority` is the file with the proxy's authority; `names` are common names, any if there is none."""

    def __init__(self, authority: Path, names: Collection[str] = ()) -> None:
        """Raises ConfigurationError."""
        self.authority = authority
        self._names = frozenset(names)
        try:
            self._authorities = x509.load_pem_x509_certificates(authority.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{authority} has no certificate of a proxy's authority: {error}") from error
        self._issued = lru_cache(maxsize=1024)(self._look_at)

    def issued(self, der: bytes) -> bool:
        """Whether it is a certificate of the proxy's authority, and so nobody's of ours."""
        return self._issued(der) is not None

    def identity(self, der: bytes, headers: "CIMultiDictProxy[str]") -> Identity | None:
        """Who the proxy says it is; None where it says nobody, or isn't one that may."""
        name = self._issued(der)
        user, tenant = headers.get(USER, ""), headers.get(TENANT, "")
        if name is None or (self._names and name not in self._names):
            return None
        if not user or user.startswith(SYSTEM_PREFIX) or tenant == SYSTEM_TENANT or not is_dns_label(tenant):
            return None
        groups = tuple(group for group in headers.getall(GROUP, ()) if group and not group.startswith(SYSTEM_PREFIX))
        extra = {
            unquote(key[len(EXTRA) :].lower()): tuple(headers.getall(key))
            for key in headers
            if key.lower().startswith(EXTRA)
        }
        return Identity(user, TenantReference(tenant), groups, extra=extra)

    def _look_at(self, der: bytes) -> str | None:
        """The common name of a certificate that one of the authorities has issued."""
        try:
            certificate = x509.load_der_x509_certificate(der)
        except ValueError:
            return None
        for authority in self._authorities:
            try:
                certificate.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature):
                continue
            names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            return str(names[0].value) if names else ""
        return None


@lru_cache(maxsize=4096)
def is_ours(der: bytes, authority_pem: bytes) -> bool:
    """Whether the cluster's own authority has issued a certificate, where connections may show others' too."""
    try:
        x509.load_der_x509_certificate(der).verify_directly_issued_by(x509.load_pem_x509_certificate(authority_pem))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
