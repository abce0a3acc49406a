"""Local users: the kind User says who there is in a tenant, a record beside it says by what they are known.

    User acme/jane (spec.groups, spec.disabled)      an object, as any other
    ~users/acme/jane  {uid, password, tokens}        an internal key: no path of the API leads there

The record names the User's UID: one that was made again under the name has neither password nor tokens. A token is
`hnu~TENANT~USER~SECRET`; its hash is kept, with when it ends. A new password ends all tokens. All is looked up in the
mirror at each request, so that what is revoked is so at once.
"""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from hypernetes.api import scheme, times
from hypernetes.api.status import StatusError, conflict
from hypernetes.api.tenancy import is_dns_label
from hypernetes.apiserver.authn.passwords import PasswordHash
from hypernetes.apiserver.authn.serviceaccounts import Objects
from hypernetes.apiserver.authn.users import User, with_authenticated
from hypernetes.apiserver.mirror import Entry, Mirror
from hypernetes.apiserver.storage.base import KeyExists, RevisionMismatch, Store

KIND = "users"  # of internal keys
DEFAULT_LIFETIME = timedelta(hours=12)
MIN_LIFETIME, MAX_LIFETIME = timedelta(minutes=10), timedelta(days=30)
MAX_TOKENS = 32  # of one user; the one that ends first makes room
_PREFIX = "hnu~"
_SECRET_BYTES = 32
_ATTEMPTS = 30  # against writers that are faster each time
_KEPT = 4096  # users of late
_USERS = scheme.by_name("hypernetes.io/v1", "users")


@dataclass(frozen=True, slots=True)
class Record:
    """By what a user is known. `tokens`: hash -> when it ends."""

    uid: str
    password: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return orjson.dumps({"uid": self.uid, "password": self.password, "tokens": dict(self.tokens)})

    @classmethod
    def of(cls, data: bytes | None, uid: str) -> "Record":
        """The record of the user with this UID; an empty one in place of a former user's."""
        found = orjson.loads(data) if data is not None else {}
        return cls(uid, found["password"], found["tokens"]) if found.get("uid") == uid else cls(uid)

    def with_token(self, token: str, ends: datetime, now: datetime) -> "Record":
        kept = {hash_: end for hash_, end in self.tokens.items() if times.parse_time(end) > now}
        while len(kept) >= MAX_TOKENS:
            del kept[min(kept, key=lambda hash_: times.parse_time(kept[hash_]))]
        return replace(self, tokens={**kept, _hash(token): times.format_time(ends)})


@dataclass(slots=True)
class _Seen:
    """A user and their tokens as of two entries of the mirror."""

    record: Entry
    object: Entry
    user: User | None  # None: may not come in
    ends: dict[str, datetime]


def recognises(token: str) -> bool:
    return token.startswith(_PREFIX)


