"""Bearer tokens that none of the cluster's own kinds claims: asked of the identity sources, and remembered.

    token ─► remembered and fresh? ─► its user
                     │ no
                     ▼
             each source that recognises it, in the configured order ─► the first that knows it
                     │ nobody
                     ▼
             one of them couldn't answer: what it said last, for a while; else 503
             all answered: nobody's (401), remembered for a moment

A source is an IdentityProvider's half that answers about tokens (`hypernetes/providers/identity/base.py` has the
promises). What it says is cached by the token's hash, no token is kept. What a user is in, the tenant, is looked up at
each request, so a user goes with the tenant at once.
"""

import asyncio
import hashlib
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from hypernetes.api import times
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import TENANT_ANNOTATION
from hypernetes.api.usernames import KEYSTONE, KEYSTONE_PREFIX, SYSTEM_PREFIX
from hypernetes.apiserver.authn.users import (
    MASTERS_GROUP,
    User,
    with_authenticated,
)
from hypernetes.providers.identity.base import Identity, ProviderUnavailable, TenantReference, TokenUnanswered

MAX_TOKEN_CHARACTERS = 16 * 1024  # tokens with many groups; service accounts' have a lower bound of their own
DEADLINE_SECONDS = 5.0  # of one question to one source
UNKNOWN_FOR = timedelta(seconds=5)  # how long a token that opens nothing isn't asked about again
_QUESTIONS = 32  # asked side by side of one source
_REMEMBERED = 16_384  # identities, and as many tokens that opened nothing
_RETRY = timedelta(seconds=1)  # a source that didn't answer is left alone for this long at first
_RETRY_MOST = timedelta(seconds=20)

log = structlog.get_logger()


class Source(Protocol):
    """What of an IdentityProvider answers about tokens."""

    name: str
    fresh_for: timedelta
    stale_for: timedelta

    def recognises(self, token: str) -> bool: ...

    async def identity_of(self, token: str) -> Identity | None: ...


@dataclass(frozen=True, slots=True)
class LivingTenant:
    name: str
    uid: str
    since: datetime


class Tenants(Protocol):
    def living(self, source: str, tenant: TenantReference) -> LivingTenant | None:
        """The tenant that a source refers to; None where there is none, or it isn't clear which."""


@dataclass(slots=True)
class _Known:
    """What a source said of a token."""

    source: "_Asked"
    identity: Identity
    asked_at: datetime
    user: User | None = None  # of the tenant as it was when last looked up


class _Asked:
    """A source, and whether it answers. A silent one is asked again at growing intervals."""

    def __init__(self, source: Source, clock: Callable[[], datetime]) -> None:
        self.source, self._clock = source, clock
        self._places = asyncio.Semaphore(_QUESTIONS)
        self._silent_until: datetime | None = None
        self._pause = _RETRY

    @property
    def silent(self) -> bool:
        return self._silent_until is not None and self._clock() < self._silent_until

    async def ask(self, token: str) -> Identity | None:
        """Raises ProviderUnavailable."""
        if self.silent:
            raise ProviderUnavailable("it didn't answer a moment ago")
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                async with self._places:
                    found = await self.source.identity_of(token)
        except TokenUnanswered:
            raise
        except (ProviderUnavailable, TimeoutError) as error:
            if not self.silent:
                self._silent_until = self._clock() + self._pause * random.uniform(0.7, 1.0)
                self._pause = min(2 * self._pause, _RETRY_MOST)
                log.warning("an identity source is silent", source=self.source.name, error=str(error) or "deadline")
            raise ProviderUnavailable(str(error)) from error
        self._silent_until, self._pause = None, _RETRY
        return found


