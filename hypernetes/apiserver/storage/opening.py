"""Which store a location names: an etcd cluster (`etcd://host:port,host:port`) or a file's path."""

from pathlib import Path

from hypernetes.apiserver.storage.base import CannotOpen, Store
from hypernetes.apiserver.storage.sqlite import SqliteStore


async def open_store(location: str) -> Store:
    """The store at `location`; CannotOpen if it can't be used."""
    if "://" in location:
        raise CannotOpen(f"{location!r} names no store that is known: a path is an SQLite file")
    return await SqliteStore.open(Path(location))
