import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Event, Pod
from hypernetes.api.status import StatusError, not_found
from hypernetes.client import events
from hypernetes.client.events import EventRecorder

pytestmark = pytest.mark.looptime


class Server:
    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.tenants: set[str | None] = set()
        self.refuse = False
        self.ending: set[str] = set()  # namespaces
        self.asked = 0

    async def create(self, event: Event, *, tenant: str | None) -> Event:
        self.asked += 1
        if event.metadata.namespace in self.ending:
            raise StatusError("Forbidden", "it ends", causes=[{"reason": "NamespaceTerminating", "message": "it ends"}])
        if self.refuse:
            raise StatusError("Forbidden", "namespace is being terminated")
        assert event.metadata.name
        self.tenants.add(tenant)
        self.events[event.metadata.name] = event
        return event

    async def patch(self, model: type[Event], name: str, body: dict[str, Any], **_: Any) -> Event:
        if name not in self.events:
            raise not_found("events", name)
        self.events[name] = Event.from_dict({**self.events[name].to_dict(), **body})
        return self.events[name]


@asynccontextmanager
async def recording(server: Server) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(server, "test", instance="host")  # type: ignore[arg-type]
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def pod(name: str = "web-1") -> Pod:
    annotations = {"hypernetes.io/tenant": "acme"}
    return Pod.from_dict({"metadata": {"name": name, "namespace": "web", "uid": "u1", "annotations": annotations}})


async def test_a_repetition_raises_the_count_of_the_event_there_is() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.event(pod(), "Warning", "Failed", "image not found")
        await recorder.flush()
        for _ in range(3):
            recorder.event(pod(), "Warning", "Failed", "image not found")
        recorder.event(pod(), "Normal", "Pulled", "image pulled")
        await recorder.flush()
    counts = {event.reason: event.count for event in server.events.values()}
    assert counts == {"Failed": 4, "Pulled": 1}
    assert server.tenants == {"acme"}


async def test_an_event_names_its_object_and_its_source() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.event(pod(), "Normal", "Started", "started", field_path="spec.containers{web}")
        await recorder.flush()
    (event,) = server.events.values()
    involved = event.involved_object
    assert (involved.kind_, involved.namespace, involved.name, involved.uid) == ("Pod", "web", "web-1", "u1")
    assert involved.field_path == "spec.containers{web}"
    assert event.metadata.namespace == "web"
    assert (event.source and event.source.component, event.reporting_component) == ("test", "test")


async def test_an_event_that_expired_is_written_anew() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.event(pod(), "Normal", "Started", "started")
        await recorder.flush()
        server.events.clear()
        recorder.event(pod(), "Normal", "Started", "started")
        await recorder.flush()
    assert [event.count for event in server.events.values()] == [1]


async def test_a_full_queue_drops_and_counts_and_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_QUEUE_LIMIT", 2)
    server = Server()
    async with recording(server) as recorder:
        for number in range(5):
            recorder.event(pod(f"web-{number}"), "Normal", "Started", "started")
        await recorder.flush()
    assert len(server.events) == 2
    assert recorder.dropped == 3


async def test_a_refused_event_is_counted_and_the_next_one_written() -> None:
    server = Server()
    async with recording(server) as recorder:
        server.refuse = True
        recorder.event(pod("a"), "Normal", "Started", "started")
        await recorder.flush()
        server.refuse = False
        recorder.event(pod("b"), "Normal", "Started", "started")
        await recorder.flush()
    assert recorder.dropped == 1
    assert [event.involved_object.name for event in server.events.values()] == ["b"]


async def test_events_of_one_second_are_listed_in_the_order_they_happened() -> None:
    server = Server()
    async with recording(server) as recorder:
        for number in range(20):
            recorder.event(pod(), "Normal", f"Step{number:02}", "done")
        await recorder.flush()
    reasons = [event.reason for _, event in sorted(server.events.items())]
    assert reasons == [f"Step{number:02}" for number in range(20)]


async def test_a_namespace_that_ends_is_asked_once_in_a_while_only() -> None:
    server = Server()
    server.ending.add("web")
    async with recording(server) as recorder:
        for number in range(5):
            recorder.event(pod(f"web-{number}"), "Normal", "Killing", "stopping")
            await recorder.flush()
        assert (server.asked, recorder.dropped) == (1, 5)
        server.ending.clear()  # another of this name has come
        await asyncio.sleep(11)
        recorder.event(pod("web-9"), "Normal", "Started", "it runs")
        await recorder.flush()
        assert [event.reason for event in server.events.values()] == ["Started"]
