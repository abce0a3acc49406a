"""Lists and watches: pages, selectors, resuming without loss."""

import asyncio
import secrets
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hypernetes.apiserver import server
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Store
from tests.integration.api.servers import User, serving

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}


async def create(admin: User, name: str, **labels: str) -> str:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
    answer = await admin("POST", CONFIG_MAPS, body)
    assert answer.status == 201, answer.body
    return answer.revision


async def test_pages_show_the_list_as_it_was_when_it_began(admin: User) -> None:
    for name in "abcde":
        await create(admin, name, page="yes")
    first = (await admin("GET", CONFIG_MAPS, labelSelector="page=yes", limit="2")).json
    await create(admin, "bb", page="yes")
    await admin("DELETE", f"{CONFIG_MAPS}/d")
    names = [item["metadata"]["name"] for item in first["items"]]
    token = first["metadata"]["continue"]
    while token:
        page = (await admin("GET", CONFIG_MAPS, **{"labelSelector": "page=yes", "limit": "2", "continue": token})).json
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
    assert names == list("abcde")


async def test_a_page_says_how_many_follow(admin: User) -> None:
    await create(admin, "a")
    page = (await admin("GET", CONFIG_MAPS, limit="1")).json
    assert page["metadata"]["remainingItemCount"] == 1  # kube-root-ca.crt


async def test_a_list_at_a_compacted_revision_is_gone_but_can_be_continued(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "Mirror", partial(Mirror, log_events=4))  # so that the store must be asked
    async with serving(store, tmp_path, f"t{secrets.token_hex(3)}") as admin:
        for name in "abcd":
            await create(admin, name, page="yes")
        query = {"limit": "2", "labelSelector": "page=yes"}
        first = (await admin("GET", CONFIG_MAPS, **query)).json
        for number in range(20):  # more than the log holds
            await create(admin, f"x{number}")
        await create(admin, "cc", page="yes")
        token = first["metadata"]["continue"]
        older = (await admin("GET", CONFIG_MAPS, **{**query, "continue": token})).json
        assert [item["metadata"]["name"] for item in older["items"]] == ["c", "d"]  # from the store's history
        revision = first["metadata"]["resourceVersion"]
        exact = (await admin("GET", CONFIG_MAPS, resourceVersion=revision, resourceVersionMatch="Exact")).json
        assert [item["metadata"]["name"] for item in exact["items"]] == ["a", "b", "c", "d", "kube-root-ca.crt"]
        await store.compact(int(await create(admin, "last")))
        gone = await admin("GET", CONFIG_MAPS, **{**query, "continue": token})
        assert (gone.status, gone.json["reason"]) == (410, "Expired")
        fresh = gone.json["metadata"]["continue"]
        rest = (await admin("GET", CONFIG_MAPS, **{**query, "continue": fresh})).json
        assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "cc"]
        exact = await admin("GET", CONFIG_MAPS, resourceVersion=revision, resourceVersionMatch="Exact")
        assert (exact.status, exact.json["reason"]) == (410, "Expired")


async def test_a_forged_token_or_revision_is_refused(admin: User) -> None:
    assert (await admin("GET", CONFIG_MAPS, **{"limit": "1", "continue": "WyJiIiwxLCIxIl0"})).status == 400
    assert (await admin("GET", CONFIG_MAPS, resourceVersion="x")).status == 400


async def test_a_resumed_watch_gets_every_event_once(admin: User) -> None:
    start = await create(admin, "zero")
    seen: list[tuple[str, str]] = []

    async def write() -> None:
        for number in range(40):
            await create(admin, f"n{number:02}")

    writing = asyncio.create_task(write())
    revision = start
    while len(seen) < 40:
        async with admin.watch(CONFIG_MAPS, resourceVersion=revision) as watch:
            for _ in range(min(7, 40 - len(seen))):  # then the connection "breaks"
                event = await watch.next()
                revision = event["object"]["metadata"]["resourceVersion"]
                seen.append((event["type"], event["object"]["metadata"]["name"]))
    await writing
    assert seen == [("ADDED", f"n{number:02}") for number in range(40)]


async def test_a_selector_turns_changes_into_additions_and_deletions(admin: User) -> None:
    revision = await create(admin, "a", color="red")
    async with admin.watch(CONFIG_MAPS, resourceVersion=revision, labelSelector="color=blue") as watch:
        for color in ("blue", "blue", "red"):
            body = {"metadata": {"labels": {"color": color}}, "data": {"x": color}}
            await admin("PATCH", f"{CONFIG_MAPS}/a", body, headers=MERGE)
        await admin("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"color": "blue"}}}, headers=MERGE)
        await admin("DELETE", f"{CONFIG_MAPS}/a")
        assert await watch.names(4) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]