class LocalUsers:
    """`user_of` answers at once; what changes a record writes to the store."""

    def __init__(
        self, store: Store, mirror: Mirror, lookups: Objects, clock: Callable[[], datetime] = times.now
    ) -> None:
        self._store, self._mirror, self._lookups, self._clock = store, mirror, lookups, clock
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    def user_of(self, token: str) -> User | None:
        tenant, user, _ = _parts(token)
        seen = self._look_up(tenant, user)
        if seen is None or seen.user is None or self._lookups.tenant_uid(tenant) != seen.user.tenant_uid:
            return None
        ends = seen.ends.get(_hash(token))  # found by hash: the time it takes says nothing about others
        return seen.user if ends is not None and self._clock() < ends else None

    def password_of(self, tenant: str, name: str) -> tuple[str, PasswordHash] | None:
        """UID and password of a user who may log in; None for any other."""
        seen = self._look_up(tenant, name) if is_dns_label(tenant) else None
        if seen is None or seen.user is None or self._lookups.tenant_uid(tenant) != seen.user.tenant_uid:
            return None
        found = Record.of(seen.record.data, seen.user.uid).password
        return (seen.user.uid, PasswordHash.parse(found)) if found else None

    async def set_password(self, tenant: str, name: str, uid: str, password: PasswordHash) -> int:
        """Ends all tokens of the user; returns the store's revision. Raises StatusError 409, Unavailable."""
        return await self._change(tenant, name, uid, lambda old: Record(uid, str(password)))

    async def issue(
        self, tenant: str, name: str, uid: str, lifetime: timedelta, password: PasswordHash | None = None,
        *, instead: PasswordHash | None = None,
    ) -> tuple[str, datetime, int]:  # fmt: skip
        """A new token, when it ends, and the store's revision. Raises StatusError 409, Unavailable.

        With `password` only if the user still has it: it may be changed while it is checked. From then on they have the
        one that they are to have `instead`, and no other token.
        """
        now = self._clock()
        ends = now.replace(microsecond=0) + lifetime
        token = f"{_PREFIX}{tenant}~{name}~{secrets.token_urlsafe(_SECRET_BYTES)}"

        def with_token(old: Record) -> Record:
            if password is not None and not hmac.compare_digest(old.password, str(password)):
                raise StatusError("Unauthorized", "Unauthorized")
            kept = old if instead is None else Record(uid, str(instead))
            return kept.with_token(token, ends, now)

        return token, ends, await self._change(tenant, name, uid, with_token)

    async def revoke(self, tenant: str, name: str, uid: str) -> int:
        """Ends all tokens of a user. Raises StatusError 409, Unavailable."""
        return await self._change(tenant, name, uid, lambda old: replace(old, tokens={}))

    def key(self, tenant: str, name: str) -> str:
        """Where the record lies."""
        return self._mirror.keys.internal(KIND, tenant, name)

    async def _change(self, tenant: str, name: str, uid: str, decide: Callable[[Record], Record]) -> int:
        key = self.key(tenant, name)
        for _ in range(_ATTEMPTS):
            item = await self._store.get(key)
            new = decide(Record.of(None if item is None else item.value, uid)).encoded()
            try:
                if item is None:
                    return await self._store.create(key, new)
                return await self._store.update(key, new, item.revision)
            except (KeyExists, RevisionMismatch):
                continue
        raise conflict("users.hypernetes.io", name, "others were faster each time; try again")

    def _look_up(self, tenant: str, name: str) -> _Seen | None:
        record, obj = self._mirror.get(self.key(tenant, name)), self._mirror.object(_USERS, tenant, "", name)
        if record is None or obj is None:
            return None
        seen = self._seen.get((tenant, name))
        if seen is None or seen.record is not record or seen.object is not obj:
            uid = self._lookups.tenant_uid(tenant)
            seen = _Seen(record, obj, *_known(record.data, orjson.loads(obj.data), tenant, uid or ""))
            self._seen[tenant, name] = seen
            if len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
        return seen


def _known(
    record: bytes, obj: Mapping[str, Any], tenant: str, tenant_uid: str
) -> tuple[User | None, dict[str, datetime]]:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    if spec.get("disabled") or "deletionTimestamp" in metadata or not tenant_uid:
        return None, {}
    found = Record.of(record, metadata["uid"])
    groups = with_authenticated(tuple(spec.get("groups") or ()))
    user = User(metadata["name"], groups, tenant, tenant_uid, uid=metadata["uid"])
    return user, {hash_: times.parse_time(ends) for hash_, ends in found.tokens.items()}


def _parts(token: str) -> tuple[str, str, str]:
    """(tenant, user, secret); empty ones for what isn't put together like that."""
    parts = token.removeprefix(_PREFIX).split("~")
    if len(parts) != 3 or "/" in token or not is_dns_label(parts[0]):
        return "", "", ""
    return parts[0], parts[1], parts[2]


def _hash(token: str) -> str:
    return base64.b64encode(hashlib.sha256(token.encode(errors="surrogatepass")).digest()).decode()
