"""JWTs of external issuers (OIDC ID tokens) as an identity source: verified here, with keys that are remembered.

The file is looked at every few seconds; one that has become unusable changes nothing, and the log says why.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import orjson
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode
from yarl import URL

from hypernetes import dialing
from hypernetes.api import times
from hypernetes.api.tenancy import SYSTEM_TENANT, is_dns_label
from hypernetes.api.usernames import SYSTEM_PREFIX
from hypernetes.apiserver.authn import jwtconfig, jwtkeys
from hypernetes.apiserver.authn.jwtconfig import Configuration, Issuer, Mapped
from hypernetes.apiserver.authn.jwtkeys import IssuerKeys, Key
from hypernetes.providers.identity.base import ConfigurationError, ExternalTenant, Identity, TenantReference

# By what a token may be signed: never `none`, never a secret that is shared (a public key taken for one would do).
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
LEEWAY = timedelta(seconds=10)  # between the issuer's clock and ours
_LOOK_SECONDS = 5.0  # at the file
_MAX_GROUPS = 512
_MAX_CHARACTERS = 1024  # of a name

log = structlog.get_logger()


class Refused(ValueError):
    """A token opens nothing; the message is for our log."""


class JwtIssuers:
    """An identity provider. `allows_anonymous` is what the same file says of who shows no credential."""

    name = "jwt"
    fresh_for = stale_for = timedelta(seconds=30)  # so that a changed file counts soon

    def __init__(self, path: Path, clock: Callable[[], datetime] = times.now) -> None:
        self._path, self._clock = path, clock
        self._configuration = Configuration()
        self._keys: dict[str, IssuerKeys] = {}
        self._issuers: dict[str, Issuer] = {}
        self._named: set[str] = set()  # `host:port` of the configuration, which may be at any address
        self._policy = dialing.Policy()
        self._session: aiohttp.ClientSession | None = None
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises ConfigurationError."""
        found, stamp = await asyncio.to_thread(self._read)
        own = await asyncio.to_thread(dialing.machine_addresses)
        self._policy = dialing.Policy(self._named, dialing.own_addresses(own))
        self._session = dialing.session(self._policy, jwtkeys.PURPOSE)
        try:
            self._use(found)
        except ConfigurationError:
            await self.close()
            raise
        self._looking = asyncio.create_task(self._look(stamp), name="authentication configuration")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        if self._session is not None:
            await self._session.close()

    async def tenants(self) -> list[ExternalTenant]:
        return []

    async def tenant(self, id: str) -> ExternalTenant | None:
        return None

    def allows_anonymous(self, path: str) -> bool:
        paths = self._configuration.anonymous_paths
        return self._configuration.anonymous and (paths is None or path in paths)

    def recognises(self, token: str) -> bool:
        return _part(token, 1).get("iss") in self._issuers

    async def identity_of(self, token: str) -> Identity | None:
        header, issuer = _part(token, 0), self._issuers.get(str(_part(token, 1).get("iss")))
        if issuer is None or header.get("alg") not in ALGORITHMS:
            return None
        key_id = header.get("kid")
        candidates = await self._keys[issuer.url].named(key_id if isinstance(key_id, str) else None)
        try:
            return identity(verified(token, candidates), issuer, self._clock())
        except Refused as error:
            log.info("token refused", issuer=issuer.url, error=str(error))
            return None

    def _read(self) -> tuple[Configuration, tuple[int, int]]:
        return jwtconfig.load(self._path), _stamp(self._path)

    def _use(self, found: Configuration) -> None:
        assert self._session is not None
        kept = {issuer.url: issuer for issuer in found.issuers}
        fresh = {
            url: IssuerKeys(issuer, self._session, self._policy, monotonic)
            for url, issuer in kept.items() if self._issuers.get(url) != issuer
        }  # fmt: skip
        self._keys = {url: fresh[url] if url in fresh else self._keys[url] for url in kept}
        self._configuration, self._issuers = found, kept
        self._named.clear()
        self._named.update(
            dialing.place(URL(url)) for each in found.issuers for url in (each.url, each.discovery_url)
        )  # fmt: skip

    async def _look(self, stamp: tuple[int, int]) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            stamp = await self.reload(stamp)
            for keys in list(self._keys.values()):
                await keys.refresh()

    async def reload(self, stamp: tuple[int, int]) -> tuple[int, int]:
        """Reads the file again if it has changed since it had this stamp; gives the stamp that it has now."""
        try:
            now = await asyncio.to_thread(_stamp, self._path)
            if now == stamp:
                return stamp
            found, stamp = await asyncio.to_thread(self._read)
            self._use(found)
            log.info("authentication configuration read again", file=str(self._path), issuers=len(found.issuers))
        except (ConfigurationError, OSError) as error:
            log.error("the authentication configuration is unusable; the former one counts", error=str(error))
            return now if isinstance(error, ConfigurationError) else stamp
        return stamp


