"""A transaction as all stores take it: conditions and writes of keys, checked before anything is sent or stored."""

from collections.abc import Sequence

from hypernetes.apiserver.storage.base import Item, KeyExists, RevisionMismatch, SideWrite, StoreError, ValueTooLarge

# etcd's own defaults (--max-request-bytes, --max-txn-ops); one behaviour, so both stores have them.
MAX_BYTES = 1536 * 1024
MAX_WRITES = 128


def create(key: str, value: bytes, also: Sequence[SideWrite]) -> list[SideWrite]:
    return checked([SideWrite(key, value, 0), *also])


def update(key: str, value: bytes, expected: int, also: Sequence[SideWrite]) -> list[SideWrite]:
    return checked([SideWrite(key, value, _existing(key, expected)), *also])


def delete(key: str, expected: int, also: Sequence[SideWrite]) -> list[SideWrite]:
    return checked([SideWrite(key, None, _existing(key, expected)), *also])


def checked(writes: Sequence[SideWrite]) -> list[SideWrite]:
    """The writes, if a store can take them; ValueTooLarge or ValueError otherwise."""
    if len(writes) > MAX_WRITES:
        raise ValueTooLarge(f"a transaction of {len(writes)} writes is over the limit of {MAX_WRITES}")
    size = sum(len(write.key) + len(write.value or b"") for write in writes)
    if size > MAX_BYTES:
        raise ValueTooLarge(f"a write of {size} bytes is over the limit of {MAX_BYTES} bytes")
    if len({write.key for write in writes}) < len(writes):
        raise ValueError(f"a transaction names a key twice: {[write.key for write in writes]}")
    return list(writes)


def failure(write: SideWrite, current: Item | None) -> StoreError | None:
    """Why `write` can't happen when its key is as `current` says; None if it can."""
    if write.expected is None or write.expected == (current.revision if current else 0):
        return None
    if write.expected == 0:
        return KeyExists(write.key)
    return RevisionMismatch(write.key, current)


def _existing(key: str, expected: int) -> int:
    if expected < 1:
        raise ValueError(f"key {key}: {expected} is no revision that a key can be at")
    return expected
