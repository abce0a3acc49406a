"""Asks each APIService's server whether it answers, and what it serves; tells it in the condition Available.

Each server is asked every half minute, and at once when its APIService, its service or its endpoints change. A tenant's
servers are asked a few at a time, so that those that hang delay one another and nobody else's.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from hypernetes.api import times
from hypernetes.api.status import StatusError
from hypernetes.apiserver import codec, discovery
from hypernetes.apiserver.aggregation import offers
from hypernetes.apiserver.aggregation.documents import Extended
from hypernetes.apiserver.aggregation.identity import AGGREGATOR
from hypernetes.apiserver.aggregation.offers import PASSED, Offer, Unreadable, Verdict
from hypernetes.apiserver.aggregation.reaching import Reach
from hypernetes.apiserver.aggregation.registered import APISERVICES, Registered, Registrations
from hypernetes.apiserver.discovery import Discovery
from hypernetes.apiserver.documents import Document
from hypernetes.apiserver.mirror import Event, Mirror
from hypernetes.apiserver.objects import Objects, Place, Put, missing
from hypernetes.apiserver.proxy import Target, finding
from hypernetes.apiserver.storage.base import Unavailable

Object = dict[str, Any]

INTERVAL_SECONDS = 30.0
_ANSWER_SECONDS = 5.0  # upstream's
_SETTLE_SECONDS = 0.2  # changes that come together are looked at once
_AT_ONCE = 4  # of one tenant
_DOCUMENTS_EVERY = 10  # checks: OpenAPI documents are large and change seldom
_UNCHECKED = Verdict(False, "NotChecked", "the server hasn't been asked yet")

log = structlog.get_logger()


@dataclass(slots=True)
class _Followed:
    offer: Offer
    news: asyncio.Event = field(default_factory=asyncio.Event)
    checks: int = 0


class Aggregation:
    """Tell it every event of the mirror, and when the mirror has been loaded anew; run `run()` in a task."""

    def __init__(self, mirror: Mirror, objects: Objects, reach: Reach, clock: Callable[[], datetime]) -> None:
        self._mirror, self._objects, self.reach, self._clock = mirror, objects, reach, clock
        self._registrations = Registrations(mirror)
        self._followed: dict[Registered, _Followed] = {}
        self._extended: dict[str, Extended] = {}  # by tenant, until something changes
        self._changed = asyncio.Event()
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))

    # what is asked of it

    def find(self, tenant: str, group: str, version: str) -> Offer | None:
        registered = self._registrations.of(tenant).get((group, version))
        return None if registered is None else self._offer(registered)

    def documents(self, tenant: str | None) -> Discovery | Extended:
        """The discovery at a tenant's root; None is that of all tenants."""
        built_in = discovery.for_tenant(tenant)
        known = {} if tenant is None else self._registrations.of(tenant)
        if tenant is None or not known:
            return built_in
        if tenant not in self._extended:
            self._extended[tenant] = Extended(built_in, [self._offer(each) for each in known.values()])
        return self._extended[tenant]

    def _offer(self, registered: Registered) -> Offer:
        followed = self._followed.get(registered)
        return followed.offer if followed is not None else Offer(registered, _UNCHECKED)

    # what it is told

    def observe(self, events: Iterable[Event]) -> None:
        for event in events:
            key = event.name
            if (key.group, key.resource) == (APISERVICES.group, APISERVICES.name):
                self._registrations.observe(key, event.entry)
                self._extended.pop(key.tenant, None)
                self._changed.set()
            elif key.resource == finding.SLICES.name and key.group == finding.SLICES.group:
                entry = event.entry or event.previous
                service = "" if entry is None else entry.labels.get(finding.SERVICE_NAME, "")
                self._wake(key.tenant, key.namespace, service)
            elif key.resource == finding.SERVICES.name and key.group == "core":
                self._wake(key.tenant, key.namespace, key.name)

    def reset(self) -> None:
        self._registrations.reset()
        self._extended.clear()
        self._changed.set()

    def _wake(self, tenant: str, namespace: str, service: str) -> None:
        for registered in self._registrations.of(tenant).values():
            followed = self._followed.get(registered)
            if followed is not None and (registered.namespace, registered.service) == (namespace, service):
                followed.news.set()

    # what it does

    async def run(self) -> None:
        """Until cancelled."""
        tasks: dict[Registered, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await self._changed.wait()
                self._changed.clear()
                wanted = set(self._registrations.all())
                for gone in tasks.keys() - wanted:
                    tasks.pop(gone).cancel()
                    del self._followed[gone]
                for registered in wanted - tasks.keys():
                    followed = self._followed[registered] = _Followed(Offer(registered, _UNCHECKED))
                    tasks[registered] = group.create_task(self._follow(followed), name="apiservice")

    async def _follow(self, followed: _Followed) -> None:
        while True:
            followed.news.clear()
            registered = followed.offer.registered
            async with self._turns[registered.tenant]:
                offer = await self._checked_or_failed(followed)
            if offer != followed.offer:
                followed.offer = offer
                self._extended.pop(registered.tenant, None)
            try:
                await self._tell(registered, offer.verdict)
            except (StatusError, Unavailable) as error:
                log.info("an APIService's state was not written", name=registered.name, error=str(error))
            try:
                async with asyncio.timeout(INTERVAL_SECONDS * random.uniform(0.9, 1.1)):
                    await followed.news.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(_SETTLE_SECONDS)

    async def _checked_or_failed(self, followed: _Followed) -> Offer:
        """What a tenant's server says, or its APIService, must not end what follows those of all others."""
        try:
            return await self._checked(followed)
        except Exception:
            former, registered = followed.offer, followed.offer.registered
            log.exception("an APIService can't be checked", tenant=registered.tenant, name=registered.name)
            message = "the API server failed at what this server says"
            return Offer(registered, Verdict(False, "FailedDiscoveryCheck", message), former.rows)

    async def _checked(self, followed: _Followed) -> Offer:
        former, registered = followed.offer, followed.offer.registered
        verdict = reachable(self._mirror, registered)
        if not verdict.available:
            return Offer(registered, verdict, former.rows)
        try:
            rows = offers.rows(await self._asked(registered, registered.prefix))
        except (StatusError, Unreadable) as error:
            why = error.message if isinstance(error, StatusError) else str(error)
            message = f"failing or missing response from {registered.host}:{registered.port}{registered.prefix}: {why}"
            return Offer(registered, Verdict(False, "FailedDiscoveryCheck", message), former.rows)
        openapi, definitions = former.openapi, former.definitions
        if not former.verdict.available or followed.checks % _DOCUMENTS_EVERY == 0:
            openapi, definitions = await self._documents(registered)
        followed.checks += 1
        return Offer(registered, PASSED, rows, openapi, definitions)

    async def _documents(self, registered: Registered) -> tuple[Document | None, Object]:
        """Those that it has: nothing depends on them."""
        v3 = await self._optional(registered, f"/openapi/v3{registered.prefix}")
        v2 = await self._optional(registered, "/openapi/v2")
        return await asyncio.to_thread(_read_documents, v3, v2, registered)

    async def _optional(self, registered: Registered, path: str) -> bytes:
        try:
            return await self._asked(registered, path)
        except StatusError as error:
            log.debug("an APIService has no such document", name=registered.name, path=path, error=error.message)
            return b""

    async def _asked(self, registered: Registered, path: str) -> bytes:
        """Raises StatusError 503 for whatever isn't a 2xx."""
        code, body = await self.reach.fetch(
            registered, path, AGGREGATOR, limit=offers.MAX_BYTES, seconds=_ANSWER_SECONDS
        )
        if not 200 <= code < 300:
            raise StatusError("ServiceUnavailable", f"bad status from it: {code}")
        return body

    async def _tell(self, registered: Registered, verdict: Verdict) -> None:
        place = Place(APISERVICES, registered.tenant, "", registered.name)
        entry = self._mirror.object(APISERVICES, registered.tenant, "", registered.name)
        now = self._clock()
        if entry is None or told(codec.decode(entry.data, entry.revision), verdict, now) is None:
            return

        def decide(old: Object | None) -> Put:
            if old is None:
                raise missing(place)
            return Put(told(old, verdict, now) or old)

        await self._objects.change(place, decide)


def _read_documents(v3: bytes, v2: bytes, registered: Registered) -> tuple[Document | None, Object]:
    return offers.openapi_v3(v3), offers.openapi_v2(v2, registered)


def reachable(mirror: Mirror, registered: Registered) -> Verdict:
    """Whether there is a pod to ask, by the objects."""
    namespace, name = registered.namespace, registered.service
    try:
        service = finding.find(mirror, finding.SERVICES, registered.tenant, namespace, name)
    except StatusError:
        return Verdict(False, "ServiceNotFound", f'service/{name} in "{namespace}" is not present')
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return Verdict(False, "ServiceAccessError", f'service/{name} in "{namespace}" leads out of the cluster')
    if not any(port.get("port") == registered.port for port in spec.get("ports") or ()):
        message = f'service/{name} in "{namespace}" is not listening on port {registered.port}'
        return Verdict(False, "ServicePortError", message)
    try:
        finding.endpoint(mirror, registered.tenant, namespace, Target("https", name, str(registered.port)))
    except StatusError:
        return Verdict(False, "MissingEndpoints", f'endpoints for service/{name} in "{namespace}" have no addresses')
    return PASSED


def told(obj: Object, verdict: Verdict, now: datetime) -> Object | None:
    """The APIService with this verdict; None where it says so already."""
    status = obj.get("status") or {}
    said = {each["type"]: each for each in status.get("conditions") or ()}
    former = said.get("Available", {})
    condition = {
        "type": "Available", "status": "True" if verdict.available else "False",
        "lastTransitionTime": times.format_time(now), "reason": verdict.reason, "message": verdict.message,
    }  # fmt: skip
    if all(former.get(key) == condition[key] for key in ("status", "reason", "message")):
        return None
    if former.get("status") == condition["status"] and "lastTransitionTime" in former:
        condition["lastTransitionTime"] = former["lastTransitionTime"]
    said["Available"] = condition
    return {**obj, "status": {**status, "conditions": list(said.values())}}
