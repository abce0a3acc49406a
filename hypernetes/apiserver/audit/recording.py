"""The events of one request, as its stages are reached."""

import asyncio
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import orjson
import yaml
from aiohttp import web

from hypernetes.api.status import StatusError
from hypernetes.apiserver import deprecations, protobuf
from hypernetes.apiserver.audit import events, hiding
from hypernetes.apiserver.audit.counts import Counts
from hypernetes.apiserver.audit.log import BATCH, STRICT, AuditLog
from hypernetes.apiserver.audit.policy import (
    COMPLETE,
    NONE,
    PANIC,
    RECEIVED,
    REQUEST,
    REQUEST_RESPONSE,
    STARTED,
    Asked,
    Decision,
    Policy,
)
from hypernetes.apiserver.connections import PREPARING
from hypernetes.apiserver.handlers import negotiation
from hypernetes.apiserver.handlers.context import CREATED
from hypernetes.apiserver.limits import is_endless
from hypernetes.apiserver.observing import Record, Seen

AUDIT_ID = "Audit-Id"
_MAX_ID = 64  # characters of one that a client sends
_CONVERTED_BYTES = 256 * 1024  # of a body that isn't JSON, which takes long to read


class Sink(Protocol):
    def add(self, line: bytes) -> None: ...


class Auditor:
    """Makes the events, and gives them to the log and to whoever else takes them."""

    def __init__(self, policy: Policy, counts: Counts, log: AuditLog | None, others: Sequence[Sink] = ()) -> None:
        self._policy, self.counts, self._log, self._others = policy, counts, log, others
        self._waits = log is not None and log.mode != BATCH
        self._strict = log is not None and log.mode == STRICT

    def begins(self, seen: Seen) -> Record | None:
        """Decides how much of a request is recorded. None: nothing."""
        seen.decided = True
        user, route, policy = seen.sender, seen.route, self._policy
        resource = route.resource if route is not None else None
        if route is None or resource is None or user is None:
            decision = policy.decide(_about(seen))
        else:  # written out: all requests come here, most of them for nothing
            namespace = route.name if resource.name == "namespaces" else route.namespace
            decision = policy.decide((
                user.name, user.groups, route.tenant or user.tenant, route.verb, resource.group, resource.name,
                route.subresource, namespace, route.name if policy.by_name else "", "",
            ))  # fmt: skip
        self.counts.levels[decision.level] += 1
        if decision.level == NONE:
            return None
        record = seen.record = self._record(seen, decision)
        seen.http[PREPARING] = partial(self.started, seen)
        return record

    def _record(self, seen: Seen, decision: Decision) -> Record:
        http, route = seen.http, seen.route
        verb = route.verb if route is not None else http.method.lower()
        audit_id = _audit_id(http.headers.get(AUDIT_ID, ""))
        head = events.head(
            audit_id, decision.level, hiding.uri(http.rel_url.raw_path_qs, route), verb, seen.sender,
            events.sources(http.headers, http.remote or ""), http.headers.get("User-Agent", ""), time.time(),
        )  # fmt: skip
        return Record(audit_id, decision, head, hidden=hiding.is_hidden(route))

    async def received(self, seen: Seen) -> None:
        """Raises StatusError where a request may not go on without this being recorded."""
        record = seen.record
        assert record is not None
        if RECEIVED in record.decision.omitted:
            return
        if not await self._emit(seen, record, RECEIVED, {}) and self._strict:
            self.counts.rejected += 1
            raise StatusError("InternalError", "failed to store audit event")

    async def started(self, seen: Seen, response: web.StreamResponse) -> None:
        """An answer begins; of those that last this is recorded."""
        record = seen.record
        if record is None:
            return
        response.headers[AUDIT_ID] = record.audit_id
        if STARTED not in record.decision.omitted and seen.route is not None and is_endless(seen.route):
            told = {"responseStatus": events.status(response.status, hidden=record.hidden)}
            await self._emit(seen, record, STARTED, told)

    async def completed(self, seen: Seen, response: web.StreamResponse | None) -> None:
        """`response` None: nobody was answered."""
        record = seen.record if seen.decided else self.begins(seen)
        if record is None:
            return
        stage = PANIC if seen.panicked else COMPLETE
        if stage in record.decision.omitted:
            return
        code = response.status if response is not None else 500
        body = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else None
        failure = _failure(body, response.content_type) if body and response is not None and code >= 400 else None
        told: events.Object = {"responseStatus": events.status(code, failure, hidden=record.hidden)}
        level, about = record.decision.level, seen.route is not None and seen.route.resource is not None
        if level >= REQUEST and about and not record.hidden:
            omit = record.decision.omit_managed_fields
            request_body = negotiation.held_body(seen.http)
            if request_body:
                content_type = seen.http.headers.get("Content-Type", "")
                told["requestObject"] = await _object(request_body, content_type, omit=omit, known=code < 400)
            if level >= REQUEST_RESPONSE and body and response is not None:
                told["responseObject"] = await _object(body, response.content_type, omit=omit, known=True)
            told = {key: value for key, value in told.items() if value is not None}
        await self._emit(seen, record, stage, told)

    async def _emit(self, seen: Seen, record: Record, stage: str, told: events.Object) -> bool:
        """Whether it was recorded, as far as this request waits for that."""
        event = {**record.head, "stage": stage, **told, "stageTimestamp": events.micro_time(time.time())}
        if seen.user is not None and seen.user is not seen.sender:
            event["impersonatedUser"] = seen.user.to_dict()
        if seen.route is not None and seen.route.resource is not None:
            event["objectRef"] = events.reference(seen.route, seen.route.name or seen.http.get(CREATED, ""))
        event["annotations"] = _annotations(seen)
        line = events.line(event)
        self.counts.events += 1
        for other in self._others:
            other.add(line)
        if self._log is None:
            return True
        if self._waits:
            return await self._log.write(line)
        self._log.add(line)
        return True


