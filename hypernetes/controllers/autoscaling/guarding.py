"""Requests to servers of tenants: few at a time, and none for a while where the last got no answer.

What one tenant's server of metrics fails to do may hold up that tenant's autoscalers, and nobody else's.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

AT_ONCE = 4
PAUSE_SECONDS = 60.0


class Paused(Exception):
    """It didn't answer lately, and isn't asked now."""


@dataclass(slots=True)
class _Server:
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    silent_since: float | None = None  # monotonic
    tried: bool = False  # after the pause, one request finds out
    asking: int = 0

    def is_paused(self, now: float) -> bool:
        return self.silent_since is not None and (self.tried or now < self.silent_since + PAUSE_SECONDS)


class Guard:
    """Of all servers, each by a key of the caller's."""

    def __init__(self) -> None:
        self._servers: defaultdict[Hashable, _Server] = defaultdict(_Server)

    @asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncIterator[None]:
        """For one request. A TimeoutError inside says that no answer came. Raises Paused."""
        server, now = self._servers[key], asyncio.get_running_loop().time
        if server.is_paused(now()):
            raise Paused
        is_trial = server.silent_since is not None
        server.tried |= is_trial
        server.asking += 1
        try:
            async with server.turns:
                if not is_trial and server.is_paused(now()):  # since this one waits
                    raise Paused
                yield
        except TimeoutError:
            server.silent_since = now()
            raise
        except Paused:
            raise
        except Exception:
            server.silent_since = None  # a refusal is an answer
            raise
        else:
            server.silent_since = None
        finally:
            server.asking -= 1
            if is_trial:
                server.tried = False
            if not server.asking and server.silent_since is None:
                del self._servers[key]
