"""What is noted of each request: its metrics, and its line in the log."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from hypernetes.api import scheme
from hypernetes.apiserver.audit.counts import Counts
from hypernetes.apiserver.audit.policy import Decision
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.metrics import Metrics, Target
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.requestlog import Line, RequestLog
from hypernetes.apiserver.routing import Route


class Record:
    """What an audit keeps of a request until its last event is made."""

    __slots__ = ("audit_id", "decision", "head", "hidden")

    def __init__(self, audit_id: str, decision: Decision, head: dict[str, Any], *, hidden: bool) -> None:
        self.audit_id, self.decision, self.head, self.hidden = audit_id, decision, head, hidden


class Seen:
    """One request: the application says here what it is about and who asks, as soon as it knows."""

    __slots__ = ("allowed", "decided", "http", "panicked", "record", "route", "sender", "user")

    def __init__(self, http: web.BaseRequest) -> None:
        self.http = http
        self.route: Route | None = None
        self.sender: User | None = None  # whose credential it has
        self.user: User | None = None  # whom it is from: the sender, or who is impersonated
        self.allowed: bool | None = None  # None: nobody has asked
        self.panicked = False  # failed by a mistake of ours
        self.decided = False  # by the audit's policy
        self.record: Record | None = None  # None: nothing of it is recorded


class Audit(Protocol):
    """What notes requests for good (audit/recording.py)."""

    counts: Counts

    def begins(self, seen: Seen) -> Record | None:
        """Decides how much of a request is recorded, once it is known who sent it; None: nothing."""

    async def received(self, seen: Seen) -> None:
        """Raises StatusError where a request may not go on without this being recorded."""

    async def completed(self, seen: Seen, response: web.StreamResponse | None) -> None: ...


Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Observer:
    """Stands before the application: give what `observing` gives to an `aiohttp.web.Server`. Run `log.run()`."""

    def __init__(self, mirror: Mirror, log_level: str, audit: Audit | None = None) -> None:
        self.metrics, self.log, self.audit = Metrics(), RequestLog(log_level), audit
        self._mirror = mirror
        self._under_way: set[Seen] = set()

    def observing(self, handle: Callable[[web.BaseRequest, Seen], Awaitable[web.StreamResponse]]) -> Handle:
        async def observed(request: web.BaseRequest) -> web.StreamResponse:
            began = time.monotonic()
            seen = Seen(request)
            self._under_way.add(seen)
            response: web.StreamResponse | None = None
            try:
                response = await handle(request, seen)
                return response
            finally:
                self._under_way.discard(seen)
                self._note(seen, response, time.monotonic() - began)
                if self.audit is not None and (seen.record is not None or not seen.decided):
                    await self.audit.completed(seen, response)

        return observed

    def render(self, accept: str) -> Callable[[], tuple[bytes, str]]:
        """See Metrics.render."""
        under_way = [self._target(seen) for seen in self._under_way]
        stored = [
            (resource, self._mirror.count(self._mirror.keys.range(resource)))
            for resource in scheme.served()
            if resource.is_stored and resource.stored is resource
        ]
        more = self.audit.counts.families() if self.audit is not None else ()
        return self.metrics.render(accept, under_way, stored, more)

    def _target(self, seen: Seen) -> Target:
        """What a request is about, as far as that is known yet."""
        if seen.route is not None:
            return self.metrics.target(seen.route)
        return self.metrics.path_target(seen.http.method, seen.http.path)

    def _note(self, seen: Seen, response: web.StreamResponse | None, seconds: float) -> None:
        code = response.status if response is not None else 500
        target = self._target(seen)
        dry_run = "All" if not target.reading and "dryRun=All" in seen.http.query_string else ""
        target.finished(code, seconds, _size(response), dry_run)
        if self.log.wants(code, seconds, reading=target.reading, long_running=target.long_running):
            self.log.add(_line(seen, code, seconds))


def _size(response: web.StreamResponse | None) -> int:
    if isinstance(response, web.Response):
        return len(response.body) if isinstance(response.body, bytes) else 0
    return response.body_length if response is not None and response.prepared else 0


def _line(seen: Seen, code: int, seconds: float) -> Line:
    request, route, user = seen.http, seen.route, seen.user
    path = request.rel_url.raw_path  # percent-encoded: it can't break a line of the log
    if route is not None and route.rest:
        path = path.removesuffix(route.rest)  # what a proxied path says is between the client and the pod
    return Line(
        request.method, path, code, seconds, user=user.name if user else "", tenant=user.tenant if user else "",
        agent=request.headers.get("User-Agent", ""), client=request.remote or "",
    )  # fmt: skip
