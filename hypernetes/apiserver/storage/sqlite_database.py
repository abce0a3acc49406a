"""The SQLite file: its tables and the statements on them. Synchronous; `sqlite` decides when and where they run.

    current   what is: one row per key
    history   what was: one row per key and revision, holding what that revision replaced
    state     one row: the revision, how far back history goes, how far back it goes for Leases

Each value is stored once, in `current` or, once replaced, in `history`. So the value of a key at revision R is what
the first history row after R says it replaced, or else the current one. Compaction deletes old history rows and never
touches a current one. A Lease's history lies in a temporary table, which dies with the process.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hypernetes.apiserver.storage import transactions
from hypernetes.apiserver.storage.base import (
    CannotOpen,
    Change,
    Compacted,
    Item,
    Page,
    SideWrite,
    StoreError,
    Unavailable,
)  # fmt: skip
from hypernetes.apiserver.storage.keyspace import is_lease, may_hold_leases, prefix_end

_APPLICATION_ID = 0x686E7374  # "hnst", in the file's header
_SCHEMA_VERSION = 1
_CACHE_KIB = 8192  # reads are the mirror's: what writes look up again and again fits
_WAL_LIMIT_BYTES = 64 * 1024 * 1024  # the WAL file is cut back to this after a checkpoint
_SWEEP_ROWS = 500  # history rows deleted, or pages given back, in one go: some milliseconds
_FREE_PAGES_SHARE = 4  # pages are given back while more than one in so many is free
_ROWS_PER_REVISION = 1024  # a history row's id is revision * this + its place in the transaction
_LAST_KEY = "\U0010ffff"

_SCHEMA = """
CREATE TABLE current (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL);
CREATE TABLE history (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, previous_revision INTEGER, previous_value BLOB
);
CREATE INDEX history_of_key ON history (key, id);
CREATE TABLE state (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  revision INTEGER NOT NULL, compacted INTEGER NOT NULL, leases INTEGER NOT NULL
);
INSERT INTO state VALUES (1, 1, 0, 0);
"""
_TEMPORARY_SCHEMA = """
CREATE TEMP TABLE lease_history (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, previous_revision INTEGER, previous_value BLOB
);
CREATE INDEX temp.lease_history_of_key ON lease_history (key, id);
CREATE TEMP VIEW past AS SELECT * FROM main.history UNION ALL SELECT * FROM temp.lease_history;
"""


class Database:
    """One open file. Not thread-safe: one caller at a time, on whatever thread."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file; CannotOpen says why it can't."""
        self._path = path
        self._broken: Unavailable | None = None
        self.revision: int
        self.compacted: int
        self._lock = _lock(path)
        try:
            self._connection = _connect(path)
            state = self._connection.execute("SELECT revision, compacted, leases FROM state").fetchone()
        except sqlite3.Error as error:
            os.close(self._lock)
            raise CannotOpen(
                f"{path} can't be opened as a store: {error}; restore it from a backup or name another"
            ) from error
        except BaseException:
            os.close(self._lock)
            raise
        self.revision, self.compacted, self._leases = state
        self._lease_floor = self._leases  # what came before this process is not known
        self._committed = (self.revision, self._leases)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # what is acknowledged is in the WAL already
            self._connection.close()
        os.close(self._lock)

    # Writing: begin, apply…, then commit or roll_back.

    def begin(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def apply(self, writes: Sequence[SideWrite]) -> tuple[int, list[Change]]:
        """One transaction's writes, as (its revision, its changes). On a StoreError nothing of it was written."""
        found = [self._current(write.key) for write in writes]
        for write, item in zip(writes, found, strict=True):
            if (failure := transactions.failure(write, item)) is not None:
                raise failure
        changes = [
            Change(write.key, self.revision + 1, write.value, item)
            for write, item in zip(writes, found, strict=True)
            if write.value is not None or item is not None
        ]
        if changes:
            self.revision += 1
        for place, change in enumerate(changes):
            self._write(change, self.revision * _ROWS_PER_REVISION + place)
        return self.revision, changes

    def _write(self, change: Change, row: int) -> None:
        previous = change.previous
        if change.value is None:
            self._execute("DELETE FROM current WHERE key = ?", change.key)
        elif previous is None:
            self._execute("INSERT INTO current VALUES (?, ?, ?)", change.key, change.value, change.revision)
        else:
            self._execute(
                "UPDATE current SET value = ?, revision = ? WHERE key = ?", change.value, change.revision, change.key
            )
        table = "main.history"
        if is_lease(change.key):
            table, self._leases = "temp.lease_history", change.revision
        replaced = (previous.revision, previous.value) if previous else (None, None)
        self._execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", row, change.key, *replaced)

    def commit(self) -> None:
        """Makes what was applied durable: the call that waits for the disk."""
        self._execute("UPDATE state SET revision = ?, leases = ?", self.revision, self._leases)
        self._execute("COMMIT")
        self._committed = (self.revision, self._leases)

    def roll_back(self) -> None:
        self.revision, self._leases = self._committed
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself after an error that prevents this
                self._connection.rollback()

    # Reading.

    def get(self, key: str, revision: int | None) -> Item | None:
        if revision is None or revision == self.revision:
            return self._current(key)
        self._check_readable(revision, leases=is_lease(key))
        item = self._current(key)
        if item is not None and item.revision <= revision:
            return item
        return _item(key, self._replaced(key, revision))

    def page(self, prefix: str, limit: int, start: str | None, revision: int | None) -> Page:
        first, end = max(prefix, start or ""), prefix_end(prefix) or _LAST_KEY
        at = self.revision if revision is None else revision
        count = limit + 1 if limit else -1
        if at == self.revision:
            rows = self._execute(
                "SELECT key, value, revision FROM current WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
                first, end, count,
            )  # fmt: skip
        else:
            self._check_readable(at, leases=may_hold_leases(prefix))
            rows = self._execute(
                "SELECT key, value, revision FROM current WHERE key >= ?1 AND key < ?2 AND revision <= ?3 UNION ALL "
                "SELECT key, previous_value, previous_revision FROM past WHERE +key >= ?1 AND +key < ?2 "
                "AND id >= (?3 + 1) * ?4 AND previous_revision <= ?3 ORDER BY key LIMIT ?5",
                first, end, at, _ROWS_PER_REVISION, count,
            )  # fmt: skip
        following = rows.pop()[0] if limit and len(rows) > limit else None
        return Page([Item(*row) for row in rows], at, following)

    def replay(self, prefix: str, after: int, limit: int) -> tuple[list[Change], int]:
        """About `limit` changes that follow revision `after`, and the revision up to which they are complete."""
        self.check_watchable(prefix, after)
        rows = self._execute(
            "SELECT id, key, previous_revision, previous_value FROM past WHERE id >= ? AND +key >= ? AND +key < ? "
            "ORDER BY id LIMIT ?",
            (after + 1) * _ROWS_PER_REVISION, prefix, prefix_end(prefix) or _LAST_KEY,
            max(limit, _ROWS_PER_REVISION + 1),
        )  # fmt: skip
        complete = self.revision
        if len(rows) >= max(limit, _ROWS_PER_REVISION + 1):  # the last revision may be cut off: leave it for next time
            complete = rows[-1][0] // _ROWS_PER_REVISION - 1
        changes = []
        for row, key, previous_revision, previous_value in rows:
            revision = row // _ROWS_PER_REVISION
            if revision <= complete:
                value = self._value_written(key, revision)
                changes.append(Change(key, revision, value, _item(key, (previous_value, previous_revision))))
        return changes, complete

    def check_watchable(self, prefix: str, after: int) -> None:
        """Raises Compacted if history doesn't reach back to `after`."""
        oldest = max(self.compacted, self._lease_floor) if may_hold_leases(prefix) else self.compacted
        if after < oldest:
            raise Compacted(oldest)

    def _check_readable(self, revision: int, *, leases: bool) -> None:
        if not 0 < revision <= self.revision:
            raise ValueError(f"revision {revision} is none of this store, which is at {self.revision}")
        oldest = max(self.compacted, self._lease_floor) if leases else self.compacted
        if revision < oldest:
            raise Compacted(oldest)

    def _current(self, key: str) -> Item | None:
        rows = self._execute("SELECT value, revision FROM current WHERE key = ?", key)
        return _item(key, rows[0] if rows else None)

    def _value_written(self, key: str, revision: int) -> bytes | None:
        """The value that `revision` gave `key`: what the next change replaced, or what is still there."""
        replaced = self._replaced(key, revision)
        if replaced is None:
            item = self._current(key)
            return item.value if item else None
        value: bytes | None = replaced[0]
        return value

    def _replaced(self, key: str, revision: int) -> tuple[bytes | None, int | None] | None:
        """(value, its revision) that the first change of `key` after `revision` replaced; None without one."""
        rows = self._execute(
            "SELECT previous_value, previous_revision FROM past WHERE key = ? AND id >= ? ORDER BY id LIMIT 1",
            key, (revision + 1) * _ROWS_PER_REVISION,
        )  # fmt: skip
        return (rows[0][0], rows[0][1]) if rows else None

    # Compaction, online: a floor at once, then sweeps between other work.

    def raise_floor(self, revision: int) -> None:
        """Durably forgets what is before `revision`; `sweep` then removes it."""
        if revision > self.revision:
            raise ValueError(f"revision {revision} is none of this store, which is at {self.revision}")
        if revision > self.compacted:
            self._execute("UPDATE state SET compacted = ?", revision)
            self.compacted = revision

    def sweep(self) -> bool:
        """Removes some of what is forgotten and gives free pages back to the file system; False when all is done."""
        first_kept = (self.compacted + 1) * _ROWS_PER_REVISION
        for table in ("main.history", "temp.lease_history"):
            ids = f"SELECT id FROM {table} WHERE id < ? ORDER BY id LIMIT ?"
            if self._execute(f"DELETE FROM {table} WHERE id IN ({ids}) RETURNING 1", first_kept, _SWEEP_ROWS):
                return True
        free = self._execute("PRAGMA main.freelist_count")[0][0]
        if free <= max(_SWEEP_ROWS, self._execute("PRAGMA main.page_count")[0][0] // _FREE_PAGES_SHARE):
            return False
        self._execute(f"PRAGMA main.incremental_vacuum({_SWEEP_ROWS})")
        return True

    def _execute(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        if self._broken is not None:
            raise self._broken
        try:
            return self._connection.execute(statement, arguments).fetchall()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: sqlite3.Error) -> StoreError:
        """What to raise for an error of SQLite's. After all but a full disk only a restart says what is on the disk."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return Unavailable(f"the disk that holds {self._path} is full; nothing is written until there is space")
        self._broken = Unavailable(f"{self._path} failed: {error}; see to the disk, then restart hn-apiserver")
        return self._broken


def _lock(path: Path) -> int:
    """The descriptor of the lock file beside `path`, locked as long as it is open."""
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotOpen(f"{beside} can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise CannotOpen(f"{path} is in use by process {holder}; a store file serves one hn-apiserver") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Checks that the file is ours, or makes it so, and sets how it is to be written."""
    (identity,), (version,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and identity != _APPLICATION_ID:
        raise CannotOpen(f"{path} is an SQLite file of another program")
    if version > _SCHEMA_VERSION:
        raise CannotOpen(
            f"{path} was written by a later version (form {version}); this one reads form {_SCHEMA_VERSION}"
        )
    os.chmod(path, 0o600)  # it holds Secrets
    for pragma in _pragmas(fresh=not tables):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    if not tables:
        connection.executescript(
            f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; "
            f"PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
        )
    connection.executescript(_TEMPORARY_SCHEMA)


def _pragmas(*, fresh: bool) -> Iterator[str]:
    if fresh:
        yield "auto_vacuum = INCREMENTAL"  # must precede the first table
    yield "journal_mode = WAL"
    yield "synchronous = FULL"
    yield f"journal_size_limit = {_WAL_LIMIT_BYTES}"
    yield f"cache_size = -{_CACHE_KIB}"
    yield "cache_spill = OFF"  # so that only COMMIT writes


def _item(key: str, row: tuple[bytes | None, int | None] | None) -> Item | None:
    if row is None or row[0] is None or row[1] is None:
        return None
    return Item(key, row[0], row[1])