class Sources:
    """The configured sources in order."""

    def __init__(self, sources: Sequence[Source], tenants: Tenants, clock: Callable[[], datetime] = times.now) -> None:
        self._sources = [_Asked(source, clock) for source in sources]
        self._tenants, self._clock = tenants, clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._unknown: OrderedDict[bytes, datetime] = OrderedDict()  # until when
        self._asking: dict[bytes, _Turn] = {}

    async def user_of(self, token: str) -> User | None:
        """Whose a token is; None where it is nobody's. Raises StatusError 503 where nobody can say."""
        if not self._sources or len(token) > MAX_TOKEN_CHARACTERS:
            return None
        fingerprint = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self._known.get(fingerprint)
        if known is None or not self._is_fresh(known):
            async with self._turn(fingerprint):
                known = self._known.get(fingerprint)
                if known is None or not self._is_fresh(known):
                    known = await self._ask(token, fingerprint, known)
        else:
            self._known.move_to_end(fingerprint)
        return None if known is None else self._user(known)

    def _is_fresh(self, known: _Known) -> bool:
        now = self._clock()
        if known.identity.expires_at is not None and now >= known.identity.expires_at:
            return False
        age, source = now - known.asked_at, known.source
        return age < source.source.fresh_for or (source.silent and age < source.source.stale_for)

    async def _ask(self, token: str, fingerprint: bytes, last: _Known | None) -> _Known | None:
        now = self._clock()
        if last is None and self._unknown.get(fingerprint, now) > now:
            return None
        silent: list[_Asked] = []
        for asked in self._sources:
            if not asked.source.recognises(token):
                continue
            try:
                identity = await asked.ask(token)
            except ProviderUnavailable:
                if last is not None and last.source is asked and self._is_fresh(last):
                    return last
                silent.append(asked)
                continue
            if identity is not None:
                return self._remember(fingerprint, _Known(asked, identity, self._clock()))
        self._known.pop(fingerprint, None)
        if silent:
            raise _unanswered(silent[0].source.name)
        self._unknown[fingerprint] = self._clock() + UNKNOWN_FOR
        if len(self._unknown) > _REMEMBERED:
            self._unknown.popitem(last=False)
        return None

    def _remember(self, fingerprint: bytes, known: _Known) -> _Known:
        self._known[fingerprint] = known
        self._known.move_to_end(fingerprint)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known

    def _user(self, known: _Known) -> User | None:
        identity = known.identity
        if identity.expires_at is not None and self._clock() >= identity.expires_at:
            return None
        tenant = self._tenants.living(known.source.source.name, identity.tenant)
        if tenant is None:
            return None
        if known.user is None or known.user.tenant_uid != tenant.uid:
            known.user = user_in(identity, tenant, known.source.source.name)
        return known.user

    @asynccontextmanager
    async def _turn(self, fingerprint: bytes) -> AsyncIterator[None]:
        """One question about a token at a time: who comes meanwhile finds its answer remembered."""
        turn = self._asking.setdefault(fingerprint, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                self._asking.pop(fingerprint, None)


class _Turn:
    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock, self.waiting = asyncio.Lock(), 0


def user_in(identity: Identity, tenant: LivingTenant, source: str) -> User | None:
    """The identity as a user of its tenant; None for one that may be none: see "Names" in the interface."""
    if not identity.user or _is_taken(identity.user, source):
        log.warning("an identity source named somebody else's user", user=identity.user, source=source)
        return None
    if identity.tenant.name and identity.issued_at is not None and identity.issued_at < tenant.since:
        return None  # made for an earlier tenant of this name
    groups = tuple(group for group in identity.groups if group == MASTERS_GROUP or not _is_taken(group, source))
    extra = {**identity.extra, TENANT_ANNOTATION: (tenant.name,)}  # who logs in learns by it where they are
    return User(identity.user, with_authenticated(groups), tenant.name, tenant.uid, extra, identity.uid)


def _is_taken(name: str, source: str) -> bool:
    """Whether a name is not this source's to give: the default roles are bound to Keystone's."""
    return name.startswith(SYSTEM_PREFIX) or (name.startswith(KEYSTONE_PREFIX) and source != KEYSTONE)


def _unanswered(source: str) -> StatusError:
    message = f"the identity provider {source!r} does not answer: nobody can say whose this token is; try again"
    return StatusError("ServiceUnavailable", message, details={"retryAfterSeconds": 5})
