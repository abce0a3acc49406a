"""Tokens on disk, one file each, for their owner's eyes only. What can't be read counts as not there."""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

_SPARE = timedelta(minutes=5)  # a token is renewed so long before its end, or in the last tenth of its life
_UNCHECKED = timedelta(seconds=30)  # how long it is used without asking Keystone whether it still holds


@dataclass(frozen=True, slots=True)
class Token:
    token: str
    issued_at: str  # times as RFC 3339
    expires_at: str
    checked_at: str
    check_url: str  # where Keystone says whether it holds
    verify: bool | str = True  # the server's certificate; a file with the authorities
    certificate: tuple[str, str] | str | None = None  # the client's own: one file, or that and its key

    def is_due(self, now: datetime) -> bool:
        """Whether it should be renewed."""
        issued, expires = _time(self.issued_at), _time(self.expires_at)
        return now >= expires - min(_SPARE, (expires - issued) / 10)

    def is_fresh(self, now: datetime) -> bool:
        return now - _time(self.checked_at) < _UNCHECKED

    def checked(self, now: datetime) -> "Token":
        return replace(self, checked_at=now.isoformat())


class TokenCache:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, key: str) -> Token | None:
        try:
            said = json.loads(self._path(key).read_bytes())
            certificate = said["certificate"]
            said["certificate"] = tuple(certificate) if isinstance(certificate, list) else certificate
            found = Token(**said)
            for each in (found.issued_at, found.expires_at, found.checked_at):
                _time(each)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found

    def put(self, key: str, token: Token) -> None:
        """Atomic: a reader sees the old file or the new one. Where it can't be written, the next one asks again."""
        with suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, temporary = tempfile.mkstemp(dir=self._directory)  # created with mode 0600
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump(asdict(token), file)
                os.replace(temporary, self._path(key))
            except BaseException:
                os.unlink(temporary)
                raise

    def forget(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.json"


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
