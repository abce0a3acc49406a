"""Containers' output on disk, in the form of the container runtime interface, and read back for `kubectl logs`.

    2026-11-22T16:00:00.123456789Z stdout F a whole line
    2026-11-22T16:00:00.200000000Z stderr P a part of a line, continued by the next entry of its stream

One directory per pod, one file per attempt of a container (`web.0.log`), rotated by size. What the guest sends is
written before it is acknowledged, so nothing is lost when the agent dies; what it therefore sends twice is recognised
by its time. The last that was written may be half there, and is written anew.
"""

import asyncio
import contextlib
import errno
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import structlog

from hypernetes.nodeagent.broadcast import Broadcast
from hypernetes.nodeagent.runtime.base import Output
from hypernetes.nodeagent.runtime.protocol import SPOOL_WINDOW

log = structlog.get_logger()

MAX_FILE_BYTES = 10 << 20
MAX_FILES = 5  # of one attempt, the open one included
_READ_BYTES = 64 * 1024
# At a time, of what is new: more than a container says in one turn of the loop, so that who follows a busy log gets on
# as fast as it grows, and doesn't lose what is rotated away.
_FOLLOW_BYTES = 512 * 1024
_NO_FILE = 0  # the inode of none: what begins there begins with the oldest file
_LAST_LINES, _LAST_BYTES = 80, 2048  # of a container that failed, for its status
# A follower looks again after this time at the earliest: what a busy container says piece by piece goes out together.
_LOOK_SECONDS = 0.02
_FULL, _PARTIAL = b"F", b"P"
_ENTRY = re.compile(rb"(\S+) (stdout|stderr) ([FP]) (.*)\n\Z", re.DOTALL)
# Of a length that is known, after a byte that is: found three times as fast as a line's beginning.
_TIME_BYTES = 30  # with the line's end before it, and without its Z
_PARTIAL_HEAD = re.compile(rb"Z std(?:out|err) P ")
_FULL_HEADS = re.compile(rb"\n.{29}Z std(?:out|err) F ")
# What one piece of output became: all its entries have its time.
_PIECE = re.compile(rb"^(\S{30}) (stdout|stderr) [FP] [^\n]*\n(?:\1 \2 [FP] [^\n]*\n)*+", re.MULTILINE)
_HEAD_BYTES = 40  # of an entry, before its text
_RECORD_HEAD = 18  # of a piece in the guest, before its container's id and its text; it counts in SPOOL_WINDOW


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What `kubectl logs` asks for; `since` is seconds since the epoch."""

    tail: int | None = None
    since: float | None = None
    follow: bool = False
    timestamps: bool = False
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    time: bytes
    stream: bytes
    full: bool
    text: bytes


def format_time(seconds: float) -> bytes:
    """RFC 3339 with nanoseconds."""
    nanoseconds = round(seconds * 1_000_000) * 1000
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z".encode()


def format_entries(stream: str, time: float, data: bytes) -> bytes:
    """The entries of one piece of output: its lines, and what is left without an end as a part."""
    head = format_time(time) + b" " + stream.encode() + b" "
    whole, end, rest = data.rpartition(b"\n")
    full = head + _FULL + b" "
    entries = full + whole.replace(b"\n", b"\n" + full) + b"\n" if end else b""
    return entries + head + _PARTIAL + b" " + rest + b"\n" if rest else entries


def parse_entry(line: bytes) -> Entry | None:
    """None for a line that is no entry (cut off by a full disk)."""
    match = _ENTRY.match(line)
    return Entry(match[1], match[2], match[3] == _FULL, match[4]) if match else None


class _File:
    """One attempt's open file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = _Written.find(path)
        self._file: IO[bytes] | None = None
        self._size = path.stat().st_size if path.exists() else 0

    def write(self, stream: str, time: float, data: bytes) -> None:
        """What an earlier agent wrote already isn't written again."""
        piece = (format_time(time), stream.encode())
        if piece == self._written.last:
            self._cut(self._written.last_position)
        elif piece in self._written.pieces:
            return
        # A guest repeats in order: after the first that is new, or wasn't whole, nothing is known any more.
        self._written.last, self._written.pieces = None, set()
        self._append(format_entries(stream, time, data))

    def _cut(self, size: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(size)
        self._size = size

    def _append(self, entries: bytes) -> None:
        if self._size and self._size + len(entries) > MAX_FILE_BYTES:
            self._rotate()
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        if self._file.write(entries) != len(entries):
            # The disk got full within: half an entry would spoil the next one too.
            os.ftruncate(self._file.fileno(), self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(entries)

    def _rotate(self) -> None:
        self.close()
        for number in range(MAX_FILES - 1, 0, -1):
            older = rotated(self.path, number)
            newer = rotated(self.path, number - 1)
            if newer.exists():
                newer.replace(older)
        self._size = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def rotated(path: Path, number: int) -> Path:
    """The `number`-th older file of an attempt; 0 is the open one."""
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


@dataclass(slots=True)
class _Written:
    """What a file, and those before it, had when it was opened: pieces by (time, stream), back to as much text as a
    guest may send again."""

    pieces: set[tuple[bytes, bytes]]
    last: tuple[bytes, bytes] | None
    last_position: int

    @classmethod
    def find(cls, path: Path) -> "_Written":
        found, size = cls(set(), None, 0), 0
        head = _RECORD_HEAD + len(path.stem)
        for number in range(MAX_FILES):
            if not (file := rotated(path, number)).exists():
                continue
            for position, block in _blocks_backwards(file):
                for match in reversed(list(_PIECE.finditer(block))):
                    piece = (match[1], match[2])
                    if number == 0 and (not found.pieces or found.pieces == {piece}):
                        found.last, found.last_position = piece, position + match.start()
                    found.pieces.add(piece)
                    size += head
                size += len(block) - _HEAD_BYTES * block.count(b"\n")
                if size > 2 * SPOOL_WINDOW:  # what is cut off by a full disk counts for less than it was
                    return found
        return found


def _blocks_backwards(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines, many at once and the last first, with where they begin. A last line without its end is cut off."""
    with path.open("r+b") as file:
        end, rest = file.seek(0, 2), b""
        position, whole = end, False
        while position > 0:
            step = min(_READ_BYTES, position)
            position -= step
            file.seek(position)
            block = file.read(step) + rest
            if not whole:
                kept, line_end, torn = block.rpartition(b"\n")
                if torn:
                    file.truncate(position + len(kept) + len(line_end))
                block, whole = kept + line_end, bool(line_end)
            first_end = block.find(b"\n") + 1 if position else 0
            rest = block[:first_end]
            if block[first_end:]:
                yield position + first_end, block[first_end:]


class PodLogs:
    """The output of one pod's containers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, _File] = {}
        self._changed = Broadcast()
        self.closed = False

    def path(self, container_id: str) -> Path:
        return self._directory / f"{container_id}.log"

    def write(self, output: Output) -> None:
        """On disk (though not synced) when it returns. Raises OSError."""
        file = self._files.get(output.container_id)
        if file is None:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = self._files[output.container_id] = _File(self.path(output.container_id))
        file.write(output.stream, output.time, output.data)
        self.notify()

    def notify(self) -> None:
        """Wakes those who follow: there is more, or a container has ended."""
        self._changed.notify()

    async def changed(self) -> None:
        await self._changed.wait()

    def close(self) -> None:
        self.closed = True
        for file in self._files.values():
            file.close()
        self._files.clear()
        self.notify()

    def finish(self, container_id: str) -> None:
        """The attempt has ended: its file is closed."""
        if (file := self._files.pop(container_id, None)) is not None:
            file.close()
        self.notify()

    def remove(self, container_id: str) -> None:
        """Forgets an attempt's output."""
        self.finish(container_id)
        for number in range(MAX_FILES):
            rotated(self.path(container_id), number).unlink(missing_ok=True)

    def exists(self, container_id: str) -> bool:
        return self.path(container_id).exists()

    def last_words(self, container_id: str) -> str:
        """The end of an attempt's output: 80 lines or 2 KiB, as upstream; "" where it can't be read."""
        found, size, ends = [], 0, 0
        try:
            for entry in filter(None, map(parse_entry, _backwards(self.path(container_id)))):
                ends += entry.full
                if ends > _LAST_LINES or size > _LAST_BYTES:
                    break
                found.append(entry.text + (b"\n" if entry.full else b""))
                size += len(found[-1])
        except OSError as error:
            log.warning("log.read.failed", container=container_id, error=str(error))
        return b"".join(reversed(found))[-_LAST_BYTES:].decode(errors="replace")


def read(path: Path, options: LogOptions) -> Iterator[Entry]:
    """The entries of an attempt, oldest first, as `tail` and `since` select them."""
    paths = [each for number in range(MAX_FILES - 1, -1, -1) if (each := rotated(path, number)).exists()]
    since = _since(options)
    if options.tail is not None:
        yield from _tail(paths, options.tail, since)
        return
    for each in paths:
        with each.open("rb") as file:
            for block in _blocks(file, _READ_BYTES):
                yield from (entry for entry in _entries(block) if entry.time >= since)


def _since(options: LogOptions) -> bytes:
    return format_time(options.since) if options.since is not None else b""


def _tail(paths: list[Path], lines: int, since: bytes) -> list[Entry]:
    """The last `lines` lines: entries back to the `lines + 1`-th line end from the end."""
    found: list[Entry] = []
    ends = 0
    for each in reversed(paths):
        for line in _backwards(each):
            entry = parse_entry(line)
            if entry is None:
                continue
            if entry.full or not found:
                ends += 1
            if ends > lines or entry.time < since:
                return found[::-1]
            found.append(entry)
    return found[::-1]


def _backwards(path: Path) -> Iterator[bytes]:
    """A file's lines, last first, without reading all of it."""
    with path.open("rb") as file:
        position = file.seek(0, 2)
        rest = b""
        while position > 0:
            step = min(_READ_BYTES, position)
            position -= step
            file.seek(position)
            first, *lines = _lines(file.read(step) + rest) or [b""]
            yield from reversed(lines)
            rest = first
        if rest:
            yield rest


class Renderer:
    """Entries as text: parts joined, timestamps only where a line begins."""

    def __init__(self, options: LogOptions) -> None:
        self._timestamps = options.timestamps
        self._left = options.limit_bytes
        self._open: dict[bytes, bool] = {}

    @property
    def full(self) -> bool:
        return self._left is not None and self._left <= 0

    def render_block(self, block: bytes) -> bytes | None:
        """The same of many entries at once, a twentieth of the work: where they are to be shown as they are. None for
        others, and for what is no entry."""
        if self._timestamps or self._left is not None:
            return None
        data, at = b"\n" + block, 0
        texts: list[bytes] = []
        for found in _PARTIAL_HEAD.finditer(data):
            start = found.start() - _TIME_BYTES
            if start < at or data[start : start + 1] != b"\n":
                continue  # said by the container
            end = data.index(b"\n", found.end())
            if not _add_whole(texts, data[at:start]):
                return None
            texts.append(data[found.end() : end])
            at = end
        return b"".join(texts) if _add_whole(texts, data[at:-1]) else None

    def render(self, entry: Entry) -> bytes:
        begins = not self._open.get(entry.stream, False)
        text = entry.text + (b"\n" if entry.full else b"")
        if self._timestamps and begins:
            text = entry.time + b" " + text
        self._open[entry.stream] = not entry.full
        if self._left is not None:
            text = text[: max(self._left, 0)]
            self._left -= len(text)
        return text


async def stream(
    logs: PodLogs, container_id: str, options: LogOptions, running: Callable[[str], bool]
) -> AsyncIterator[bytes]:
    """The log of one attempt in pieces; with `follow` until the attempt has ended, as `running` says."""
    loop = asyncio.get_running_loop()
    renderer = Renderer(options)
    path = logs.path(container_id)
    since = _since(options)
    if options.tail is None:
        cursor = _Cursor.at_start(path)
    else:
        cursor = _Cursor.at_end(path)
        for chunk in _chunks(read(path, options), renderer):
            yield chunk
        if not options.follow:
            return
    while not renderer.full:
        looked = loop.time()
        changed = asyncio.ensure_future(logs.changed())
        await asyncio.sleep(0)  # it must be waiting before the file is read, or a change in between would be missed
        try:
            # Ended is asked first: what was written before the end is then surely in the file.
            ended = not options.follow or logs.closed or not running(container_id)
            for chunk in _texts(cursor.new_blocks(), renderer, since):
                yield chunk
                await asyncio.sleep(0)
            if ended:
                return
            await changed
            await asyncio.sleep(looked + _LOOK_SECONDS - loop.time())
        finally:
            changed.cancel()


def _blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Whole lines, many at once, from where the file is up to its last line end."""
    rest = b""
    while data := file.read(size):
        whole, end, rest = (rest + data).rpartition(b"\n")
        if end:
            yield whole + end


def _add_whole(texts: list[bytes], entries: bytes) -> bool:
    """Adds the text of entries that are all whole lines, from before the first to before the last one's end."""
    lines = _FULL_HEADS.split(entries)[1:]
    if len(lines) != entries.count(b"\n"):
        return False
    if lines:
        texts.append(b"\n".join(lines) + b"\n")
    return True


def _entries(block: bytes) -> Iterator[Entry]:
    return filter(None, map(parse_entry, _lines(block)))


def _lines(text: bytes) -> list[bytes]:
    """With their ends. Not bytes.splitlines: a carriage return is no line's end."""
    *whole, rest = text.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def _texts(blocks: Iterable[bytes], renderer: Renderer, since: bytes) -> Iterator[bytes]:
    for block in blocks:
        text = None if since else renderer.render_block(block)
        if text is None:
            yield from _chunks((entry for entry in _entries(block) if entry.time >= since), renderer)
        else:
            yield text
        if renderer.full:
            return


def _chunks(entries: Iterable[Entry], renderer: Renderer) -> Iterator[bytes]:
    pieces: list[bytes] = []
    size = 0
    for entry in entries:
        piece = renderer.render(entry)
        pieces.append(piece)
        size += len(piece)
        if size >= _READ_BYTES or renderer.full:
            yield b"".join(pieces)
            pieces, size = [], 0
        if renderer.full:
            return
    if pieces:
        yield b"".join(pieces)


@dataclass(slots=True)
class _Cursor:
    """How far a follower has read. The inode tells a rotated file from the one that took its place."""

    path: Path
    position: int
    inode: int

    @classmethod
    def at_start(cls, path: Path) -> "_Cursor":
        return cls(path, 0, _NO_FILE)

    @classmethod
    def at_end(cls, path: Path) -> "_Cursor":
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            return cls(path, status.st_size, status.st_ino)
        return cls.at_start(path)

    def new_blocks(self) -> Iterator[bytes]:
        with contextlib.ExitStack() as stack:
            # All at once, the newest first: between two blocks a rotation may give their names to others.
            files = []
            for number in range(MAX_FILES):
                with contextlib.suppress(FileNotFoundError):
                    file = stack.enter_context(rotated(self.path, number).open("rb"))
                    files.append((file, os.fstat(file.fileno()).st_ino))
            known = next((number for number, (_, inode) in enumerate(files) if inode == self.inode), None)
            if known is None:
                known, self.position = len(files) - 1, 0
            for file, inode in reversed(files[: known + 1]):
                yield from self._rest(file, inode)

    def _rest(self, file: IO[bytes], inode: int) -> Iterator[bytes]:
        if inode != self.inode:
            self.inode, self.position = inode, 0
        file.seek(self.position)
        for block in _blocks(file, _FOLLOW_BYTES):
            self.position += len(block)
            yield block