async def test_initial_events_end_with_a_bookmark(admin: User) -> None:
    await create(admin, "a")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with admin.watch(CONFIG_MAPS, **query) as watch:
        assert await watch.names(2) == [("ADDED", "a"), ("ADDED", "kube-root-ca.crt")]
        mark = await watch.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await create(admin, "b")
        assert await watch.names(1) == [("ADDED", "b")]


async def test_a_watch_from_before_history_says_gone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "Mirror", partial(Mirror, log_events=4))
    async with serving(store, tmp_path, f"t{secrets.token_hex(3)}") as admin:
        old = await create(admin, "old")
        async with admin.watch(CONFIG_MAPS, resourceVersion=old, timeoutSeconds="1") as watch:
            assert await watch.ended()  # the log still reaches back so far
        for number in range(20):
            await create(admin, f"x{number}")
        async with admin.watch(CONFIG_MAPS, resourceVersion=old) as watch:
            event = await watch.next()
            assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
            assert await watch.ended()


async def test_a_watch_ends_when_its_time_is_up(admin: User) -> None:
    revision = await create(admin, "a")
    async with admin.watch(CONFIG_MAPS, resourceVersion=revision, timeoutSeconds="1") as watch:
        assert await watch.ended()


async def test_a_node_sees_its_own_pods_only(admin: User) -> None:
    revision = await create(admin, "a")
    async with admin.watch("/api/v1/pods", resourceVersion=revision, fieldSelector="spec.nodeName=n1") as watch:
        for name, node in (("p1", "n1"), ("p2", "n2"), ("p3", "")):
            spec: dict[str, Any] = {"containers": [{"name": "c", "image": "x"}], "nodeName": node}
            await admin("POST", PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        binding = {"metadata": {"name": "p3"}, "target": {"name": "n1"}}
        assert (await admin("POST", f"{PODS}/p3/binding", binding)).status == 201
        assert await watch.names(2) == [("ADDED", "p1"), ("ADDED", "p3")]


async def test_tables_are_streamed_row_by_row(admin: User) -> None:
    await create(admin, "a")
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    listed = (await admin("GET", CONFIG_MAPS, headers=table)).json
    assert listed["kind"] == "Table"
    assert [row["cells"][0] for row in listed["rows"]] == ["a", "kube-root-ca.crt"]


async def test_only_the_first_table_of_a_watch_has_columns(admin: User) -> None:
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    revision = await create(admin, "a")
    async with (
        admin.watch(CONFIG_MAPS, headers=table) as from_start,
        admin.watch(CONFIG_MAPS, headers=table, resourceVersion=revision) as resumed,
    ):
        await create(admin, "b")
        await create(admin, "c")
        columns = [len((await from_start.next())["object"]["columnDefinitions"]) for _ in range(4)]
        assert columns == [3, 0, 0, 0]
        assert [len((await resumed.next())["object"]["columnDefinitions"]) for _ in range(2)] == [3, 0]


@pytest.mark.parametrize("grace", [0, 30])
async def test_a_pod_is_modified_before_it_is_deleted(admin: User, grace: int) -> None:
    spec = {"containers": [{"name": "c", "image": "x"}], "nodeName": "n1"}
    made = await admin("POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
    async with admin.watch(PODS, resourceVersion=made.revision) as watch:
        deleted = await admin("DELETE", f"{PODS}/p", {"gracePeriodSeconds": grace, "preconditions": {
            "uid": made.json["metadata"]["uid"], "resourceVersion": made.revision,
        }})  # fmt: skip
        assert deleted.status == 200
        if grace:
            await admin("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})  # as the agent does at the end
        events = [await watch.next() for _ in range(3 if grace else 2)]
    assert [event["type"] for event in events] == ["MODIFIED"] * (len(events) - 1) + ["DELETED"]
    assert [event["object"]["metadata"]["deletionGracePeriodSeconds"] for event in events][-2:] == [0, 0]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert revisions == sorted(set(revisions))
    assert (await admin("GET", f"{PODS}/p")).status == 404


async def test_a_read_sees_every_write_acknowledged_before(admin: User) -> None:
    for number in range(20):
        await create(admin, f"n{number}")
        assert (await admin("GET", f"{CONFIG_MAPS}/n{number}")).status == 200
    assert len((await admin("GET", CONFIG_MAPS)).json["items"]) == 21


async def test_a_watch_of_a_deprecated_kind_warns(admin: User) -> None:
    async with admin.raw("/api/v1/endpoints?watch=true", {}) as response:
        assert [each[:6] for each in response.headers.getall("Warning")] == ["299 - "]
    async with admin.raw("/api/v1/services?watch=true", {}) as response:
        assert "Warning" not in response.headers
