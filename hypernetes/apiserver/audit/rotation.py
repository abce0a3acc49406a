"""A file of lines that is put aside when it has grown, and what becomes of those that were. Blocks: for a thread.

audit.log   audit-2030-01-02T03-04-05.678.log   …
"""

import os
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

_STAMP = "%Y-%m-%dT%H-%M-%S"
_STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\Z")
_MILLISECOND = timedelta(milliseconds=1)
_MODE = 0o600


def _stamp(now: datetime) -> str:
    return f"{now.strftime(_STAMP)}.{now.microsecond // 1000:03d}"


class RotatingFile:
    """`max_bytes` of the file itself; `backups` that are kept and their age in days, 0 for no limit."""

    def __init__(self, path: Path, *, max_bytes: int, backups: int, days: int) -> None:
        """Raises OSError where it can't be opened."""
        self._path, self._max_bytes, self._backups, self._days = path, max_bytes, backups, days
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def write(self, lines: bytes) -> None:
        """All of it, or nothing: what a full disk cut short is taken back. Raises OSError."""
        if self._size and self._size + len(lines) > self._max_bytes:
            self._rotate()
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(lines)

    def close(self) -> None:
        os.close(self._file)

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, _MODE)
        self._size = os.fstat(self._file).st_size

    def _rotate(self) -> None:
        now = datetime.now(UTC)
        with suppress(FileNotFoundError):  # it was put aside before, and no other could be opened
            self._path.rename(self._free_name(now))
        former = self._file
        self._open()
        os.close(former)
        for path in outdated(self._aside(), now, self._backups, self._days):
            path.unlink(missing_ok=True)

    def _free_name(self, now: datetime) -> Path:
        """Later than all there are: names say which is older, also where a clock was set back."""
        stamp, newest = _stamp(now), max(self._aside().values(), default="")
        if stamp <= newest:
            stamp = _stamp(datetime.strptime(f"{newest}000", f"{_STAMP}.%f").replace(tzinfo=UTC) + _MILLISECOND)
        return self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}")

    def _aside(self) -> dict[Path, str]:
        """Files put aside, with the time that their names say."""
        found = {}
        for path in self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}"):
            stamp = path.name[len(self._path.stem) + 1 : len(path.name) - len(self._path.suffix)]
            if _STAMPED.match(stamp):
                found[path] = stamp
        return found


def outdated(aside: dict[Path, str], now: datetime, backups: int, days: int) -> list[Path]:
    """What is to go: beyond the newest `backups`, and what is older than `days`."""
    newest = sorted(aside, key=lambda path: aside[path], reverse=True)
    surplus = set(newest[backups:]) if backups else set[Path]()
    oldest = (now - timedelta(days=days)).strftime(_STAMP)
    return [path for path in newest if path in surplus or (days and aside[path] < oldest)]


class StandardOutput:
    """Written to as a file is; nobody rotates it."""

    def write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(1, rest) :]

    def close(self) -> None:
        pass
