"""Open watches end when whoever opened them may no longer: soon after a role or binding changed, and every 30 s.

A watch of those namespaces that its user may see begins anew (410) when roles or bindings change: what the user may see
now is not what the watch has told.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.authn.users import split_service_account
from hypernetes.apiserver.authz import Attributes, Authorizer, defaultroles
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Event

INTERVAL_SECONDS = 30.0
_AT_ONCE = 200  # watches looked at before others have their turn: some 2 ms


class Watch(Protocol):
    def end(self) -> None:
        """The client resumes it, if it may."""

    def expire(self) -> None:
        """The client begins anew."""


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    user: User
    asked: Attributes
    filtered: bool  # it shows what its user may see of more
    watch: Watch


class Reauthorization:
    """Tell it every event of the mirror, and when the mirror has been loaded anew; run `run()` in a task."""

    def __init__(self, authorizer: Authorizer, lookups: Lookups) -> None:
        self._authorizer, self._lookups = authorizer, lookups
        self._open: defaultdict[str, set[_Open]] = defaultdict(set)  # by the user's tenant
        self._changed: set[str] = set()  # tenants with other roles or bindings than when last looked at
        self._news = asyncio.Event()

    @contextmanager
    def of(self, user: User, asked: Attributes, watch: Watch, *, filtered: bool) -> Iterator[None]:
        """While the watch is open."""
        each = _Open(user, asked, filtered, watch)
        self._open[user.tenant].add(each)
        try:
            yield
        finally:
            self._open[user.tenant].discard(each)
            if not self._open[user.tenant]:
                del self._open[user.tenant]

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
        while True:
            try:
                async with asyncio.timeout(INTERVAL_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                tenants = set(self._open)
            else:
                tenants = self._changed & self._open.keys()
            changed, self._changed = self._changed, set()
            self._news.clear()
            for tenant in tenants:
                await self._look_at(tenant, changed=tenant in changed)

    async def _look_at(self, tenant: str, *, changed: bool) -> None:
        for number, each in enumerate(list(self._open.get(tenant, ()))):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            if each.filtered and changed:
                each.watch.expire()
            elif not self._holds(each):
                each.watch.end()

    def _holds(self, each: _Open) -> bool:
        """Whether the user is there still and may still do what they do."""
        user = each.user
        if self._lookups.tenant_uid(user.tenant) != user.tenant_uid:
            return False
        account = split_service_account(user.name)
        if account is not None and user.uid and self._lookups.service_account_uid(user.tenant, *account) != user.uid:
            return False
        return each.filtered or self._authorizer.authorize(user, each.asked).allowed
