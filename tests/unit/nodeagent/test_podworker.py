"""Stories of pods on a node. Time is virtual: `asyncio.sleep(300)` takes none."""

import asyncio
import errno
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.api.models.core_v1 import ContainerStatus, Pod
from hypernetes.api.models.hypernetes_v1 import Port
from hypernetes.nodeagent.podrecord import PodRecord, Step
from hypernetes.nodeagent.podworker import PodWorker
from hypernetes.nodeagent.runtime.base import MachineError, Output
from tests.unit.nodeagent.fakes import TENANT, World, now

pytestmark = pytest.mark.looptime


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def at_work(world: World, pod: Pod, record: PodRecord | None = None) -> AsyncIterator[PodWorker]:
    """A worker that lives; at the end it is cut off, as by the agent's death."""
    record = record or PodRecord.of(pod, TENANT)
    machines = await world.runtime.adopt({uid: Any for uid in world.runtime.machines})  # type: ignore[misc]
    worker = PodWorker(world.parts, pod, record, machines.get(record.uid))
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and (error := task.exception()):
            raise error


def saved(world: World, uid: str = "uid-app") -> PodRecord:
    """The record as a new agent reads it."""
    return next(record for record in world.records.load() if record.uid == uid)


async def until(condition: Callable[[], bool], seconds: float = 400) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def container(world: World, index: int = 0) -> ContainerStatus:
    return world.stored().status.container_statuses[index]


def is_running(world: World) -> bool:
    status = world.stored().status
    return status.phase == "Running" and any(c.type == "Ready" and c.status == "True" for c in status.conditions)


async def test_a_pod_comes_up_with_address_services_and_a_ready_status(world: World) -> None:
    async with at_work(world, world.pod()):
        await until(lambda: is_running(world))
        machine, status = world.machine(), world.stored().status
        assert machine.config is not None
        assert machine.config.network is not None
        assert machine.config.network.address == f"{status.pod_ip}/24"
        assert machine.config.network.mtu == 1450
        assert machine.services, "tables are in force before the first container"
        assert status.qos_class == "BestEffort"
        assert status.host_ip == "127.0.0.1"
        assert container(world).restart_count == 0
        port = await world.client.get(Port, f"default.{status.pod_ip}", tenant=TENANT)
        assert port.spec.pod_ref.uid == "uid-app"
        assert world.events.reasons == ["MachineSized", "Pulling", "Pulled", "Created", "Started"]


async def test_a_taken_address_is_skipped_and_an_asked_one_is_honoured(world: World) -> None:
    annotated = world.pod()
    annotated.metadata.annotations["hypernetes.io/ip-address"] = "10.0.0.77"
    async with at_work(world, annotated):
        await until(lambda: is_running(world))
        assert world.stored().status.pod_ip == "10.0.0.77"


async def test_an_agent_that_dies_finds_the_running_pod_as_it_was(world: World) -> None:
    pod = world.pod()
    async with at_work(world, pod):
        await until(lambda: is_running(world))
    before = (world.machine().boot_id, world.stored().status.pod_ip)
    async with at_work(world, world.stored(), saved(world)):
        await asyncio.sleep(60)
        assert (world.machine().boot_id, world.stored().status.pod_ip) == before
        assert len(world.machine().started) == 1
        assert container(world).restart_count == 0
        assert len(world.runtime.created) == 1
        assert is_running(world)


async def test_an_exit_that_nobody_saw_is_taken_in_after_adoption(world: World) -> None:
    async with at_work(world, world.pod(restartPolicy="Never")):
        await until(lambda: is_running(world))
    world.machine().exit("main.0", 3)
    async with at_work(world, world.stored(), saved(world)):
        await until(lambda: world.stored().status.phase == "Failed")
        state = container(world).state
        assert state is not None
        assert state.terminated is not None
        assert state.terminated.exit_code == 3
        assert container(world).restart_count == 0


async def test_a_container_started_just_before_the_agent_died_is_not_started_twice(world: World) -> None:
    async with at_work(world, world.pod()):
        await until(lambda: is_running(world))
    record = saved(world)
    record.containers["main"] = type(record.containers["main"])("main")  # as before the start was saved
    async with at_work(world, world.stored(), record):
        await asyncio.sleep(30)
        assert [spec.id for spec in world.machine().started] == ["main.0"]
        assert is_running(world)


