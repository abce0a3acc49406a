"""Tokens on disk."""

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypernetes.cli.identity.tokencache import Token, TokenCache

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
END = NOW + timedelta(hours=1)
TOKEN = Token("gAAAA", NOW.isoformat(), END.isoformat(), NOW.isoformat(), "http://c/v3/auth/tokens", True, ("c", "k"))


def test_what_is_put_is_found_again_and_is_its_owners_alone(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "tokens")
    assert cache.get("k") is None
    cache.put("k", TOKEN)
    assert cache.get("k") == TOKEN
    assert cache.get("other") is None
    (file,) = (tmp_path / "tokens").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    cache.forget("k")
    cache.forget("k")
    assert cache.get("k") is None


def test_a_file_that_is_damaged_counts_as_none(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path)
    cache.put("k", TOKEN)
    (file,) = tmp_path.iterdir()
    whole = file.read_text()
    for content in ("", "{", "[]", "{}", whole.replace("2026", "MMXXVI"), whole.replace('"token"', '"tokens"')):
        file.write_text(content)
        assert cache.get("k") is None, content


def test_a_directory_that_cannot_be_written_keeps_nobody_from_working(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    TokenCache(tmp_path / "file" / "tokens").put("k", TOKEN)


def test_a_token_is_renewed_before_its_end_and_asked_about_now_and_then() -> None:
    assert not TOKEN.is_due(END - timedelta(minutes=6))
    assert TOKEN.is_due(END - timedelta(minutes=5))
    short = replace(TOKEN, expires_at=(NOW + timedelta(minutes=10)).isoformat())
    assert not short.is_due(NOW + timedelta(minutes=8))
    assert short.is_due(NOW + timedelta(minutes=9))
    assert TOKEN.is_fresh(NOW + timedelta(seconds=29))
    assert not TOKEN.is_fresh(NOW + timedelta(seconds=30))
    assert TOKEN.checked(NOW + timedelta(minutes=1)).is_fresh(NOW + timedelta(seconds=61))
