"""What an identity provider does: it knows whose a bearer token is, and which tenants there should be.

    factory = loading.load("identity", "keystone")        # entry points `hypernetes.providers.identity`
    provider: IdentityProvider = factory(Path("/etc/hypernetes/keystone.yaml"))   # None: without a configuration

Two processes use it. hn-apiserver (`--identity-provider NAME=FILE`) opens it and asks `identity_of` for the tokens that
none of the cluster's own kinds claims; hn-controllers asks `tenants` and `tenant`. A provider keeps no cache of
answers: whoever asks does, within `fresh_for` and `stale_for`. It needs no rate limit either: hn-apiserver asks about
one token once at a time, about a few tokens side by side, and leaves a provider alone for a while that doesn't answer.

**Names.** User and groups count in the identity's tenant only. What begins with `system:` is the cluster's: such a user
is refused, and of such groups all but `system:masters`, which makes the administrator of that one tenant.

`tests/unit/providers/identity/suite.py` holds every provider to this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol


class ConfigurationError(ValueError):
    """The provider can't work with its configuration; the message names the file and the field, and no secret."""


class ProviderUnavailable(Exception):
    """What the provider asks doesn't answer, or not with an answer: nobody can say whose the token is.

    The message is for the log; clients are told the provider's name only.
    """


class TokenUnanswered(ProviderUnavailable):
    """Nobody can say whose this token is; others the provider answers about, so it isn't left alone."""


@dataclass(frozen=True, slots=True)
class TenantReference:
    """A tenant, by one of the two: the name of the Tenant object, or the provider's own id of it.

    An id is looked for in the Tenants' `spec.identity` (`keystone.projectID`). `system`, the provider's own tenant, is
    only said for what the operator wrote, or for who administers the whole of what the provider asks: it is never a
    name that comes from a token.
    """

    name: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a token is. All of it is as the provider says now, not as it was when the token was made."""

    user: str
    tenant: TenantReference
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # keys in lower case
    issued_at: datetime | None = None  # where known: a tenant that is named and younger than this accepts it not
    expires_at: datetime | None = None  # never believed for longer


@dataclass(frozen=True, slots=True)
class ExternalTenant:
    """A tenant that the provider knows: there should be a Tenant for it."""

    id: str
    name: str  # as people call it; need not be unique, nor a DNS label
    domain: str = ""
    enabled: bool = True  # False: suspended
    tags: frozenset[str] = frozenset()


class IdentityProvider(Protocol):
    name: str  # as its entry point; the key of `spec.identity` that holds its ids
    fresh_for: timedelta  # how long an answer is used without asking again: how late a revocation may be noticed
    stale_for: timedelta  # how long the last answer is used while the provider is unavailable

    async def open(self) -> None:
        """Prepares for the other calls. An unavailable back end is no error here. Raises ConfigurationError."""

    def recognises(self, token: str) -> bool:
        """Whether it could be one of this provider's tokens, by its looks. At once, and true if in doubt."""

    async def identity_of(self, token: str) -> Identity | None:
        """Whose token it is; None for a token that opens nothing (unknown, expired, revoked, without a tenant).

        Never blocks the event loop; may be cancelled at any time, as it is after 5 s. Any text up to 16 KiB may come.
        Raises ProviderUnavailable.
        """

    async def tenants(self) -> list[ExternalTenant]:
        """All tenants that there should be; empty where the provider doesn't bring tenants.

        All or nothing: a list that isn't whole would end tenants. Raises ProviderUnavailable.
        """

    async def tenant(self, id: str) -> ExternalTenant | None:
        """The one with this id, whether or not it is among `tenants`; None where it is gone for good.

        Asked about each that `tenants` no longer has: what nobody lists any more need not be gone. Raises
        ProviderUnavailable.
        """

    async def close(self) -> None:
        """Gives back what `open` took. Twice is no error."""
