"""Tries each kind of credential in turn: certificate, service-account, local, bootstrap, static token, other sources.

A token that names one of our issuers is a service account's, or nobody's; so is one that looks like a local user's. Any
other is looked for among the static ones, and then the identity sources are asked in their order (sources.py).

A credential that is wrong says so to nobody but our log: the client gets 401 whatever the reason was. Only where a
source doesn't answer that might know the token, the answer is 503.
"""

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from joserfc.jwk import ECKey
from multidict import CIMultiDictProxy

from hypernetes.api import times
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authn import bootstraptokens, localusers, serviceaccounts, static_tokens, x509
from hypernetes.apiserver.authn.frontproxy import FrontProxy, is_ours
from hypernetes.apiserver.authn.localusers import LocalUsers
from hypernetes.apiserver.authn.serviceaccounts import Objects, ServiceAccountToken, TokenError
from hypernetes.apiserver.authn.sources import LivingTenant, Sources, user_in
from hypernetes.apiserver.authn.tokenkeys import TokenKeys
from hypernetes.apiserver.authn.users import ANONYMOUS, User

_VERIFIED_TOKENS = 8192  # signatures are checked once; what a token is bound to, at each request

_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token whose signature has been checked, and whose it is for as long as it lives."""

    token: ServiceAccountToken
    key_id: str
    user: User


class Authenticator:
    """Composes the kinds of credentials. `objects` answers from the mirror, at once."""

    def __init__(
        self,
        cluster_id: str,
        objects: Objects,
        keys: TokenKeys,
        tokens: Mapping[bytes, User] | None = None,
        sources: Sources | None = None,
        local_users: LocalUsers | None = None,
        up_to_date: Callable[[], Awaitable[None]] | None = None,
        front_proxy: FrontProxy | None = None,
        authority_pem: bytes = b"",
        clock: Callable[[], datetime] = times.now,
    ) -> None:
        self._cluster_id, self._objects, self._keys = cluster_id, objects, keys
        self._tokens = {} if tokens is None else tokens
        self._sources, self._local_users, self._up_to_date = sources, local_users, up_to_date
        self._front_proxy, self._authority_pem = front_proxy, authority_pem
        self._clock = clock
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    async def authenticate(
        self, peer_certificate: bytes | None, authorization: str | None, headers: "CIMultiDictProxy[str] | None" = None
    ) -> User:
        """The user behind a request: its verified client certificate (DER) and `Authorization` header.

        Who shows neither a certificate nor a bearer token is anonymous; who shows one that is worth nothing is nobody.
        Raises StatusError (Unauthorized; ServiceUnavailable where an identity source would have to say), and
        Unavailable of the store where a tenant's key can't be read.
        """
        user = self._by_certificate(peer_certificate, headers) if peer_certificate is not None else None
        token = _bearer(authorization)
        if user is None and token is not None and token.isascii():  # no token is else; and it may be no text at all
            user = self._by_static_token(token) or await self._by_token(token)
        if user is None and peer_certificate is None and token is None:
            return ANONYMOUS
        if user is None:
            raise StatusError("Unauthorized", "Unauthorized")
        return user

    async def review(self, token: str, tenant: str, audiences: Collection[str]) -> tuple[User, list[str]] | None:
        """The user of a token, and which of the audiences asked for it is meant for.

        Somebody of `tenant` asks: tokens of other tenants are nobody's there. Raises as `authenticate`.
        """
        wanted = audiences or serviceaccounts.API_AUDIENCES
        if not token.isascii():
            return None
        if serviceaccounts.claimed_tenant(token) is None:
            user = self._by_static_token(token) or await self._by_other_token(token)
            meant = sorted(serviceaccounts.API_AUDIENCES.intersection(wanted))
        else:
            user = await self._by_token(token, wanted, tenant)
            meant = sorted(serviceaccounts.claimed_audiences(token).intersection(wanted))
        return (user, meant) if user is not None and user.tenant == tenant and meant else None

    def _by_certificate(self, der: bytes, headers: "CIMultiDictProxy[str] | None") -> User | None:
        if self._front_proxy is not None and self._front_proxy.issued(der):
            return self._by_front_proxy(self._front_proxy, der, headers)
        if self._front_proxy is not None and not is_ours(der, self._authority_pem):
            return None
        identity = x509.identity_of(der)
        if identity is None or identity.san is None:
            return None
        tenant_uid = self._objects.tenant_uid(identity.san.tenant)
        return x509.user_of(identity, self._cluster_id, tenant_uid, self._clock())

    def _by_front_proxy(self, proxy: FrontProxy, der: bytes, headers: "CIMultiDictProxy[str] | None") -> User | None:
        identity = None if headers is None else proxy.identity(der, headers)
        uid = None if identity is None else self._objects.tenant_uid(identity.tenant.name)
        if identity is None or uid is None:
            return None
        return user_in(identity, LivingTenant(identity.tenant.name, uid, _ANY_TIME), "a front proxy")

    def _by_static_token(self, encoded: str) -> User | None:
        """Nobody, of a token that looks like one of another kind."""
        user = static_tokens.find(encoded, self._tokens)
        if user is None or self._objects.tenant_uid(user.tenant) != user.tenant_uid:
            return None
        if localusers.recognises(encoded) or bootstraptokens.secret_name(encoded) is not None:
            return None
        return user if serviceaccounts.claimed_tenant(encoded) is None else None

    async def _by_other_token(self, encoded: str) -> User | None:
        """Of a token that is no service account's."""
        if localusers.recognises(encoded):
            return await self._by_local_token(encoded)
        if (secret_name := bootstraptokens.secret_name(encoded)) is not None:
            return self._by_bootstrap_token(encoded, secret_name)
        return None if self._sources is None else await self._sources.user_of(encoded)

    async def _by_local_token(self, encoded: str) -> User | None:
        if self._local_users is None:
            return None
        user = self._local_users.user_of(encoded)
        if user is None and self._up_to_date is not None:
            await self._up_to_date()  # it may have been made just now, through another server
            user = self._local_users.user_of(encoded)
        return user

    async def _by_token(
        self, encoded: str, audiences: Collection[str] = serviceaccounts.API_AUDIENCES, only: str | None = None
    ) -> User | None:
        """`only`: the one tenant whose tokens count; None for all."""
        fingerprint = serviceaccounts.fingerprint(encoded)
        known = self._verified.get(fingerprint)
        tenant = serviceaccounts.claimed_tenant(encoded) if known is None else known.token.tenant
        if tenant is None:
            return await self._by_other_token(encoded)
        if only not in (None, tenant):
            return None
        try:
            verified = await self._verify(encoded, tenant, fingerprint, known)
            serviceaccounts.check_life(verified.token, self._objects, self._clock(), audiences)
        except TokenError as error:
            log.info("token refused", tenant=tenant, error=str(error))
            return None
        return verified.user

    async def _verify(self, encoded: str, tenant: str, fingerprint: bytes, known: "_Verified | None") -> "_Verified":
        """Raises TokenError, Unavailable."""
        tenant_uid = self._objects.tenant_uid(tenant)
        if tenant_uid is None:
            raise TokenError("there is no such tenant")
        if known is None:
            key_id = serviceaccounts.claimed_key(encoded)
            token = serviceaccounts.verify(encoded, await self._key(tenant, tenant_uid, key_id), tenant)
            known = _Verified(token, key_id, serviceaccounts.user_of(token))
            self._verified[fingerprint] = known
            if len(self._verified) > _VERIFIED_TOKENS:
                self._verified.popitem(last=False)
        else:
            await self._key(tenant, tenant_uid, known.key_id)  # it may verify no longer
            self._verified.move_to_end(fingerprint)
        if serviceaccounts.is_lasting(known.token) and not self._is_held(known.token, encoded):
            raise TokenError("the Secret holds another token")
        return known

    async def _key(self, tenant: str, tenant_uid: str, key_id: str) -> ECKey:
        """The tenant's key with this id. Raises TokenError, Unavailable."""
        key = (await self._keys.ring(tenant, tenant_uid)).find(key_id, self._clock())
        if key is None and self._up_to_date is not None:
            await self._up_to_date()  # another server may have made it just now
            key = (await self._keys.ring(tenant, tenant_uid)).find(key_id, self._clock())
        if key is None:
            raise TokenError(f"no key of tenant {tenant} has signed it")
        return key

    def _is_held(self, token: ServiceAccountToken, encoded: str) -> bool:
        assert token.bound is not None
        held = self._objects.secret_token(token.tenant, token.namespace, token.bound.name)
        return hmac.compare_digest(held.encode(), encoded.encode())

    def _by_bootstrap_token(self, encoded: str, secret_name: str) -> User | None:
        secret, uid = self._objects.bootstrap_secret(secret_name), self._objects.tenant_uid(SYSTEM_TENANT)
        if secret is None or uid is None:
            return None
        return bootstraptokens.user_of(encoded, secret, uid, self._clock())


def _bearer(authorization: str | None) -> str | None:
    """The token of an `Authorization` header; None where it has none, or is of another scheme."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
