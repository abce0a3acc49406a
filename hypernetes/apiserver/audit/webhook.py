"""Events sent to a server, some at a time: an EventList of audit.k8s.io/v1 by POST, tried again with back-off.

The operator named the server, so it may be anywhere; it leads nowhere else, and gives us nothing to keep.
Events wait in a bounded buffer; what doesn't fit in, and what was tried in vain, is lost and counted.
"""

import asyncio
import random
from collections import deque

import aiohttp
import structlog
from yarl import URL

from hypernetes import dialing
from hypernetes.apiserver.audit.counts import Counts
from hypernetes.apiserver.audit.policy import API_VERSION
from hypernetes.apiserver.audit.webhookconfig import WebhookConfig

# Upstream's figures for its batch mode.
MAX_WAITING = 10_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
_TOGETHER, _TOGETHER_BYTES = 400, 10 * 1024 * 1024
_PAUSE_SECONDS = 30.0  # at most, until what has come is sent
_TRIES, _FIRST_BACK_OFF_SECONDS, _FACTOR, _JITTER = 5, 10.0, 1.5, 0.2
_DEADLINE_SECONDS = 30.0  # of one request
_ENDING_SECONDS = 3.0  # for what waits when the server stops
_QUIET_SECONDS = 60.0

log = structlog.get_logger()


class AuditWebhook:
    """`run()` in a task sends what `add` was given."""

    def __init__(
        self, config: WebhookConfig, counts: Counts, *, pause: float = _PAUSE_SECONDS,
        back_off: float = _FIRST_BACK_OFF_SECONDS,
    ) -> None:  # fmt: skip
        self._config, self._counts, self._pause, self._back_off = config, counts, pause, back_off
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._filled, self._full = asyncio.Event(), asyncio.Event()
        self._complained = float("-inf")

    def add(self, line: bytes) -> None:
        if len(self._lines) >= MAX_WAITING or self._bytes + len(line) > MAX_WAITING_BYTES:
            self._lost(1, "too many events wait for the audit webhook")
            return
        self._lines.append(line)
        self._bytes += len(line)
        self._filled.set()
        if len(self._lines) >= _TOGETHER:
            self._full.set()

    async def run(self) -> None:
        """Until cancelled; what waits then is tried once more."""
        named = dialing.Policy(frozenset({dialing.place(URL(self._config.url))}))
        async with dialing.session(named, "takes audit events") as session:
            try:
                while True:
                    await self._filled.wait()
                    if len(self._lines) < _TOGETHER:
                        await self._come_together()
                    await self._send(session)
            finally:
                await self._end(session)

    async def _come_together(self) -> None:
        self._full.clear()
        try:
            async with asyncio.timeout(self._pause):
                await self._full.wait()
        except TimeoutError:
            pass

    async def _send(self, session: aiohttp.ClientSession) -> None:
        lines = self._take()
        delay, why = self._back_off, ""
        for attempt in range(_TRIES):
            if attempt:
                await self._sleep(delay * (1 + _JITTER * random.random()), lines)
                delay *= _FACTOR
            posting = asyncio.ensure_future(self._post(session, lines))
            try:
                again, why = await asyncio.shield(posting)
            except asyncio.CancelledError:  # what has begun is ended first, or else it would come twice
                await asyncio.wait({posting}, timeout=_ENDING_SECONDS)
                if not posting.done() or posting.result()[1]:
                    posting.cancel()
                    self._put_back(lines)
                raise
            if not why:
                return
            if not again:
                break
        self._lost(len(lines), "the audit webhook does not take events", error=why)

    async def _sleep(self, seconds: float, lines: list[bytes]) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._put_back(lines)
            raise

    def _put_back(self, lines: list[bytes]) -> None:
        self._lines.extendleft(reversed(lines))
        self._bytes += sum(map(len, lines))

    def _take(self) -> list[bytes]:
        taken, size = list[bytes](), 0
        while self._lines and len(taken) < _TOGETHER and (not taken or size + len(self._lines[0]) <= _TOGETHER_BYTES):
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        self._bytes -= size
        if not self._lines:
            self._filled.clear()
        return taken

    async def _post(self, session: aiohttp.ClientSession, lines: list[bytes]) -> tuple[bool, str]:
        """Whether to try again, and what went wrong ("": nothing)."""
        head = b'{"kind":"EventList","apiVersion":"%b","metadata":{},"items":[' % API_VERSION.encode()
        body = head + b",".join(line.rstrip() for line in lines) + b"]}"
        try:
            async with session.post(
                self._config.url, data=body, ssl=self._config.context or True, allow_redirects=False,
                headers={**self._config.headers, "Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=_DEADLINE_SECONDS),
            ) as response:  # fmt: skip
                if 200 <= response.status < 300:
                    return False, ""
                return response.status == 429 or response.status >= 500, f"it answers {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return True, str(error) or type(error).__name__

    async def _end(self, session: aiohttp.ClientSession) -> None:
        try:
            async with asyncio.timeout(_ENDING_SECONDS):
                while self._lines:
                    lines = self._take()
                    _, why = await self._post(session, lines)
                    if why:
                        self._lost(len(lines), "the audit webhook does not take events at the end", error=why)
        except TimeoutError:
            self._lost(len(self._lines), "the audit webhook takes too long at the end")

    def _lost(self, events: int, why: str, **more: str) -> None:
        self._counts.errors["webhook"] += events
        now = asyncio.get_running_loop().time()
        if now - self._complained >= _QUIET_SECONDS:
            self._complained = now
            log.error(why, lost=self._counts.errors["webhook"], **more)
