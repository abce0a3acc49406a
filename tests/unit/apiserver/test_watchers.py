"""Stories of watches: who is told what."""

import asyncio
from collections.abc import Sequence

import orjson
import pytest

from hypernetes.api import scheme
from hypernetes.apiserver import protobuf, watchers
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Change
from hypernetes.apiserver.views import view_of
from hypernetes.apiserver.watchers import Scope, Watcher, Watchers

KEYS = Keys("c")
PODS = scheme.by_name("v1", "pods")
NODES = scheme.by_name("v1", "nodes")


class Story:
    """A mirror and its watchers, fed by hand."""

    def __init__(self) -> None:
        self.mirror, self.watchers = Mirror(KEYS), Watchers()
        self.mirror.load([], 1)

    def pod(self, tenant: str, name: str, node: str = "", namespace: str = "web", **labels: str) -> None:
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        obj = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}}
        self.change(KEYS.of(PODS, tenant, namespace, name), orjson.dumps(obj))

    def gone(self, tenant: str, name: str) -> None:
        self.change(KEYS.of(PODS, tenant, "web", name), None)

    def change(self, key: str, value: bytes | None) -> None:
        self.watchers.publish(self.mirror.apply([Change(key, self.mirror.revision + 1, value, None)]))

    def watch(self, tenant: str | None, limit: int = 100, label: str = "", **scope: str) -> Watcher:
        match = (lambda entry: entry.labels.get("app") == label) if label else None
        view = view_of(PODS, annotated=tenant is None)
        watcher = Watcher(Scope("core", "pods", tenant, **scope), view, match, limit)
        self.watchers.add(watcher)
        return watcher


async def told(watcher: Watcher) -> list[tuple[str, str, str]]:
    frames = await watcher.next(0) or b""
    events = [orjson.loads(line) for line in frames.splitlines()]
    return [(e["type"], e["object"]["metadata"]["name"], e["object"]["metadata"]["resourceVersion"]) for e in events]


async def test_a_watcher_of_everything_is_told_of_both_objects_of_one_revision() -> None:
    story = Story()
    watcher = Watcher(watchers.EVERYTHING, view_of(PODS), None)
    story.watchers.add(watcher)
    objects = {
        KEYS.of(PODS, "acme", "web", "a"): {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
        KEYS.of(NODES, "system", "", "n"): {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}},
    }  # fmt: skip
    changes = [Change(key, 2, orjson.dumps(obj), None) for key, obj in objects.items()]
    story.watchers.publish(story.mirror.apply(changes))
    assert [name for _, name, _ in await told(watcher)] == ["a", "n"]


async def test_each_watcher_is_told_of_what_is_in_its_scope() -> None:
    story = Story()
    all_, acme, web = story.watch(None), story.watch("acme"), story.watch("acme", namespace="web")
    one, node = story.watch("acme", namespace="web", name="a"), story.watch(None, node="n1")
    story.pod("acme", "a")
    story.pod("acme", "b", namespace="other")
    story.pod("globex", "a", node="n1")
    assert [name for _, name, _ in await told(all_)] == ["a", "b", "a"]
    assert [name for _, name, _ in await told(acme)] == ["a", "b"]
    assert [name for _, name, _ in await told(web)] == ["a"]
    assert [name for _, name, _ in await told(one)] == ["a"]
    assert await told(node) == [("ADDED", "a", "4")]


async def test_a_watch_is_not_told_again_what_it_begins_after() -> None:
    story = Story()
    watcher = story.watch("acme")
    watcher.since = 2  # the client knows of it from another server, this one's mirror is a revision behind
    story.pod("acme", "a")
    story.pod("acme", "b")
    assert await told(watcher) == [("ADDED", "b", "3")]


class Client:
    """An outlet that remembers."""

    def __init__(self) -> None:
        self.ready, self.writes = True, list[int]()

    def write(self, pieces: Sequence[bytes]) -> None:
        self.writes.append(len(pieces))


async def test_events_of_one_batch_go_out_in_one_write() -> None:
    story, client = Story(), Client()
    watcher = story.watch("acme")
    watcher.outlet = client
    waiting = asyncio.create_task(watcher.next(60))
    await asyncio.sleep(0)
    value = orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "web"}})
    key = KEYS.of(PODS, "acme", "web", "a")
    story.watchers.publish(story.mirror.apply([Change(key, 2, value, None), Change(key, 3, None, None)]))
    assert client.writes == [2]
    assert not waiting.done()
    watcher.end()
    assert await waiting == b""


async def test_a_client_that_is_behind_is_left_to_its_task() -> None:
    story, client = Story(), Client()
    watcher = story.watch("acme")
    watcher.outlet, client.ready = client, False
    waiting = asyncio.create_task(watcher.next(60))
    await asyncio.sleep(0)
    story.pod("acme", "a")
    assert orjson.loads(await waiting or b"")["object"]["metadata"]["name"] == "a"
    assert client.writes == []


async def test_a_task_takes_a_piece_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "_PIECE_BYTES", 200)
    story = Story()
    watcher = story.watch("acme")
    for number in range(5):
        story.pod("acme", f"p{number}")
    pieces = []
    while not watcher.idle:
        pieces.append([name for _, name, _ in await told(watcher)])
    assert pieces == [["p0", "p1"], ["p2", "p3"], ["p4"]]