async def test_after_a_power_cut_the_pod_has_its_uid_and_address_and_one_restart_more(world: World) -> None:
    async with at_work(world, world.pod()):
        await until(lambda: is_running(world))
        address = world.stored().status.pod_ip
    world.runtime.machines.clear()
    async with at_work(world, world.stored(), saved(world)):
        await until(lambda: is_running(world) and container(world).restart_count == 1)
        assert world.stored().status.pod_ip == address
        assert len(world.runtime.created) == 2
        last = container(world).last_state
        assert last is not None
        assert last.terminated is not None
        assert (last.terminated.reason, last.terminated.exit_code) == ("Unknown", 255)


async def test_a_machine_that_dies_under_the_agent_is_booted_again(world: World) -> None:
    async with at_work(world, world.pod()):
        await until(lambda: is_running(world))
        world.machine().die()
        await until(lambda: len(world.runtime.created) == 2)
        await until(lambda: is_running(world))
        assert container(world).restart_count == 1


async def test_init_containers_run_again_in_a_new_machine(world: World) -> None:
    spec: dict[str, Any] = {"initContainers": [{"name": "init", "image": "img:1"}]}
    async with at_work(world, world.pod(**spec)):
        await until(lambda: bool(world.runtime.machines) and bool(world.machine().started))
        world.machine().exit("init.0", 0)
        await until(lambda: is_running(world))
        world.machine().die()
        await until(lambda: len(world.runtime.created) == 2 and bool(world.machine().started))
        assert [spec.id for spec in world.machine().started] == ["init.1"]
        world.machine().exit("init.1", 0)
        await until(lambda: is_running(world))
        assert [spec.id for spec in world.machine().started] == ["init.1", "main.1"]


async def test_a_pod_that_never_restarts_ends_with_its_machine(world: World) -> None:
    async with at_work(world, world.pod(restartPolicy="Never")):
        await until(lambda: is_running(world))
        world.machine().die()
        await until(lambda: world.stored().status.phase == "Failed")
        assert len(world.runtime.created) == 1


async def test_a_crash_loop_backs_off_and_shows_it(world: World) -> None:
    async with at_work(world, world.pod()):
        await until(lambda: is_running(world))
        starts = [now()]
        for attempt in range(4):
            world.machine().exit(f"main.{attempt}", 1)
            await until(lambda: len(world.machine().started) == len(starts) + 1)
            starts.append(now())
        waits = [round(later - earlier) for earlier, later in itertools.pairwise(starts)]
        assert waits == [0, 10, 20, 40]
        world.machine().exit("main.4", 1)
        await until(lambda: bool((shown := container(world).state) and shown.waiting))
        state = container(world).state
        assert state is not None
        assert state.waiting is not None
        assert state.waiting.reason == "CrashLoopBackOff"
        assert "back-off 1m20s" in (state.waiting.message or "")
        assert world.stored().status.phase == "Running"


async def test_an_image_that_is_not_there_is_said_and_tried_again(world: World) -> None:
    world.puller.absent.add("img:1")
    seen: set[str | None] = set()
    async with at_work(world, world.pod()):
        async with asyncio.timeout(100):
            while len(seen) < 2:
                for status in world.client.statuses:
                    for each in status.container_statuses:
                        if each.state and each.state.waiting and "Image" in (each.state.waiting.reason or ""):
                            seen.add(each.state.waiting.reason)
                await asyncio.sleep(0.1)
        assert seen == {"ErrImagePull", "ImagePullBackOff"}
        assert world.stored().status.phase == "Pending"
        world.puller.absent.clear()
        await until(lambda: is_running(world))
        assert container(world).restart_count == 0


async def test_a_command_that_is_not_in_the_image_is_a_run_container_error(world: World) -> None:
    pod = world.pod(containers=[{"name": "main", "image": "img:1", "command": ["/bin/nope"]}])
    world.runtime.missing_commands.add("/bin/nope")
    async with at_work(world, pod):
        await until(lambda: bool(world.stored().status.container_statuses) and container(world).last_state is not None)
        state = container(world).state
        assert state is not None
        assert state.waiting is not None
        assert state.waiting.reason == "RunContainerError"
        assert "no such file" in (state.waiting.message or "")


async def test_too_little_memory_is_an_event_and_the_pod_waits(world: World) -> None:
    world.runtime.failures.append(MachineError("OutOfMemory", "the node has 64 MiB left, the pod needs 192"))
    async with at_work(world, world.pod()):
        await until(lambda: is_running(world))
        assert ("FailedCreatePodSandBox" in world.events.reasons) is True
        assert any("the node has 64 MiB left" in message for _, message in world.events.seen)


