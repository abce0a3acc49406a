"""Who asks: a client certificate or a token becomes a `User` of one tenant, or the request ends with 401.

    users.py            the User, and its groups
    x509.py             client certificates
    serviceaccounts.py  tokens of service accounts: claims, signing, verification (pure)
    tokenkeys.py        the keys of each tenant that sign and verify them, kept in the store
    bootstraptokens.py  tokens of nodes that have no certificate yet
    static_tokens.py    tokens from a file
    localusers.py       people whom the cluster knows by itself, and their tokens
    passwords.py        their passwords; guessing.py: how often one may try
    sources.py          all other tokens: identity providers are asked, and what they say is remembered
    tenantindex.py      which Tenant a provider means
    chain.py            tries them in turn

**Every credential says its tenant, and which incarnation of it**: it is bound to the tenant's UID, so a tenant that
was deleted and created again under its old name accepts nothing issued before.
"""

from hypernetes.apiserver.authn.chain import Authenticator
from hypernetes.apiserver.authn.serviceaccounts import Objects
from hypernetes.apiserver.authn.sources import Sources
from hypernetes.apiserver.authn.tokenkeys import TokenKeys
from hypernetes.apiserver.authn.users import User

__all__ = ["Authenticator", "Objects", "Sources", "TokenKeys", "User"]
