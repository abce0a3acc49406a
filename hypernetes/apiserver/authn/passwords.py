"""Passwords of local users: scrypt hashes, made and compared beside the event loop, a few at a time.

A hash says with which figures it was made, so that they can be raised. Nothing here logs or keeps a password.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from hypernetes.api.status import StatusError

MIN_CHARACTERS = 8
MAX_BYTES = 1024
_LOG_N, _R, _P = 15, 8, 1  # 32 MiB and some 0.1 s of a core for each guess
_MEMORY_BYTES = 64 * 1024 * 1024
_KEY_BYTES, _SALT_BYTES = 32, 16
_AT_ONCE = 2  # threads that hash
_WAITING = 64  # who may wait for one


@dataclass(frozen=True, slots=True)
class PasswordHash:
    log_n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    def __str__(self) -> str:
        salt, key = (base64.b64encode(part).decode() for part in (self.salt, self.key))
        return f"scrypt${self.log_n}${self.r}${self.p}${salt}${key}"

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Raises ValueError."""
        kind, log_n, r, p, salt, key = text.split("$")
        if kind != "scrypt":
            raise ValueError(f"no hash of ours: {kind}")
        return cls(int(log_n), int(r), int(p), base64.b64decode(salt), base64.b64decode(key))


# What somebody is compared with who has no password, so that it takes as long: nothing has this key.
NOBODYS = PasswordHash(_LOG_N, _R, _P, bytes(_SALT_BYTES), bytes(_KEY_BYTES))


def make(password: str) -> PasswordHash:
    """Takes a while: see `Hasher`."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return PasswordHash(_LOG_N, _R, _P, salt, _derive(password, _LOG_N, _R, _P, salt))


def matches(password: str, wanted: PasswordHash) -> bool:
    """Takes a while, and as long whether it is right or wrong."""
    return hmac.compare_digest(_derive(password, wanted.log_n, wanted.r, wanted.p, wanted.salt), wanted.key)


def _derive(password: str, log_n: int, r: int, p: int, salt: bytes) -> bytes:
    encoded = password.encode(errors="surrogatepass")
    return hashlib.scrypt(encoded, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MEMORY_BYTES, dklen=_KEY_BYTES)


class Hasher:
    """Hashes on threads, `_AT_ONCE` side by side; who would wait too long is told so."""

    def __init__(self) -> None:
        self._places, self._waiting = asyncio.Semaphore(_AT_ONCE), 0

    async def make(self, password: str) -> PasswordHash:
        """Raises StatusError 429."""
        async with _Place(self):
            return await asyncio.to_thread(make, password)

    async def matches(self, password: str, wanted: PasswordHash) -> bool:
        """Raises StatusError 429."""
        async with _Place(self):
            return await asyncio.to_thread(matches, password, wanted)

    async def enter(self) -> None:
        if self._waiting >= _WAITING:
            message = "too many passwords are being checked, please try again later"
            raise StatusError("TooManyRequests", message, details={"retryAfterSeconds": 2})
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        self._places.release()


class _Place:
    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher

    async def __aenter__(self) -> None:
        await self._hasher.enter()

    async def __aexit__(self, *_: object) -> None:
        self._hasher.leave()
