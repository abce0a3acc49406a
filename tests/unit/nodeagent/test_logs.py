"""Containers' output: written once, read as asked."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypernetes.nodeagent import logs
from hypernetes.nodeagent.logs import LogOptions, PodLogs
from hypernetes.nodeagent.runtime.base import Output

ID = "main.0"

HEAD = b"2026-11-22T16:00:00.123456789Z stdout "  # what a container may say, too


def said(data: bytes, at: float, stream: str = "stdout", sequence: int = 0) -> Output:
    return Output(ID, stream, at, data, sequence)


def text(directory: Path, **options: object) -> bytes:
    asked = LogOptions(**options)  # type: ignore[arg-type]
    renderer = logs.Renderer(asked)
    return b"".join(renderer.render(entry) for entry in logs.read(PodLogs(directory).path(ID), asked))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    written = PodLogs(tmp_path)
    for second, data in enumerate([b"one\ntwo\n", b"thr", b"ee\nfour\n"]):
        written.write(said(data, 1000.0 + second))
    written.close()
    return tmp_path


def test_parts_of_a_line_are_joined(directory: Path) -> None:
    assert text(directory) == b"one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize(("tail", "expected"), [(0, b""), (1, b"four\n"), (2, b"three\nfour\n"), (9, None)])
def test_tail_counts_lines_not_entries(directory: Path, tail: int, expected: bytes | None) -> None:
    assert text(directory, tail=tail) == (text(directory) if expected is None else expected)


def test_since_limit_and_timestamps(directory: Path) -> None:
    assert text(directory, since=1002.0) == b"ee\nfour\n"
    assert text(directory, limit_bytes=5) == b"one\nt"
    assert text(directory, timestamps=True, tail=1) == b"1970-01-01T00:16:42.000000000Z four\n"


def test_output_sent_again_after_a_crash_is_written_once(directory: Path) -> None:
    again = PodLogs(directory)
    again.write(said(b"ee\nfour\n", 1002.0))
    again.write(said(b"five\n", 1003.0))
    again.close()
    assert text(directory) == b"one\ntwo\nthree\nfour\nfive\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    pieces=st.lists(st.tuples(st.binary(min_size=1, max_size=30), st.sampled_from(["stdout", "stderr"])), max_size=12),
    repeated=st.integers(0, 12), cut=st.integers(0, 200), block=st.integers(1, 300), limit=st.integers(200, 2000),
)  # fmt: skip
def test_a_kill_in_the_middle_of_a_write_loses_and_repeats_nothing(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bytes, str]], repeated: int, cut: int, block: int,
    limit: int,
) -> None:  # fmt: skip
    """The agent dies while it writes a piece, and the guest sends the last ones again, that piece among them."""
    outputs = [said(data, 1000.0 + number, stream) for number, (data, stream) in enumerate(pieces)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_READ_BYTES", block)
        patch.setattr(logs, "MAX_FILE_BYTES", limit)
        directory, whole = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("whole")
        for output in outputs:
            PodLogs(whole).write(output)
        first = PodLogs(directory)
        for output in outputs:
            first.write(output)
        first.close()
        path = first.path(ID)
        if path.exists() and outputs:
            last = logs.format_entries(outputs[-1].stream, outputs[-1].time, outputs[-1].data)
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - min(cut, len(last)))
        second = PodLogs(directory)
        for output in outputs[-repeated - 1 :]:
            second.write(output)
        second.close()
        assert {each.name: each.read_bytes() for each in directory.iterdir()} == {
            each.name: each.read_bytes() for each in whole.iterdir()
        }


def test_a_megabyte_of_short_lines_sent_again_is_recognised_in_rotated_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 12 << 20)
    outputs = [said(b"x\n" * 4096, 1000.0 + number) for number in range(128)]  # as much as may be unacknowledged
    for agent in (PodLogs(tmp_path), PodLogs(tmp_path)):
        for output in outputs:
            agent.write(output)
        agent.close()
    assert text(tmp_path).count(b"\n") == 128 * 4096


def test_old_files_are_dropped_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 200)
    written = PodLogs(tmp_path)
    for number in range(100):
        written.write(said(f"line {number}\n".encode(), 1000.0 + number))
    written.close()
    assert len(list(tmp_path.iterdir())) == logs.MAX_FILES
    assert text(tmp_path, tail=1) == b"line 99\n"
    assert text(tmp_path).startswith(b"line ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    pieces=st.lists(
        st.binary(min_size=1, max_size=20)
        | st.sampled_from(
            [b"a\r\nb\n", b"\n", b"said\nZ stdout P ", HEAD + b"F x\n", b"x\n" + HEAD + b"P ", HEAD[-9:] + b"P \n"]
        ),
        max_size=10,
    ),
    block=st.integers(1, 300),
)
def test_what_was_said_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], block: int
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    written = PodLogs(directory)
    for second, data in enumerate(pieces):
        written.write(said(data, 1000.0 + second))
    written.close()
    assert text(directory) == b"".join(pieces)
    assert text(directory, tail=1000) == b"".join(pieces)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(logs, "_READ_BYTES", block)
        patched.setattr(logs, "_FOLLOW_BYTES", block)
        assert asyncio.run(followed(written, follow=False)) == b"".join(pieces)
        timed = asyncio.run(followed(written, follow=False, timestamps=True))
    assert timed == text(directory, timestamps=True)


async def followed(written: PodLogs, **options: object) -> bytes:
    asked = LogOptions(**options)  # type: ignore[arg-type]
    return b"".join([piece async for piece in logs.stream(written, ID, asked, lambda _: False)])


def test_streams_that_mix_in_the_middle_of_lines_are_shown_as_they_came(tmp_path: Path) -> None:
    written = PodLogs(tmp_path)
    for second, (stream, data) in enumerate(
        [("stdout", b"out"), ("stderr", b"err\nor"), ("stdout", b"put\nx\n"), ("stderr", b"!\n")]
    ):
        written.write(said(data, 1000.0 + second, stream))
    written.close()
    assert asyncio.run(followed(written)) == b"outerr\norput\nx\n!\n" == text(tmp_path)


async def test_following_ends_when_the_container_has(tmp_path: Path) -> None:
    written = PodLogs(tmp_path)
    written.write(said(b"one\n", 1000.0))
    alive = True
    seen: list[bytes] = []

    async def follow() -> None:
        async for chunk in logs.stream(written, ID, LogOptions(follow=True), lambda _: alive):
            seen.append(chunk)

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        while not seen:
            await asyncio.sleep(0)
        written.write(said(b"two\n", 1001.0))
        while len(seen) < 2:
            await asyncio.sleep(0)
        alive = False
        written.finish(ID)
    assert b"".join(seen) == b"one\ntwo\n"


def test_last_words_are_two_kibibytes_at_most(tmp_path: Path) -> None:
    logs = PodLogs(tmp_path)
    assert logs.last_words("main.0") == ""
    for number in range(100):
        logs.write(Output("main.0", "stdout", 1_800_000_000.0 + number, b"line %d\n" % number, number))
    assert logs.last_words("main.0").splitlines() == [f"line {number}" for number in range(20, 100)]
    logs.write(Output("main.0", "stdout", 1_800_000_200.0, b"x" * 5000 + b"\n", 101))
    assert logs.last_words("main.0") == "x" * 2047 + "\n"


def test_what_is_remembered_of_tiny_pieces_is_bounded_and_let_go(tmp_path: Path) -> None:
    written = PodLogs(tmp_path)
    for number in range(150_000):
        written.write(said(b"\n", 1000.0 + number / 1000))
    written.close()
    again = PodLogs(tmp_path)
    again.write(said(b"\n", 1000.0 + 149_999 / 1000))
    remembered = again._files[ID]._written
    assert len(logs._Written.find(again.path(ID)).pieces) < 2 * (1 << 20) / 18 + 10_000
    again.write(said(b"new\n", 2000.0))
    assert not remembered.pieces
    again.close()
    assert text(tmp_path).count(b"\n") == 150_001


def test_a_reader_keeps_its_files_while_they_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 2000)
    monkeypatch.setattr(logs, "_FOLLOW_BYTES", 500)
    written = PodLogs(tmp_path)
    for number in range(100):
        written.write(said(b"line %d\n" % number, 1000.0 + number))
    cursor = logs._Cursor.at_start(written.path(ID))
    files = [logs.rotated(written.path(ID), number) for number in (4, 3, 2, 1, 0)]
    there = b"".join(file.read_bytes() for file in files if file.exists())
    blocks = cursor.new_blocks()
    seen = next(blocks)
    for number in range(100, 140):
        written.write(said(b"line %d\n" % number, 1000.0 + number))
    seen += b"".join(blocks)
    assert seen.startswith(there)
    seen += b"".join(cursor.new_blocks())
    written.close()
    numbers = [int(line.rsplit(b" ", 1)[1]) for line in seen.splitlines()]
    assert numbers == list(range(numbers[0], 140))
