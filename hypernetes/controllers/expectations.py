"""Has the cache seen our own writes yet? Until then a count of what is there would be wrong.

Nothing depends on this memory surviving: a new process starts with a cache that is newer than its predecessor's writes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypernetes.client import Informer, Key

_FORGOTTEN_AFTER = 300.0  # seconds; a write whose event hasn't come by then is no longer waited for (upstream's number)


@dataclass(slots=True)
class _Pending:
    created: int = 0  # the newest revision of an object we created, or changed
    deleted: dict[Key, str] = field(default_factory=dict)  # objects we deleted, with their UIDs
    until: float = 0.0


class Expectations:
    """Per key of a controller: what it created and deleted among the objects of one informer."""

    def __init__(self, informer: Informer[Any], clock: Callable[[], float]) -> None:
        self._informer, self._clock = informer, clock
        self._pending: dict[Key, _Pending] = {}

    def created(self, key: Key, resource_version: str) -> None:
        pending = self._of(key)
        pending.created = max(pending.created, int(resource_version))

    def deleted(self, key: Key, obj: Key, uid: str) -> None:
        self._of(key).deleted[obj] = uid

    def met(self, key: Key) -> bool:
        """Whether the cache shows all of it. Called when the key is reconciled, so each event asks again."""
        pending = self._pending.get(key)
        if pending is None:
            return True
        pending.deleted = {obj: uid for obj, uid in pending.deleted.items() if not self._seen_deleted(obj, uid)}
        seen = int(self._informer.resource_version or 0)
        if (seen >= pending.created and not pending.deleted) or self._clock() >= pending.until:
            del self._pending[key]
            return True
        return False

    def forget(self, key: Key) -> None:
        self._pending.pop(key, None)

    def _of(self, key: Key) -> _Pending:
        pending = self._pending.setdefault(key, _Pending())
        pending.until = self._clock() + _FORGOTTEN_AFTER
        return pending

    def _seen_deleted(self, obj: Key, uid: str) -> bool:
        cached = self._informer.get(obj)
        return cached is None or cached.metadata.uid != uid or cached.metadata.deletion_timestamp is not None
