"""Tries each kind of credential in turn: certificate, service-account token, static token.

A credential that is wrong says so to nobody but our log: the client gets 401 whatever the reason was.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime

import structlog

from hypernetes.api import times
from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn import serviceaccounts, static_tokens, x509
from hypernetes.apiserver.authn.serviceaccounts import Objects, ServiceAccountToken, TokenError
from hypernetes.apiserver.authn.tokenkeys import TokenKeys
from hypernetes.apiserver.authn.users import User

_VERIFIED_TOKENS = 8192  # signatures are checked once; what a token is bound to, at each request

log = structlog.get_logger()


class Authenticator:
    """Composes the kinds of credentials. `objects` answers from the mirror, at once."""

    def __init__(
        self,
        cluster_id: str,
        objects: Objects,
        keys: TokenKeys,
        tokens: Mapping[bytes, User] | None = None,
        clock: Callable[[], datetime] = times.now,
    ) -> None:
        self._cluster_id, self._objects, self._keys = cluster_id, objects, keys
        self._tokens = tokens or {}
        self._clock = clock
        self._verified: OrderedDict[bytes, ServiceAccountToken] = OrderedDict()

    async def authenticate(self, peer_certificate: bytes | None, authorization: str | None) -> User:
        """The user behind a request: its verified client certificate (DER) and `Authorization` header.

        Raises StatusError (Unauthorized), and Unavailable of the store where a tenant's key can't be read.
        """
        user = self._by_certificate(peer_certificate) if peer_certificate is not None else None
        if user is None and authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() == "bearer":
                user = await self._by_token(token.strip())
        if user is None:
            raise StatusError("Unauthorized", "Unauthorized")
        return user

    def _by_certificate(self, der: bytes) -> User | None:
        identity = x509.identity_of(der)
        if identity is None or identity.san is None:
            return None
        tenant_uid = self._objects.tenant_uid(identity.san.tenant)
        return x509.user_of(identity, self._cluster_id, tenant_uid, self._clock())

    async def _by_token(self, encoded: str) -> User | None:
        user = static_tokens.find(encoded, self._tokens)
        if user is not None:
            return user if self._objects.tenant_uid(user.tenant) == user.tenant_uid else None
        tenant = serviceaccounts.claimed_tenant(encoded)
        if tenant is None:
            return None
        try:
            token = await self._verified_token(encoded, tenant)
            return serviceaccounts.user_of(token, self._objects, self._clock())
        except TokenError as error:
            log.info("token refused", tenant=tenant, error=str(error))
            return None

    async def _verified_token(self, encoded: str, tenant: str) -> ServiceAccountToken:
        tenant_uid = self._objects.tenant_uid(tenant)
        if tenant_uid is None:
            raise TokenError("there is no such tenant")
        fingerprint = serviceaccounts.fingerprint(encoded)
        token = self._verified.get(fingerprint)
        if token is None:
            token = serviceaccounts.verify(encoded, await self._keys.of(tenant, tenant_uid), tenant)
            self._verified[fingerprint] = token
            if len(self._verified) > _VERIFIED_TOKENS:
                self._verified.popitem(last=False)
        else:
            self._verified.move_to_end(fingerprint)
        return token
