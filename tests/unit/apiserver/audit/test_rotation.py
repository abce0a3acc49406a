"""Files of the audit log: put aside when they have grown, and removed when there are too many."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hypernetes.apiserver.audit.rotation import RotatingFile, outdated

NOW = datetime(2030, 1, 10, tzinfo=UTC)


def test_a_file_that_has_grown_is_put_aside(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log" / "audit.log", max_bytes=25, backups=2, days=0)
    for number in range(7):
        file.write(b"line number %d\n" % number)  # 14 bytes: one fits, two don't
    file.close()
    names = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert len(names) == 3
    assert names[-1] == "audit.log"
    kept = "".join((tmp_path / "log" / name).read_text() for name in names)
    assert [int(line[-1]) for line in kept.splitlines()] == [4, 5, 6]
    assert (tmp_path / "log" / "audit.log").stat().st_mode & 0o777 == 0o600


def test_a_file_is_continued(tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        file = RotatingFile(tmp_path / "audit.log", max_bytes=100, backups=2, days=0)
        file.write(text)
        file.close()
    assert (tmp_path / "audit.log").read_text() == "one\ntwo\n"


def test_a_file_that_was_put_aside_while_no_other_could_be_opened_is_followed_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RotatingFile(tmp_path / "audit.log", max_bytes=5, backups=2, days=0)
    file.write(b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            file.write(b"two\n")
    file.write(b"two\n")
    file.close()
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["one\n", "two\n"]


@pytest.mark.parametrize(
    ("backups", "days", "gone"),
    [(0, 0, []), (2, 0, ["01", "07"]), (0, 2, ["01", "07"]), (3, 5, ["01"]), (3, 0, ["01"])],
)
def test_what_is_too_old_or_too_much_goes(backups: int, days: int, gone: list[str]) -> None:
    aside = {Path(f"audit-{day}.log"): f"2030-01-{day}T12-00-00.000" for day in ("01", "07", "08", "09")}
    assert sorted(path.stem[-2:] for path in outdated(aside, NOW, backups, days)) == gone


def test_what_a_full_disk_cut_short_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RotatingFile(tmp_path / "audit.log", max_bytes=1000, backups=2, days=0)
    file.write(b"whole\n")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) <= 5:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:-5])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.write(b"cut short\n")
    file.write(b"again\n")
    file.close()
    assert (tmp_path / "audit.log").read_text() == "whole\nagain\n"
