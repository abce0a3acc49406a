"""The loop that all controllers share: keys from informers, a bounded number of workers, errors tried again later."""

import asyncio
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import structlog

from hypernetes.client import REQUEST_ERRORS, Client, EventRecorder, Key, WorkQueue, has_cause, is_reason
from hypernetes.client.errors import NAMESPACE_TERMINATING
from hypernetes.client.informer import Following
from hypernetes.client.metadata import Item
from hypernetes.controllers.informers import Informers
from hypernetes.providers import fencing

# The cause by which it refuses to start pods and jobs of a tenant that is suspended.
TENANT_SUSPENDED = "TenantSuspended"
_NO_FAILURES = (NAMESPACE_TERMINATING, TENANT_SUSPENDED)
_SUSPENDED_SECONDS = 15.0  # until a suspended tenant's owner of pods is looked at again
_STALE_CACHE_FAILURES = 3  # refusals in a row that may come of a cache that lags, and aren't worth a warning
# After its turn a key rests some multiple of the turn's length: what happens meanwhile (a thousand pods that start)
# is looked at once. Seconds.
_REST, _LONGEST_REST = 3.0, 1.0
_log = structlog.get_logger(__name__)


class Unfinished(Exception):
    """What `reconcile` can't do yet, and has told people why: it is tried again, with back-off."""


def is_failure(error: BaseException) -> bool:
    """Whether people should be told: that nothing is made in what ends or is suspended, is as it should be."""
    return not any(has_cause(error, cause) for cause in _NO_FAILURES)


def tenant_of_key(key: Key | Item) -> str:
    return key.key.tenant if isinstance(key, Item) else key.tenant


class Controller(ABC):
    """One kind of work. `reconcile` is never called twice at once for one key."""

    name: str
    workers = 4  # keys worked on at once

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        self.client, self.informers, self.recorder = client, informers, recorder
        self.queue: WorkQueue[Key] = WorkQueue(self.name)
        self._parked: set[Key] = set()  # keys of tenants that will be ours in a moment

    @abstractmethod
    async def reconcile(self, key: Key) -> float | None:
        """Brings the world of one key closer to what it should be.

        Returns the seconds after which to look again without an event, or None. Whatever it raises, it is called again,
        with back-off.
        """

    def needs(self) -> list[Following[Any, Any]]:
        """The informers that must be synced before the first reconcile."""
        return self.informers.used()

    async def run(self) -> None:
        """Until cancelled."""
        for informer in self.needs():
            await informer.wait_synced()
        _log.info("controller started", controller=self.name, keys=len(self.queue))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.workers):
                    group.create_task(self._work())
        finally:
            self.queue.close()

    def resharded(self) -> None:
        """The shard has changed: what was kept for tenants that are ours now is done, others' is forgotten."""
        parked, self._parked = self._parked, set()
        for key in parked:
            if self.informers.expects(tenant_of_key(key)):
                self.queue.add(key)

    async def drained(self) -> None:
        """Until nothing is being done for tenants that are others'."""
        await self.queue.wait_done(lambda key: not self.informers.acts_on(tenant_of_key(key)))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # What waits for nothing (most keys after a start) would else be done in one go, and no Lease renewed.
            await asyncio.sleep(0)
            key = await self.queue.get()
            tenant = tenant_of_key(key)
            if not self.informers.acts_on(tenant):
                self._set_aside(key, tenant)
                self.queue.done(key)
                continue
            began = loop.time()
            try:
                with fencing.guarded(partial(self.informers.may_act, tenant)):
                    await self._reconcile(key)
            finally:
                self.queue.done(key, rest=min((loop.time() - began) * _REST, _LONGEST_REST))

    def _set_aside(self, key: Key, tenant: str) -> None:
        """What is another process's, until it is ours."""
        if self.informers.expects(tenant):
            self._parked.add(key)
        self.queue.forget(key)

    async def _reconcile(self, key: Key) -> None:
        try:
            again = await self.reconcile(key)
        except REQUEST_ERRORS as error:
            if has_cause(error, NAMESPACE_TERMINATING):
                # Nothing to be done here any more; the deletions that follow are events of their own.
                self.queue.forget(key)
                return
            if has_cause(error, TENANT_SUSPENDED):
                self.queue.forget(key)
                self.queue.add_after(key, _SUSPENDED_SECONDS)
                return
            delay = self.queue.add_rate_limited(key)
            stale = is_reason(error, "Conflict", "AlreadyExists")
            if not stale or self.queue.failures(key) > _STALE_CACHE_FAILURES:
                # Otherwise everyday: the cache has not seen someone's write, or our own last one, yet.
                _log.warning(
                    "reconcile failed", controller=self.name, key=str(key), error=str(error), retry_in=round(delay, 2)
                )
        except fencing.Fenced as error:
            tenant = tenant_of_key(key)
            _log.info("ended in the middle", controller=self.name, key=str(key), why=str(error))
            if self.informers.acts_on(tenant):  # this process stood still, and has its Lease again
                self.queue.add_rate_limited(key)
            else:
                self._set_aside(key, tenant)
        except Unfinished as error:
            delay = self.queue.add_rate_limited(key)
            _log.info("unfinished", controller=self.name, key=str(key), why=str(error), retry_in=round(delay, 2))
        except Exception:  # noqa: BLE001  one key's bug must not end the work on all others
            delay = self.queue.add_rate_limited(key)
            _log.exception("reconcile failed", controller=self.name, key=str(key), retry_in=round(delay, 2))
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)