async def test_a_machine_that_cannot_be_made_is_tried_after_a_second_and_ever_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[float] = []

    async def full(spec: Any, services: Any) -> Any:
        attempts.append(now())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/nodes/n1/machines/uid-app")

    create = world.runtime.create
    monkeypatch.setattr(world.runtime, "create", full)
    async with at_work(world, world.pod()):
        await until(lambda: len(attempts) == 12, seconds=3600)
        waits = [round(later - earlier) for earlier, later in itertools.pairwise(attempts)]
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
        assert world.stored().status.phase == "Pending"
        messages = {message for reason, message in world.events.seen if reason == "FailedCreatePodSandBox"}
        assert len(messages) == 1, "one text, so that its Events are counted as one"
        assert "disk is full" in messages.pop()
        monkeypatch.setattr(world.runtime, "create", create)
        await until(lambda: is_running(world))


def deleting(pod: Pod, grace: int) -> Pod:
    moment = times.format_time(
        times.parse_time("2027-01-15T08:00:00Z").fromtimestamp(now() + grace, times.now().tzinfo)
    )
    metadata = pod.metadata.model_copy(update={"deletion_timestamp": moment, "deletion_grace_period_seconds": grace})
    return pod.model_copy(update={"metadata": metadata})


async def test_a_deleted_pod_gets_its_signal_and_leaves_nothing(world: World) -> None:
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        address = world.stored().status.pod_ip
        worker.update(world.client.put(deleting(world.stored(), 30)))
        await until(lambda: "app" in world.client.deleted)
        await asyncio.sleep(1)
        assert world.machine().signals == [("main.0", 15)]
        assert world.machine().off
        assert world.network.ports == {}
        assert ("Port", TENANT, "", f"default.{address}") not in world.client.objects
        assert list(world.records.load()) == []
        last = world.client.statuses[-1].container_statuses[0].state.terminated
        assert last.exit_code == 143


async def test_the_end_of_a_deleted_pod_is_one_status(world: World) -> None:
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        told = len(world.client.statuses)
        worker.update(world.client.put(deleting(world.stored(), 30)))
        await until(lambda: "app" in world.client.deleted)
        assert [status.phase for status in world.client.statuses[told:]] == ["Failed"]


async def test_a_deleted_pod_whose_machine_stays_tells_that_its_container_runs_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck(port_id: str) -> None:
        raise OSError(errno.EBUSY, "busy")

    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        monkeypatch.setattr(world.network, "unplug", stuck)
        worker.update(world.client.put(deleting(world.stored(), 30)))
        await until(lambda: container(world).state.running is None)
        assert not world.client.deleted


async def test_a_container_that_ignores_its_signal_is_killed_after_the_grace_period(world: World) -> None:
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        world.machine().stubborn.add("main.0")
        begun = now()
        worker.update(world.client.put(deleting(world.stored(), 20)))
        await until(lambda: "app" in world.client.deleted)
        assert world.machine().signals == [("main.0", 15), ("main.0", 9)]
        assert 18 <= now() - begun <= 22


async def test_a_pod_deleted_before_it_booted_is_just_removed(world: World) -> None:
    world.client.objects.pop(("Network", TENANT, "", "default"))
    async with at_work(world, world.pod()) as worker:
        await asyncio.sleep(10)
        worker.update(world.client.put(deleting(world.stored(), 30)))
        await until(lambda: "app" in world.client.deleted)
        assert world.runtime.created == []


async def test_a_termination_interrupted_by_the_agents_death_is_finished_by_the_next(world: World) -> None:
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        world.machine().stubborn.add("main.0")
        worker.update(world.client.put(deleting(world.stored(), 30)))
        await until(lambda: worker.record.step is Step.TERMINATING and bool(world.machine().signals))
    async with at_work(world, world.stored(), saved(world)):
        await until(lambda: "app" in world.client.deleted)
        assert world.machine().off


async def test_a_pod_gone_from_the_api_is_ended_without_asking(world: World) -> None:
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        del world.client.objects["Pod", TENANT, "web", "app"]
        worker.deleted()
        await until(lambda: not list(world.records.load()))
        assert world.machine().off
        assert world.network.ports == {}


async def test_a_finished_pod_gives_back_its_machine_and_address(world: World) -> None:
    async with at_work(world, world.pod(restartPolicy="OnFailure")):
        await until(lambda: is_running(world))
        world.machine().exit("main.0", 0)
        await until(lambda: world.stored().status.phase == "Succeeded")
        await until(lambda: world.machine().off and not world.network.ports)
        assert not [key for key in world.client.objects if key[0] == "Port"]


async def test_output_is_on_disk_before_it_is_acknowledged(world: World) -> None:
    async with at_work(world, world.pod()) as worker:
        await until(lambda: is_running(world))
        world.machine().say("main.0", b"hello\n", 17)
        await until(lambda: world.machine().acknowledged == 17)
        assert b" stdout F hello\n" in worker.logs.path("main.0").read_bytes()


async def test_a_liveness_probe_that_fails_restarts_the_container(world: World) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 5, "failureThreshold": 2}
    pod = world.pod(containers=[{"name": "main", "image": "img:1", "livenessProbe": probe}])
    world.runtime.exec_codes[:] = [0, 1, 1, 0]
    async with at_work(world, pod):
        await until(lambda: is_running(world))
        await until(lambda: container(world).restart_count == 1, seconds=120)
        assert "Unhealthy" in world.events.reasons
        assert "Killing" in world.events.reasons


async def test_a_readiness_probe_decides_when_the_pod_is_ready(world: World) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 5}
    pod = world.pod(containers=[{"name": "main", "image": "img:1", "readinessProbe": probe}])
    world.runtime.exec_codes[:] = [1, 1, 0]
    async with at_work(world, pod):
        await until(lambda: bool(world.stored().status.container_statuses) and world.stored().status.phase == "Running")
        assert not container(world).ready
        await until(lambda: is_running(world))


async def test_an_api_server_that_is_away_delays_status_only(world: World) -> None:
    async with at_work(world, world.pod()):
        await until(lambda: is_running(world))
        world.client.down = True
        world.machine().exit("main.0", 1)
        await asyncio.sleep(60)
        assert len(world.machine().started) == 2 or "main.1" not in world.machine().states
        world.client.down = False
        await until(lambda: container(world).restart_count >= 1)


async def test_a_deadline_ends_the_pod(world: World) -> None:
    async with at_work(world, world.pod(activeDeadlineSeconds=50)):
        await until(lambda: is_running(world))
        assert is_running(world)
        begun = now()
        await until(lambda: world.stored().status.phase == "Failed")
        assert world.stored().status.reason == "DeadlineExceeded"
        assert 45 <= now() - begun <= 55
        assert world.machine().signals == [("main.0", 15)]


async def test_a_pod_that_asks_for_the_host_waits_and_says_what_to_use_instead(world: World) -> None:
    async with at_work(world, world.pod(hostNetwork=True)):
        await until(lambda: bool(world.events.seen))
        reason, message = world.events.seen[0]
        assert reason == "FailedCreatePodSandBox"
        assert "hostNetwork: a pod is a machine on its tenant's network; publish ports with a Service" in message
        assert world.stored().status.phase in (None, "Pending")
        assert not world.runtime.machines


@pytest.mark.parametrize(("policy", "said"), [("FallbackToLogsOnError", "no such table\n"), ("File", None)])
async def test_what_a_failed_container_wrote_last_is_its_message(world: World, policy: str, said: str | None) -> None:
    container_ = {"name": "main", "image": "img:1", "terminationMessagePolicy": policy}
    async with at_work(world, world.pod(containers=[container_], restartPolicy="Never")) as worker:
        await until(lambda: is_running(world))
        worker.logs.write(Output("main.0", "stderr", now(), b"no such table\n", 1))
        world.machine().exit("main.0", 1)
        await until(lambda: world.stored().status.phase == "Failed")
        terminated = container(world).state.terminated
        assert terminated is not None
        assert terminated.message == said


async def test_a_pod_beyond_a_limit_of_its_disk_is_evicted_with_its_grace(world: World) -> None:
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "m", "emptyDir": {"medium": "Memory"}}]
    async with at_work(world, world.pod(volumes=volumes)):
        await until(lambda: is_running(world))
        world.machine().measures = {"v": 1 << 20, "m": 1 << 30, "main.0": 1 << 30}
        await asyncio.sleep(60)
        assert is_running(world)
        world.machine().measures["v"] += 1
        await until(lambda: world.stored().status.phase == "Failed")
        assert world.stored().status.reason == "Evicted"
        assert "Evicted" in world.events.reasons
        assert (world.machine().signals, world.machine().off) == ([("main.0", 15)], True)


async def test_all_that_a_pod_keeps_on_disk_counts_together(world: World) -> None:
    limited = {"name": "main", "image": "img:1", "resources": {"limits": {"ephemeral-storage": "2Mi"}}}
    async with at_work(world, world.pod(containers=[limited], volumes=[{"name": "v", "emptyDir": {}}])):
        await until(lambda: is_running(world))
        world.machine().measures = {"v": 1 << 20, "main.0": (1 << 20) + 1}
        await until(lambda: world.stored().status.phase == "Failed")
        assert "total limit of containers 2097152" in (world.stored().status.message or "")
