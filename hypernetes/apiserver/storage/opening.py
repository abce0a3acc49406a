"""Which store a location names: an etcd cluster (`etcd://host:port,host:port`) or a file's path."""

from pathlib import Path

from hypernetes.apiserver.storage.base import CannotOpen, Store
from hypernetes.apiserver.storage.sqlite import SqliteStore


async def open_store(location: str) -> Store:
    """The store at `location`; CannotOpen if it can't be used.

    An etcd that doesn't answer is no reason not to start: its calls raise Unavailable until it does.
    """
    if location.startswith("etcd://"):
        from hypernetes.apiserver.storage.etcd import EtcdStore  # with gRPC, whose threads an SQLite user needn't have

        return EtcdStore(location)
    if "://" in location:
        raise CannotOpen(f"{location!r} names no store: use etcd://host:port,… or a file's path")
    return await SqliteStore.open(Path(location))
