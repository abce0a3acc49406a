"""The keys of a tenant's service-account tokens, kept in the store under an internal key: the first one signs.

Made at first use, and by one replica only: the others find it. Its name holds the tenant's UID, so a tenant created
again under an old name has other keys. When they are rotated a new key signs, and the former ones verify until every
token that they have signed is expired. A replica notices by the mirror that there are others.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson
from joserfc.jwk import ECKey

from hypernetes.api import times
from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn import serviceaccounts
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import KeyExists, RevisionMismatch, Store

_KIND = "~tokenkeys"
_KEPT = 1024  # tenants' keys in memory; one more costs a read of the store
_MOST_KEYS = 8  # that verify side by side
_ATTEMPTS = 10
_PEM = b"-----BEGIN"  # how a value begins that has one key and nothing else


@dataclass(frozen=True, slots=True)
class TokenKey:
    key: ECKey
    until: datetime | None = None  # when it stops to verify; None: it signs
    id: str = field(init=False)  # its name in a token's header

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", serviceaccounts.key_id(self.key))


@dataclass(frozen=True, slots=True)
class Ring:
    """A tenant's keys as of a revision of the store."""

    keys: Sequence[TokenKey]
    revision: int

    def find(self, key_id: str, now: datetime) -> ECKey | None:
        """The key of this id, while it verifies."""
        for each in self.keys:
            if each.id == key_id and (each.until is None or now < each.until):
                return each.key
        return None

    def verifying(self, now: datetime) -> list[ECKey]:
        return [each.key for each in self.keys if each.until is None or now < each.until]


class TokenKeys:
    """`prefix` is the cluster's: `/hypernetes/<cluster id>`."""

    def __init__(self, store: Store, prefix: str, mirror: Mirror | None = None) -> None:
        self._store, self._prefix, self._mirror = store, prefix, mirror
        self._kept: OrderedDict[tuple[str, str], Ring] = OrderedDict()

    async def of(self, tenant: str, tenant_uid: str) -> ECKey:
        """The key that signs. Raises Unavailable."""
        return (await self.ring(tenant, tenant_uid)).keys[0].key

    async def ring(self, tenant: str, tenant_uid: str) -> Ring:
        """All of the tenant's keys. Raises Unavailable."""
        kept, store_key = self._kept.get((tenant, tenant_uid)), self.store_key(tenant, tenant_uid)
        seen = None if self._mirror is None else self._mirror.get(store_key)
        if kept is None or (seen is not None and seen.revision > kept.revision):
            kept = await self._load_or_create(store_key)
            self._keep(tenant, tenant_uid, kept)
        else:
            self._kept.move_to_end((tenant, tenant_uid))
        return kept

    async def rotate(self, tenant: str, tenant_uid: str, now: datetime, overlap: timedelta) -> Ring:
        """Has a new key sign; the former one verifies for `overlap` more. Raises StatusError 409, Unavailable."""
        store_key = self.store_key(tenant, tenant_uid)
        for _ in range(_ATTEMPTS):
            ring = await self._load_or_create(store_key)
            former = [
                TokenKey(each.key, min(each.until or now + overlap, now + overlap))
                for each in ring.keys
                if overlap and (each.until is None or now < each.until)
            ]
            if len(former) >= _MOST_KEYS:
                message = f"{len(former)} keys of tenant {tenant} still verify; wait until {former[-1].until}"
                raise StatusError("Conflict", message)
            keys = [TokenKey(ECKey.generate_key("P-256")), *former]
            try:
                revision = await self._store.update(store_key, _encoded(keys), ring.revision)
            except RevisionMismatch:
                continue
            rotated = Ring(keys, revision)
            self._keep(tenant, tenant_uid, rotated)
            return rotated
        raise StatusError("Conflict", "others were faster each time; try again")

    def store_key(self, tenant: str, tenant_uid: str) -> str:
        """Where the keys are kept; deleting a tenant deletes all below `~tokenkeys/<tenant>/`."""
        return f"{self._prefix}/{_KIND}/{tenant}/{tenant_uid}"

    def _keep(self, tenant: str, tenant_uid: str, ring: Ring) -> None:
        self._kept[tenant, tenant_uid] = ring
        self._kept.move_to_end((tenant, tenant_uid))
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    async def _load_or_create(self, store_key: str) -> Ring:
        item = await self._store.get(store_key)
        if item is None:
            keys = [TokenKey(ECKey.generate_key("P-256"))]
            try:
                return Ring(keys, await self._store.create(store_key, _encoded(keys)))
            except KeyExists:
                item = await self._store.get(store_key)
                if item is None:
                    raise
        return Ring(_decoded(item.value), item.revision)


def _encoded(keys: Sequence[TokenKey]) -> bytes:
    """A key alone as PEM, several with their ends as JSON."""
    pems = [each.key.as_pem(private=True) for each in keys]
    if len(keys) == 1:
        return pems[0]
    ends = ["" if each.until is None else times.format_time(each.until) for each in keys]
    return orjson.dumps([{"key": pem.decode(), "until": end} for pem, end in zip(pems, ends, strict=True)])


def _decoded(value: bytes) -> list[TokenKey]:
    if value.startswith(_PEM):
        return [TokenKey(ECKey.import_key(value))]
    return [
        TokenKey(ECKey.import_key(each["key"]), times.parse_time(each["until"]) if each["until"] else None)
        for each in orjson.loads(value)
    ]
