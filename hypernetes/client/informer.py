"""Follows all objects of one kind: a list, then a watch from where the list was, for as long as the process lives.

    list ──► replace ──► watch from its revision ──► put / remove, one by one
     ▲                        │ ended, broken: again from the last revision seen, with back-off
     └──── 410 Expired ◄──────┘

No event is lost, since a watch resumes after the last revision that was applied; none is told twice, since a version
that is known already is no change. What happened while a revision was too old to resume from shows as the difference
between the cache and the new list.

An informer may be for some keys only (`accepts`): what else comes is not kept. Which ones may change: `refocus`.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import orjson
import structlog
from pydantic import ValidationError

from hypernetes.api.object import Object
from hypernetes.api.status import StatusError
from hypernetes.client.backoff import Backoff
from hypernetes.client.cache import Cache, Change
from hypernetes.client.errors import TransportError, is_reason
from hypernetes.client.keys import Key, key_of_metadata
from hypernetes.client.rest import AllMetadata, Client, Selection, resource_of
from hypernetes.client.retries import retry_after
from hypernetes.client.watching import BOOKMARK, RawEvent

T = TypeVar("T", bound=Object)
K = TypeVar("K", bound=Hashable)
_Item = TypeVar("_Item")

_BACKOFF = Backoff(first=0.2, longest=5.0)  # seconds
_LONGEST_RETRY_AFTER = 60.0  # seconds; an informer comes back sooner than a server may ask it to
_TURN = 64  # objects of a list that are taken in before others have a turn: some 20 ms
_HEALTHY_AFTER = 5.0  # seconds: a watch that lasted as long ends a series of failures
_log = structlog.get_logger(__name__)


class Following(Generic[T, K]):
    """What follows a list and watch has, whatever it is of.

    Objects given out are shared: read-only. Handlers are called from `run`, in the order of revisions, and must not
    block.
    """

    def __init__(
        self, client: Client, selection: Selection | AllMetadata, model: type[T],
        indexes: Mapping[str, Callable[[T], Iterable[str]]] | None, accepts: Callable[[K], bool] | None = None,
        glimpse: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:  # fmt: skip
        self._client, self._selection = client, selection
        self._accepts = accepts or _everything
        self._cache: Cache[T, K] = Cache(model, indexes, glimpse=glimpse)
        self._change_handlers: list[Callable[[K, T | None, T | None], None]] = []
        self._key_handlers: list[Callable[[K], None]] = []
        self._synced = asyncio.Event()
        self._revision = ""  # up to which every change is in the cache
        self._stale = True  # a list is needed
        self._asked, self._listed = 0, asyncio.Condition()  # how often a new list was wanted
        self._answered = 0  # of these, how many a list has come after
        self._again: Callable[[K], bool] | None = None
        self._following: asyncio.Task[None] | None = None

    @abstractmethod
    def _key(self, fields: Mapping[str, Any]) -> K:
        """Of an object in JSON form."""

    def _whole(self, item: dict[str, Any]) -> dict[str, Any]:
        """An item of a list as it would be alone."""
        return item

    @property
    def resource_version(self) -> str:
        """Everything up to here is in the cache; "" before the first list."""
        return self._revision

    @property
    def synced(self) -> bool:
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Until the first list is in the cache and its handlers have been called."""
        await self._synced.wait()

    def get(self, key: K) -> T | None:
        return self._cache.get(key)

    def keys(self) -> list[K]:
        return self._cache.keys()

    def items(self) -> list[tuple[K, T]]:
        return list(self._cache.items())

    def by_index(self, index: str, value: str) -> list[T]:
        """KeyError for an index the informer wasn't made with."""
        return self._cache.by_index(index, value)

    def glimpses(self, index: str, value: str) -> list[Any]:
        """As `by_index`, of an informer that was made with `glimpse`: what that keeps of each object."""
        return self._cache.glimpses(index, value)

    def index_keys(self, index: str, value: str) -> list[K]:
        """As `by_index`, without parsing the objects."""
        return self._cache.index_keys(index, value)

    def index_size(self, index: str, value: str) -> int:
        return self._cache.index_size(index, value)

    def __len__(self) -> int:
        return len(self._cache)

    def __contains__(self, key: K) -> bool:
        return key in self._cache

    def on_change(self, handler: Callable[[K, T | None, T | None], None]) -> None:
        """Calls handler(key, old, new) for each change; old None is a new object, new None a deleted one."""
        self._change_handlers.append(handler)

    def on_key(self, handler: Callable[[K], None]) -> None:
        """Calls handler(key) for each change; the objects aren't parsed for it."""
        self._key_handlers.append(handler)

    def narrow(self) -> None:
        """Drops what is accepted no longer; handlers aren't told: it isn't gone, only somebody else's."""
        self._cache.keep(self._accepts)

    async def widen(self, again: Callable[[K], bool]) -> None:
        """More is accepted than before: waits until it is in the cache, by a list that begins now, and handlers have
        been told. They are told as new of those that are `again` new to them, too. `run` must be running."""
        self._again = again
        self._asked += 1
        asked = self._asked
        if self._following is not None:
            self._following.cancel()
        async with self._listed:
            await self._listed.wait_for(lambda: self._answered >= asked)

    async def run(self) -> None:
        """Until cancelled. The server's absence, restart or refusal is waited out with back-off."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await self._follow()
                failures = 0
            except (StatusError, TransportError) as error:
                if is_reason(error, "Expired", "Gone") or (isinstance(error, StatusError) and error.code == 410):
                    self._stale = True
                elif loop.time() - started >= _HEALTHY_AFTER:
                    failures = 0
                _log.info("watch interrupted", path=self._selection.path(), error=str(error), failures=failures)
                await asyncio.sleep(min(retry_after(error), _LONGEST_RETRY_AFTER) + _BACKOFF.delay(failures))
                failures += 1

    async def _follow(self) -> None:
        """A list where one is needed, and a watch for as long as it lasts and no other list is asked for."""
        self._following = asyncio.ensure_future(self._list_and_watch())
        try:
            await asyncio.wait({self._following})
            if not (self._following.cancelled() and self._answered < self._asked):
                self._following.result()
        finally:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None

    async def _list_and_watch(self) -> None:
        if self._stale or self._answered < self._asked:
            await self._list()
        await self._watch()

    async def _list(self) -> None:
        asked = self._asked
        objects: dict[K, tuple[bytes, str]] = {}
        revision = ""
        async for page in self._client.pages(self._selection):
            if page.first:
                objects.clear()
            revision = page.resource_version
            for item in page.items:
                whole = self._whole(item)
                key = self._key(whole)
                if self._accepts(key):
                    objects[key] = orjson.dumps(whole), item["metadata"]["resourceVersion"]
        first, changes = not self.synced, []
        async for change in _in_turns(self._cache.replace(objects)):
            if change is None:
                continue
            if first:
                self._tell(change)  # while it is parsed; nobody works yet
            else:
                changes.append(change)
        # Before the handlers, as with events: whoever waits for a revision looks again when told, and not later.
        self._revision, self._stale = revision, False
        async for change in _in_turns(changes):
            self._tell(change)
        if (again := self._again) is not None:
            known = {change.key for change in changes}
            async for change in _in_turns(self._cache.as_new(lambda key: key not in known and again(key))):
                self._tell(change)
        self._synced.set()
        async with self._listed:
            if asked == self._asked:
                self._again = None
            self._answered = asked
            self._listed.notify_all()

    async def _watch(self) -> None:
        async for event in self._client.watch_raw(self._selection, self._revision):
            self._apply(event)

    def _apply(self, event: RawEvent) -> None:
        if event.type != BOOKMARK:
            key = self._key(event.fields)
            if event.type == "DELETED" or not self._accepts(key):
                change = self._cache.remove(key)
            else:
                change = self._cache.put(key, event.data, event.resource_version, event.fields)
            # Before the handlers: they may ask how far the cache is.
            self._revision = event.resource_version
            if change is not None:
                self._tell(change)
        else:
            self._revision = event.resource_version

    def _tell(self, change: Change[K]) -> None:
        for key_handler in self._key_handlers:
            key_handler(change.key)
        if self._change_handlers:
            self._tell_objects(change)
        if change.old is not None:
            self._cache.forget(change.key, change.old)

    def _tell_objects(self, change: Change[K]) -> None:
        try:
            old = None if change.old is None else self._cache.parse(change.key, change.old)
            new = None if change.new is None else self._cache.parse(change.key, change.new)
        except ValidationError as error:  # of an informer without an index: else the cache has left it out
            _log.error("an object can't be read", key=str(change.key), path=self._selection.path(), error=str(error))
            return
        for handler in self._change_handlers:
            handler(change.key, old, new)


class Informer(Following[T, Key]):
    """The objects of one kind."""

    def __init__(
        self,
        client: Client,
        model: type[T],
        *,
        tenant: str | None = "*",
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        indexes: Mapping[str, Callable[[T], Iterable[str]]] | None = None,
        accepts: Callable[[Key], bool] | None = None,
        glimpse: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:
        self.resource = resource_of(model)
        selection = Selection(self.resource, tenant, namespace, label_selector, field_selector)
        super().__init__(client, selection, model, indexes, accepts, glimpse)
        self._tenant = "" if tenant in (None, "*") else str(tenant)

    def _key(self, fields: Mapping[str, Any]) -> Key:
        return key_of_metadata(fields["metadata"], self._tenant)

    def _whole(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": self.resource.api_version, "kind": self.resource.kind, **item}


def _everything(key: Any) -> bool:
    return True


async def _in_turns(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    """With turns for everybody else in between."""
    for number, item in enumerate(items):
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        yield item