async def test_many_watchers_are_told_a_part_at_a_time() -> None:
    story = Story()
    watchers = [story.watch("acme") for _ in range(300)]
    clients = [Client() for _ in watchers]
    tasks = []
    for watcher, client in zip(watchers, clients, strict=True):
        watcher.outlet = client
        tasks.append(asyncio.create_task(watcher.next(60)))
    await asyncio.sleep(0)
    story.pod("acme", "a")
    assert 0 < sum(len(client.writes) for client in clients) < 300
    while not all(client.writes for client in clients):
        await asyncio.sleep(0)
    assert all(client.writes == [1] for client in clients)
    story.watchers.end_all()
    await asyncio.gather(*tasks)


async def test_a_deletion_shows_the_object_at_the_revision_of_its_end() -> None:
    story = Story()
    watcher = story.watch("acme")
    story.pod("acme", "a")
    story.gone("acme", "a")
    assert await told(watcher) == [("ADDED", "a", "2"), ("DELETED", "a", "3")]


async def test_an_object_that_ceases_to_match_is_deleted_for_the_watcher() -> None:
    story = Story()
    watcher = story.watch("acme", label="web")
    story.pod("acme", "a", app="db")
    story.pod("acme", "a", app="web")
    story.pod("acme", "a", app="web")
    story.pod("acme", "a", app="db")
    assert [kind for kind, _, _ in await told(watcher)] == ["ADDED", "MODIFIED", "DELETED"]


async def test_who_reads_too_slowly_is_cut_off_and_costs_no_more_memory() -> None:
    story = Story()
    slow, quick = story.watch("acme", limit=3), story.watch("acme")
    for number in range(10):
        story.pod("acme", f"p{number}")
    assert slow.cut_off
    assert await slow.next(0) == b""
    assert len(await told(quick)) == 10


async def test_who_reads_too_slowly_is_cut_off_for_the_bytes_that_wait_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "QUEUE_BYTES", 1000)
    story = Story()
    slow, quick = story.watch("acme"), story.watch("acme")
    for number in range(20):
        story.pod("acme", f"p{number}")
        await quick.next(0)
    assert (slow.cut_off, slow.idle) == (True, True)
    assert not quick.cut_off


async def test_an_event_is_encoded_once_for_all_its_watchers() -> None:
    story = Story()
    first, second = story.watch("acme"), story.watch("acme")
    story.pod("acme", "a")
    assert first._queue[0] is second._queue[0]


async def test_an_event_is_encoded_once_in_each_form() -> None:
    story = Story()
    in_protobuf = view_of(PODS, media_type=protobuf.MEDIA_TYPE)
    forms = (view_of(PODS), in_protobuf, in_protobuf)
    plain, *others = (Watcher(Scope("core", "pods", "acme"), view, None) for view in forms)
    for watcher in (plain, *others):
        story.watchers.add(watcher)
    story.pod("acme", "a")
    first, second = (watcher._queue[0] for watcher in others)
    assert first is second
    assert first != plain._queue[0]
    assert in_protobuf.events_in(first + second) == 2


async def test_a_watch_that_begins_as_the_server_stops_ends_with_what_it_is_told_first() -> None:
    story = Story()
    story.watchers.end_all()
    late = Watcher(Scope("core", "pods", "acme"), view_of(PODS), None)
    late.push(b"first\n")
    story.watchers.add(late)
    assert [await late.next(60), await late.next(60)] == [b"first\n", b""]


async def test_a_watcher_that_left_is_told_nothing() -> None:
    story = Story()
    watcher = story.watch("acme")
    story.watchers.remove(watcher)
    story.pod("acme", "a")
    assert watcher.idle
    assert len(story.watchers) == 0


async def test_a_tenant_hears_of_a_node_only_what_it_may_see() -> None:
    story = Story()
    watcher = Watcher(Scope("core", "nodes", "system"), view_of(NODES, projected=True), None)
    story.watchers.add(watcher)
    for beat, ready in (("1", "True"), ("2", "True"), ("3", "False")):
        condition = {"type": "Ready", "status": ready, "lastHeartbeatTime": beat, "lastTransitionTime": ready}
        metadata = {"name": "n1", "uid": "u", "creationTimestamp": "t"}
        obj = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"conditions": [condition]}}
        story.change(KEYS.of(NODES, "system", "", "n1"), orjson.dumps(obj))
    assert [kind for kind, _, _ in await told(watcher)] == ["ADDED", "MODIFIED"]


async def test_writing_to_watchers_leaves_others_as_much_time_as_it_took() -> None:
    story, now = Story(), [0.0]
    story.watchers = Watchers(lambda: now[0])

    class Slow(Client):
        def write(self, pieces: Sequence[bytes]) -> None:
            super().write(pieces)
            now[0] += 0.005

    watcher, client = story.watch("acme"), Slow()
    watcher.outlet = client
    waiting = asyncio.create_task(watcher.next(60))
    await asyncio.sleep(0)
    for name in "abc":
        story.pod("acme", name)
    assert client.writes == [1]  # the others wait for the end of the rest
    while len(client.writes) < 2:
        await asyncio.sleep(0)
    assert client.writes == [1, 2]
    assert not waiting.done()
    story.watchers.end_all()
    await waiting