def _about(seen: Seen) -> tuple[Any, ...]:
    """What a policy looks at, of any request."""
    user, route = seen.sender, seen.route
    tenant = (route.tenant if route is not None else None) or (user.tenant if user is not None else "")
    who = (user.name, user.groups) if user is not None else ("", ())
    if route is None or route.resource is None:
        path = route.path if route is not None else seen.http.path
        return Asked(*who, tenant, seen.http.method.lower(), path=path)
    resource, namespace = route.resource, route.name if route.resource.name == "namespaces" else route.namespace
    return Asked(*who, tenant, route.verb, resource.group, resource.name, route.subresource, namespace, route.name)


def _annotations(seen: Seen) -> dict[str, str]:
    found, user, route = {}, seen.sender, seen.route
    if seen.allowed is not None:
        found[events.DECISION] = "allow" if seen.allowed else "forbid"
        found[events.REASON] = ""
    tenant = user.tenant if user is not None else ""
    named = route.tenant if route is not None else None
    if named or tenant:
        found[events.TENANT] = named or tenant
    if named and named != tenant:
        found[events.USER_TENANT] = tenant
    if route is not None and route.resource is not None and deprecations.warnings(route):
        found[events.DEPRECATED] = "true"
    return found


def _failure(body: bytes, content_type: str) -> Any:
    """What an answer of a request that failed says; it is small."""
    try:
        return protobuf.decode(body) if content_type == protobuf.MEDIA_TYPE else orjson.loads(body)
    except (ValueError, StatusError):
        return None


async def _object(body: bytes, content_type: str, *, omit: bool, known: bool) -> Any:
    """A body as a part of an event; None for one that is none, or takes too long to read. `known`: it was read once."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (protobuf.MEDIA_TYPE, "application/yaml", "application/apply-patch+yaml"):
        if known and not (omit and b'"managedFields"' in body):
            return events.one_line(body)
        if len(body) <= _CONVERTED_BYTES:
            return _converted(body, "application/json", omit)
        return await asyncio.to_thread(_converted, body, "application/json", omit)
    if len(body) > _CONVERTED_BYTES:
        return None
    return await asyncio.to_thread(_converted, body, kind, omit)


def _converted(body: bytes, kind: str, omit: bool) -> Any:
    try:
        if kind == "application/json":
            value = orjson.loads(body)
        elif kind == protobuf.MEDIA_TYPE:
            value = protobuf.decode(body)
        else:
            value = yaml.load(body, Loader=yaml.CSafeLoader)
        return orjson.Fragment(orjson.dumps(events.without_managed_fields(value) if omit else value))
    except (ValueError, TypeError, RecursionError, StatusError, yaml.YAMLError):
        return None


def _audit_id(sent: str) -> str:
    """The client's, where it is one; it comes back in a header."""
    return sent if 0 < len(sent) <= _MAX_ID and sent.isascii() and sent.isprintable() else _new_id()


def _new_id() -> str:
    """A random UUID; it has to be told apart, not to be secret."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
