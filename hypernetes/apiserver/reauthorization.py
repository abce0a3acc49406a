"""Open watches and streams end when whoever opened them may no longer: soon after a role or binding changed, and every
30 s, when the credential is looked at anew as well.

A watch of those namespaces that its user may see begins anew (410) when roles or bindings change: what the user may see
now is not what the watch has told.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import structlog
from aiohttp import web

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.authz import Attributes, Authorizer, defaultroles
from hypernetes.apiserver.mirror import Event
from hypernetes.apiserver.storage.base import Unavailable

INTERVAL_SECONDS = 30.0
_AT_ONCE = 50  # credentials that are looked at side by side; most are known and wait for nothing

log = structlog.get_logger()

WhoNow = Callable[[], Awaitable[User]]


class Opened(Protocol):
    """A watch or a stream."""

    def end(self) -> None:
        """The client resumes it, if it may."""

    def expire(self) -> None:
        """The client begins anew."""


class Stream:
    """A request whose connection is all that there is to end."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request

    def end(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    expire = end


class _Open:
    """A watch or a stream, which is looked at while it is entered. There is one for each watch, so it is small."""

    __slots__ = ("_among", "_tenant", "asked", "filtered", "user", "what", "who")

    def __init__(
        self, among: "_AllOpen", user: User, asked: Sequence[Attributes], what: Opened, who: WhoNow, filtered: bool
    ) -> None:
        self._among, self._tenant = among, user.tenant
        self.user, self.asked, self.what = user, asked, what
        self.filtered = filtered  # it shows what its user may see of more
        self.who = who  # the user behind the request's credential as it is now

    def __enter__(self) -> None:
        self._among[self._tenant].add(self)

    def __exit__(self, *_: object) -> None:
        self._among[self._tenant].discard(self)
        if not self._among[self._tenant]:
            del self._among[self._tenant]


_AllOpen = defaultdict[str, set[_Open]]  # by the user's tenant


class Reauthorization:
    """Tell it every event of the mirror, and when the mirror has been loaded anew; run `run()` in a task."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._open: _AllOpen = defaultdict(set)
        self._changed: set[str] = set()  # tenants with other roles or bindings than when last looked at
        self._news = asyncio.Event()

    def of(
        self, user: User, asked: Sequence[Attributes], opened: Opened, who: WhoNow, *, filtered: bool = False
    ) -> AbstractContextManager[None]:
        """While a watch or a stream is open for which the user needs all that is `asked`."""
        return _Open(self._open, user, asked, opened, who, filtered)

    def observe(self, events: Iterable[Event]) -> None:
        for event in events:
            key = event.name
            if key.group != defaultroles.RBAC_GROUP:
                continue
            if key.tenant == SYSTEM_TENANT and defaultroles.is_default(key.group, key.resource, key.name):
                self.reset()
            elif key.tenant in self._open:
                self._changed.add(key.tenant)
                self._news.set()

    def reset(self) -> None:
        self._changed.update(self._open)
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_changes())
            tasks.create_task(self._look_regularly())

    async def _follow_changes(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            changed, self._changed = self._changed, set()
            for tenant in changed:
                for number, each in enumerate(list(self._open.get(tenant, ()))):
                    if number % _AT_ONCE == _AT_ONCE - 1:
                        await asyncio.sleep(0)
                    if each.filtered:
                        each.what.expire()
                    elif not self._may(each):
                        each.what.end()

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.look()

    async def look(self) -> None:
        """At all that is open, and the credentials behind it."""
        everything = [each for opened in self._open.values() for each in opened]
        for first in range(0, len(everything), _AT_ONCE):
            await asyncio.gather(*map(self._look_at, everything[first : first + _AT_ONCE]))

    async def _look_at(self, each: _Open) -> None:
        try:
            user = await each.who()
        except Unavailable:
            return  # of the store: who that is can't be said now, nor that it has ended
        except StatusError as error:
            log.info("a stream ends with its credential", user=each.user.name, tenant=each.user.tenant, code=error.code)
            each.what.end()
            return
        except Exception:  # this stream's life ends here, and not the server's
            log.exception("a credential can't be looked at", user=each.user.name, tenant=each.user.tenant)
            each.what.end()
            return
        same = (user.name, user.tenant, user.tenant_uid) == (each.user.name, each.user.tenant, each.user.tenant_uid)
        each.user = user
        if not same or not self._may(each):
            each.what.end()

    def _may(self, each: _Open) -> bool:
        return each.filtered or all(self._authorizer.authorize(each.user, asked).allowed for asked in each.asked)