def verified(token: str, candidates: list[Key]) -> Mapping[str, Any]:
    """The claims, once one of the keys has signed them. Raises Refused."""
    for key in candidates:
        try:
            return jwt.decode(token, key, algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError, TypeError):
            continue
    raise Refused("none of the issuer's keys has signed it")


def identity(claims: Mapping[str, Any], issuer: Issuer, now: datetime) -> Identity:
    """Who the claims say it is. Raises Refused."""
    expires = _moment(claims, "exp")
    if expires is None or now >= expires:
        raise Refused("it has expired, or doesn't say when it does")
    begins, issued = _moment(claims, "nbf"), _moment(claims, "iat")
    if any(moment is not None and now < moment - LEEWAY for moment in (begins, issued)):
        raise Refused("it isn't valid yet")
    if claims.get("iss") != issuer.url:
        raise Refused("it is of another issuer")
    audience = claims.get("aud")
    meant = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(each, str) and each in issuer.audiences for each in meant):
        raise Refused("it is meant for others")
    for claim, value in issuer.required:
        if claim not in claims or (value and claims[claim] != value):
            raise Refused(f"the claim {claim} isn't as it must be")
    user = _name(claims, issuer.username)
    if issuer.username.claim == "email" and claims.get("email_verified", True) is not True:
        raise Refused("the e-mail address isn't verified")
    if user.startswith(SYSTEM_PREFIX):
        raise Refused("the user name is one of the cluster's own")
    return Identity(
        user, TenantReference(_tenant(claims, issuer)), _groups(claims, issuer.groups),
        uid=_text(claims, issuer.uid) if issuer.uid else "",
        extra={key: (_text(claims, claim),) for key, claim in issuer.extra if claim in claims},
        issued_at=issued or begins, expires_at=expires,
    )  # fmt: skip


def _tenant(claims: Mapping[str, Any], issuer: Issuer) -> str:
    if issuer.tenant_claim is None:
        return issuer.tenant
    name = _name(claims, issuer.tenant_claim)
    if name == SYSTEM_TENANT or not is_dns_label(name):
        raise Refused("the tenant that it names can't be one")  # the provider's is never a claim's to name
    return name


def _groups(claims: Mapping[str, Any], mapped: Mapped | None) -> tuple[str, ...]:
    found = claims.get(mapped.claim) if mapped is not None else None
    if mapped is None or found is None:
        return ()
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list) or len(names) > _MAX_GROUPS or not all(isinstance(name, str) for name in names):
        raise Refused(f"the claim {mapped.claim} is no list of at most {_MAX_GROUPS} names")
    prefixed = [mapped.prefix + name for name in names if 0 < len(name) <= _MAX_CHARACTERS]
    return tuple(name for name in prefixed if not name.startswith(SYSTEM_PREFIX))


def _name(claims: Mapping[str, Any], mapped: Mapped) -> str:
    return mapped.prefix + _text(claims, mapped.claim)


def _text(claims: Mapping[str, Any], claim: str) -> str:
    found = claims.get(claim)
    if not isinstance(found, str) or not 0 < len(found) <= _MAX_CHARACTERS:
        raise Refused(f"the claim {claim} is no text of 1 to {_MAX_CHARACTERS} characters")
    return found


def _moment(claims: Mapping[str, Any], claim: str) -> datetime | None:
    found = claims.get(claim)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Refused(f"the claim {claim} is no time")
    try:
        return datetime.fromtimestamp(found, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Refused(f"the claim {claim} is no time") from error


def _part(token: str, number: int) -> Mapping[str, Any]:
    """Header (0) or claims (1) of a token, unverified; nothing for what is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        found = orjson.loads(urlsafe_b64decode(parts[number].encode("ascii")))
    except (ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino
