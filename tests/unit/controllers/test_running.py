"""Which controllers run, and what is told of them."""

import asyncio
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from hypernetes.client import Key, WorkQueue
from hypernetes.client.backoff import Backoff
from hypernetes.controllers import observing
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.observing import Observed
from hypernetes.controllers.podgarbage import PodGarbage
from hypernetes.controllers.selection import select
from tests.unit.controllers.fake_cluster import Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

KNOWN = ("cronjob", "deployment", "job")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("*", {"cronjob", "deployment", "job"}),
        ("-cronjob,*", {"deployment", "job"}),
        ("*,-cronjob,-job", {"deployment"}),
        ("job", {"job"}),
        ("job, deployment ,-job", {"deployment"}),
        ("", set()),
    ],
)
def test_controllers_are_chosen_by_name(asked: str, found: set[str]) -> None:
    assert select(KNOWN, asked) == found


@pytest.mark.parametrize("asked", ["jobs", "*,-jobs", "job,cron"])
def test_a_name_that_isnt_known_is_told_with_those_that_are(asked: str) -> None:
    with pytest.raises(ValueError, match=r"there are: cronjob, deployment, job"):
        select(KNOWN, asked)


async def ask(observed: Observed, path: str) -> tuple[int, str]:
    async with (
        observing.serving(observed, "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


def controller(name: str, queue: WorkQueue[str]) -> Any:
    return SimpleNamespace(name=name, queue=queue)


async def test_queues_are_counted_under_upstreams_names() -> None:
    queue: WorkQueue[str] = WorkQueue("job", Backoff(first=60.0, longest=60.0))
    queue.add("a")
    queue.add("a")
    queue.add("b")
    key = await queue.get()
    queue.add_rate_limited(key)
    observed = Observed()
    observed.controllers = [controller("job", queue)]
    status, text = await ask(observed, "/metrics")
    assert status == 200
    for line in (
        'workqueue_depth{name="job"} 1.0',
        'workqueue_adds_total{name="job"} 2.0',
        'workqueue_retries_total{name="job"} 1.0',
        'workqueue_queue_duration_seconds_count{name="job"} 1.0',
        'workqueue_work_duration_seconds_count{name="job"} 0.0',
    ):
        assert line in text.splitlines()
    queue.done(key)
    assert 'workqueue_work_duration_seconds_count{name="job"} 1.0' in (await ask(observed, "/metrics"))[1]
    queue.close()


async def test_health_names_the_controller_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    well: WorkQueue[str] = WorkQueue("job")
    hangs: WorkQueue[str] = WorkQueue("cronjob")
    observed = Observed()
    assert await ask(observed, "/healthz") == (200, "ok")
    assert "[+]standby ok" in (await ask(observed, "/healthz?verbose"))[1]
    observed.controllers = [controller("job", well), controller("cronjob", hangs)]
    hangs.add("key")
    await hangs.get()
    assert await ask(observed, "/healthz") == (200, "ok")
    monkeypatch.setattr(observing, "HANGING_SECONDS", 0.0)
    await asyncio.sleep(0.01)
    status, text = await ask(observed, "/healthz")
    assert status == 500
    assert {"[+]member ok", "[-]cronjob failed"} <= set(text.splitlines())


class Quick(Controller):
    """Finds that nothing is to be done, without asking anybody."""

    name = "quick"

    async def reconcile(self, key: Key) -> float | None:
        return None


async def test_others_have_turns_while_thousands_of_keys_need_no_waiting() -> None:
    nobody: Any = None
    quick = Quick(nobody, Informers(nobody), nobody)
    for number in range(1000):
        quick.queue.add(Key("acme", "prod", f"pod-{number}"))
    task = asyncio.create_task(quick.run())
    turns = 0
    while len(quick.queue):
        await asyncio.sleep(0)
        turns += 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert turns > 100, "10,000 keys in one go keep a Lease from being renewed"


def finished(name: str, tenant_age: int) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "web:1"}], "nodeName": "n1"}
    metadata = {"name": name, "namespace": "prod"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Succeeded"}}


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
class TestPodGarbage:
    async def test_the_oldest_finished_pods_of_a_tenant_go_when_there_are_too_many(self) -> None:
        async with Story(lambda *shared: PodGarbage(*shared, limit=3)).running() as cluster:
            for number in range(5):
                await cluster.put(finished(f"done-{number}", number))
                await settle(2)
            for number in range(3):
                await cluster.put(finished(f"other-{number}", number), "globex")
            await settle(60)
            assert cluster.names("Pod") == ["done-2", "done-3", "done-4"]
            assert len(cluster.names("Pod", "globex")) == 3

    async def test_a_deleted_pod_that_never_had_a_node_goes(self) -> None:
        story = Story(PodGarbage)
        story.kubelet.stopped = True
        async with story.running() as cluster:
            pod = finished("waiting", 0)
            del pod["spec"]["nodeName"], pod["status"]
            pod["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
            await cluster.put(pod)
            await settle()
            assert cluster.names("Pod") == []
