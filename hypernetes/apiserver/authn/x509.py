"""Client certificates: the user is the common name, the groups the organizations, the tenant the URI SAN."""

from datetime import datetime
from functools import lru_cache

from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authn.users import User, with_authenticated
from hypernetes.pki import CertificateError, Identity, read_identity

_PARSED_CERTIFICATES = 4096  # a certificate is parsed once, however many connections and requests show it


def user_of(identity: Identity, cluster_id: str, tenant_uid: str | None, now: datetime) -> User | None:
    """The user, or None where the certificate opens nothing here.

    `tenant_uid` is the UID that the tenant of this name has now, None where there is none. TLS has verified the chain
    when the connection began; it may have outlived the certificate since.
    """
    san = identity.san
    if san is None or san.cluster_id != cluster_id or tenant_uid is None or san.tenant_uid != tenant_uid:
        return None
    if now >= identity.not_after:
        return None
    groups = with_authenticated(identity.organizations)
    component = san.tenant == SYSTEM_TENANT
    return User(identity.common_name, groups, san.tenant, san.tenant_uid, component=component)


@lru_cache(maxsize=_PARSED_CERTIFICATES)
def identity_of(der: bytes) -> Identity | None:
    """What a peer's certificate says; None for one that says nothing of use."""
    try:
        return read_identity(der)
    except CertificateError:
        return None
