"""The keys of one external issuer: found by its discovery document, kept, and fetched again in time.

They are fetched when a token first needs them, when one names a key that isn't known (at most every 10 s), and, beside
the requests, each hour. Keys once known go on counting while the issuer doesn't answer. Only https, with the issuer's
own authority if it has one; no redirect is followed, and no more is read than a document may have. Where the keys are,
the issuer's document says and not our configuration: so that leads to no address of this machine (dialing.py).
"""

import asyncio
import ssl
from collections.abc import Callable

import aiohttp
import orjson
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from yarl import URL

from hypernetes.apiserver.authn.jwtconfig import Issuer
from hypernetes.dialing import Policy
from hypernetes.providers.identity.base import ConfigurationError, TokenUnanswered

Key = RSAKey | ECKey | OKPKey

PURPOSE = "an issuer's keys may come from"
MAX_DOCUMENT_BYTES = 256 * 1024
MAX_KEYS = 64
MIN_RSA_BITS = 2048
FETCH_SECONDS = 4.0
_EVERY_SECONDS = 3600.0
_UNKNOWN_SECONDS = 10.0  # between fetches for keys that aren't known

log = structlog.get_logger()


class IssuerKeys:
    """`clock` counts seconds."""

    def __init__(
        self, issuer: Issuer, session: aiohttp.ClientSession, policy: Policy, clock: Callable[[], float]
    ) -> None:  # fmt: skip
        self._issuer, self._session, self._policy, self._clock = issuer, session, policy, clock
        self._context = trusted(issuer)
        self._keys: list[Key] = []
        self._fetched: float | None = None
        self._tried: float | None = None
        self._turn = asyncio.Lock()

    async def named(self, key_id: str | None) -> list[Key]:
        """Those that may have signed a token with this `kid`. Raises TokenUnanswered."""
        if found := self._find(key_id):
            return found
        async with self._turn:
            if not self._find(key_id) and self._older(self._tried, _UNKNOWN_SECONDS):
                await self._fetch()
        if self._fetched is None:
            raise TokenUnanswered(f"the keys of {self._issuer.url} can't be fetched")
        return self._find(key_id)

    async def refresh(self) -> None:
        """Fetches them again where it is time; the owner calls it now and then."""
        if self._fetched is not None and self._older(self._tried, _EVERY_SECONDS):
            async with self._turn:
                await self._fetch()

    def _find(self, key_id: str | None) -> list[Key]:
        return [key for key in self._keys if key_id is None or key.kid == key_id]

    def _older(self, moment: float | None, seconds: float) -> bool:
        return moment is None or self._clock() - moment >= seconds

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                document = await self._get(self._issuer.discovery_url)
                if document.get("issuer") != self._issuer.url:
                    raise ValueError(f"its discovery document is of {document.get('issuer')!r}")
                location = document.get("jwks_uri")
                if not isinstance(location, str) or not location.startswith("https://"):
                    raise ValueError("its discovery document has no jwks_uri that begins with https://")
                self._keys = usable(await self._get(location))
                self._fetched = self._tried = self._clock()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._tried = self._clock()  # not where whoever asked gave up: the next one tries again
            log.warning("an issuer's keys can't be fetched", issuer=self._issuer.url, error=str(error) or "deadline")

    async def _get(self, url: str) -> dict[str, object]:
        if not self._policy.allows_url(URL(url)):
            raise ValueError(f"{url} leads to no address that {PURPOSE}")
        async with self._session.get(url, ssl=self._context, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"{url} answers with {response.status}")
            body = await response.content.read(MAX_DOCUMENT_BYTES + 1)
            while len(body) <= MAX_DOCUMENT_BYTES and (more := await response.content.read(MAX_DOCUMENT_BYTES)):
                body += more
            if len(body) > MAX_DOCUMENT_BYTES:
                raise ValueError(f"{url} answers with more than {MAX_DOCUMENT_BYTES} bytes")
            found = orjson.loads(body)
            if not isinstance(found, dict):
                raise ValueError(f"{url} answers with no object")
            return found


def trusted(issuer: Issuer) -> ssl.SSLContext:
    """Raises ConfigurationError."""
    try:
        return ssl.create_default_context(cadata=issuer.authority_pem or None)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"the certificateAuthority of {issuer.url} is no PEM: {error}") from error


def usable(document: dict[str, object]) -> list[Key]:
    """The keys of a JWKS (RFC 7517) that may sign: asymmetric ones, strong enough. Raises ValueError."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise ValueError("the key set has no keys")
    keys: list[Key] = []
    for entry in entries[:MAX_KEYS]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = JWKRegistry.import_key({name: value for name, value in entry.items() if name != "key_ops"})
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if isinstance(key, RSAKey) and key.public_key.key_size < MIN_RSA_BITS:
            continue
        if isinstance(key, RSAKey | ECKey | OKPKey):
            keys.append(key)
    return keys
