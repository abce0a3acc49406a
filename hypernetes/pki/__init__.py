"""The cluster's certificates: who issues them, what they say, how they are renewed and reloaded without a restart.

    certificates.py   the authority, the profile of a certificate, and what a peer's certificate says (pure)
    roles.py          which certificates a cluster has, and what each says (pure)
    directory.py      DIR/pki: makes what is missing, renews what is due, writes atomically
    contexts.py       TLS contexts that follow their files

One authority per cluster, made at first start, signs everything but the front proxy's certificate (directory.py). A
client certificate names its tenant in a URI SAN (`api.tenancy.TenantSAN`), which only our signers write; one without it
has no access anywhere.
"""

from hypernetes.pki.certificates import Authority, CertificateError, Identity, Profile, read_identity, renewal_due
from hypernetes.pki.contexts import HotContext, client_context, server_context
from hypernetes.pki.directory import PkiDirectory, write_private, write_public
from hypernetes.pki.roles import (
    ADMIN,
    APISERVER,
    CONTROLLERS,
    FRONT_PROXY_CLIENT,
    KUBELET_CLIENT,
    KUBELET_CLIENT_USER,
    SCHEDULER,
    node_role,
    profile_of,
)

__all__ = [
    "ADMIN",
    "APISERVER",
    "CONTROLLERS",
    "FRONT_PROXY_CLIENT",
    "KUBELET_CLIENT",
    "KUBELET_CLIENT_USER",
    "SCHEDULER",
    "Authority",
    "CertificateError",
    "HotContext",
    "Identity",
    "PkiDirectory",
    "Profile",
    "client_context",
    "node_role",
    "profile_of",
    "read_identity",
    "renewal_due",
    "server_context",
    "write_private",
    "write_public",
]
