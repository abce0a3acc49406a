"""Other forms of stored objects, kept beside them as long as there is room.

A form that few clients ask for must not double what the server takes in memory. So there is a limit for all of a form
together, and what was made first goes first: it is made again when somebody asks for it.
"""

from collections import deque
from weakref import ref

from hypernetes.apiserver.mirror import Entry


class KeptForms:
    """At most `limit` bytes, in the `views` of entries."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._made: deque[tuple[ref[Entry], object, int]] = deque()
        self._bytes = 0  # of those that were made, also where their entry has been replaced meanwhile

    def keep(self, entry: Entry, key: object, data: bytes) -> None:
        entry.views[key] = data
        self._made.append((ref(entry), key, len(data)))
        self._bytes += len(data)
        while self._bytes > self._limit:
            former, its_key, size = self._made.popleft()
            self._bytes -= size
            kept = former()
            if kept is not None:
                kept.views.pop(its_key, None)
