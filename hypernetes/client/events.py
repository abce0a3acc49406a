"""Events: what users see in `kubectl describe` and `kubectl get events`.

Recording never blocks and never fails: a full queue drops the event and counts it. A repetition doesn't make a new
Event but raises `count` of the one there is.
"""

import asyncio
import os
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import structlog

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Event, EventSource, ObjectReference
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.object import Object
from hypernetes.api.tenancy import TENANT_ANNOTATION
from hypernetes.client.errors import NAMESPACE_TERMINATING, REQUEST_ERRORS, has_cause, is_reason
from hypernetes.client.rest import Client

_QUEUE_LIMIT = 1000  # different events that wait to be written
_REMEMBERED = 4096  # written events whose repetitions are recognised
_ENDING_SECONDS = 10.0  # of a namespace that takes no events any more: how long it isn't asked again
_ENDING = 256  # of them that are remembered
_MAX_MESSAGE = 1024  # characters, upstream's limit
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Two events that are equal in all of this are one event that happened twice."""

    tenant: str | None
    reference: tuple[str, str, str, str, str, str]  # apiVersion, kind, namespace, name, uid, fieldPath
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class _Record:
    """What is known of an event that was written, or waits to be."""

    name: str
    first: str
    last: str
    count: int
    written: bool = False


class EventRecorder:
    """`run` writes what `event` takes; it belongs into a TaskGroup of the process."""

    def __init__(self, client: Client, component: str, *, instance: str | None = None) -> None:
        self._client, self._component = client, component
        self._instance = instance or socket.gethostname()
        self._waiting: OrderedDict[Occurrence, _Record] = OrderedDict()
        self._known: OrderedDict[Occurrence, _Record] = OrderedDict()
        # Namespaces (tenant, name) that are being deleted, until when that is taken for sure: a thousand pods that end
        # with theirs would else each ask whether they may say so.
        self._ending: OrderedDict[tuple[str | None, str], float] = OrderedDict()
        self._filled, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self.dropped = 0  # events lost: the queue was full, or the server refused them

    def event(
        self, obj: Object | ObjectReference, type: str, reason: str, message: str, *, tenant: str | None = None,
        field_path: str = "",
    ) -> None:  # fmt: skip
        """`type` is Normal or Warning, `reason` a CamelCase word. `tenant` is by default the one `obj` was read from.

        `obj` may be an ObjectReference, and `field_path` a part of it (`spec.containers{web}`).
        """
        reference, stated = _reference(obj, field_path)
        occurrence = Occurrence(tenant or stated, reference, type, reason, message[:_MAX_MESSAGE])
        now = times.format_time(times.now())
        record = self._waiting.get(occurrence) or self._known.pop(occurrence, None)
        if occurrence not in self._waiting:
            if len(self._waiting) >= _QUEUE_LIMIT:
                self.dropped += 1
                return
            record = record or _Record(_name(reference), now, now, 0)
            self._waiting[occurrence] = record
        assert record is not None
        record.last, record.count = now, record.count + 1
        self._filled.set()
        self._idle.clear()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._filled.wait()
            while self._waiting:
                occurrence, record = self._waiting.popitem(last=False)
                await self._write(occurrence, record)
            self._filled.clear()
            self._idle.set()

    async def flush(self, timeout: float = 5.0) -> None:
        """Waits (seconds) until all is written, for a process that is about to end while `run` still runs."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("events not written", count=len(self._waiting))

    async def _write(self, occurrence: Occurrence, record: _Record) -> None:
        place, now = (occurrence.tenant, _namespace(occurrence)), asyncio.get_running_loop().time()
        if self._ending.get(place, now) > now:
            self.dropped += 1
            return
        try:
            if not (record.written and await self._raise_count(occurrence, record)):
                await self._create(occurrence, record)
        except REQUEST_ERRORS as error:
            self.dropped += 1
            if has_cause(error, NAMESPACE_TERMINATING):
                self._ending[place] = now + _ENDING_SECONDS
                self._ending.move_to_end(place)
                if len(self._ending) > _ENDING:
                    self._ending.popitem(last=False)
            _log.warning(
                "event dropped", reason=occurrence.reason, object="/".join(occurrence.reference[1:4]), error=str(error)
            )
            return
        self._known[occurrence] = record
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def _raise_count(self, occurrence: Occurrence, record: _Record) -> bool:
        """False where the Event has expired meanwhile."""
        body = {"count": record.count, "lastTimestamp": record.last}
        try:
            await self._client.patch(
                Event, record.name, body, namespace=_namespace(occurrence), tenant=occurrence.tenant
            )
        except Exception as error:
            if is_reason(error, "NotFound"):
                return False
            raise
        return True

    async def _create(self, occurrence: Occurrence, record: _Record) -> None:
        api_version, kind, namespace, name, uid, field_path = occurrence.reference
        if record.written:
            record.name, record.count, record.first = _name(occurrence.reference), 1, record.last
        event = Event(
            metadata=ObjectMeta(name=record.name, namespace=_namespace(occurrence)),
            involved_object=ObjectReference(
                api_version_=api_version, kind_=kind, namespace=namespace or None, name=name, uid=uid or None,
                field_path=field_path or None,
            ),
            type=occurrence.type,
            reason=occurrence.reason,
            message=occurrence.message,
            count=record.count,
            first_timestamp=record.first,
            last_timestamp=record.last,
            source=EventSource(component=self._component, host=self._instance),
            reporting_component=self._component,
            reporting_instance=self._instance,
        )  # fmt: skip
        await self._client.create(event, tenant=occurrence.tenant)
        record.written = True


def _namespace(occurrence: Occurrence) -> str:
    """Events on cluster-scoped objects live in `default`, as upstream's do."""
    return occurrence.reference[2] or "default"


def _name(reference: tuple[str, ...]) -> str:
    # The object's name, the time and 16 random bits; a DNS subdomain may have 253 characters. Times in an Event are
    # whole seconds: kubectl leaves those of one second in the order of the list, which is that of the names.
    return f"{reference[3][:230]}.{time.time_ns():016x}{os.urandom(2).hex()}"


def _reference(obj: Any, field_path: str) -> tuple[tuple[str, str, str, str, str, str], str | None]:
    if isinstance(obj, ObjectReference):
        parts = (obj.api_version_, obj.kind_, obj.namespace, obj.name, obj.uid, field_path or obj.field_path)
        tenant = None
    else:
        metadata = obj.metadata
        parts = (obj.API_VERSION, obj.KIND, metadata.namespace, metadata.name, metadata.uid, field_path)
        tenant = metadata.annotations.get(TENANT_ANNOTATION)
    first, *rest = (part or "" for part in parts)
    return (first, rest[0], rest[1], rest[2], rest[3], rest[4]), tenant
