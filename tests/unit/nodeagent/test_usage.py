"""What pods use, by samples of what their machines say."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hypernetes.nodeagent.containers import ContainerRecord, Phase
from hypernetes.nodeagent.runtime import messages
from hypernetes.nodeagent.runtime.base import ContainerUsage, MachineError, MachineUsage
from hypernetes.nodeagent.runtime.frames import Fields, MessageBuilder
from hypernetes.nodeagent.runtime.protocol import Tag
from hypernetes.nodeagent.usage import Rate, Sampler, rates, read_meter

MIB = 1 << 20


def record(name: str, attempt: int = 0, phase: Phase = Phase.RUNNING) -> ContainerRecord:
    return ContainerRecord(name, attempt=attempt, phase=phase)


def used(**containers: tuple[float, int]) -> dict[str, ContainerUsage]:
    return {f"{name}.0": ContainerUsage(*each) for name, each in containers.items()}


def test_cpu_is_the_difference_of_two_counters() -> None:
    records = {"web": record("web"), "side": record("side")}
    found = rates(used(web=(10, 0), side=(1, 0)), used(web=(17.5, 5 * MIB), side=(1, MIB)), records, 15)
    assert found == {"web": Rate(500_000_000, 5 * MIB), "side": Rate(0, MIB)}


def test_a_container_that_just_began_has_no_value_and_so_its_pod_has_none() -> None:
    records = {"web": record("web"), "side": record("side")}
    assert rates(used(web=(10, 0)), used(web=(11, 0), side=(1, 0)), records, 15) is None
    assert rates(used(web=(10, 0)), used(web=(11, 0)), {"web": record("web", attempt=1)}, 15) is None


def test_containers_that_do_not_run_are_left_out() -> None:
    records = {"init": record("init", phase=Phase.EXITED), "web": record("web")}
    assert rates(used(web=(0, 0)), used(web=(15, 0)), records, 15) == {"web": Rate(1_000_000_000, 0)}
    assert rates({}, {}, {"web": record("web", phase=Phase.WAITING)}, 15) is None


def test_whatever_a_guest_says_comes_out_as_a_number_within_bounds() -> None:
    records = {"web": record("web")}
    assert rates(used(web=(10, 0)), used(web=(2, 0)), records, 15) == {"web": Rate(0, 0)}
    most = 1 << 53
    assert rates(used(web=(0, 0)), used(web=(2.0**63, 1 << 64)), records, 15) == {"web": Rate(most, most)}


def test_a_guests_answer_is_read() -> None:
    one = MessageBuilder().blob(Tag.NAME, b"web.0").number(Tag.CPU_TIME, 2_500_000).number(Tag.MEMORY, MIB).build()
    answer = MessageBuilder().number(Tag.MEMORY, 30 * MIB).blob(Tag.CONTAINER, one).build()
    assert messages.parse_usage(Fields(answer)) == MachineUsage(30 * MIB, {"web.0": ContainerUsage(2.5, MIB)})


class Guest:
    """A machine whose containers burn half a core."""

    def __init__(self) -> None:
        self.broken = False

    async def usage(self) -> MachineUsage:
        if self.broken:
            raise MachineError("LinkLost", "the link is lost")
        return MachineUsage(0, used(web=(asyncio.get_running_loop().time() / 2, MIB)))


def worker(guest: Any) -> Any:
    names = {"uid": "u", "tenant": "acme", "namespace": "prod", "name": "a", "containers": {"web": record("web")}}
    return SimpleNamespace(record=SimpleNamespace(**names), machine=guest)


@pytest.mark.looptime
async def test_pods_and_the_node_are_sampled() -> None:
    guest = Guest()
    workers = [worker(guest), worker(None)]
    moments = iter([(100.0, 3 * MIB), (130.0, 4 * MIB), (145.0, 5 * MIB)])
    sampler = Sampler(lambda: workers, lambda: next(moments))
    await sampler.sample()
    assert sampler.told() == {"node": None, "pods": []}
    await asyncio.sleep(15)
    await sampler.sample()
    told = sampler.told()
    assert (told["node"]["cpu"], told["node"]["memory"], told["node"]["window"]) == (2_000_000_000, 4 * MIB, 15)
    (pod,) = told["pods"]
    assert pod["containers"] == {"web": {"cpu": 500_000_000, "memory": MIB}}
    assert (pod["tenant"], pod["namespace"], pod["name"], pod["uid"], pod["window"]) == ("acme", "prod", "a", "u", 15)
    guest.broken = True
    await sampler.sample()
    assert sampler.told()["pods"] == []


@pytest.mark.looptime
async def test_a_machine_that_does_not_answer_holds_up_no_other() -> None:
    class Silent:
        async def usage(self) -> MachineUsage:
            await asyncio.Event().wait()
            raise AssertionError

    silent, well = worker(Silent()), worker(Guest())
    silent.record.uid = "silent"
    sampler = Sampler(lambda: [silent, well], None)
    await sampler.sample()
    await asyncio.sleep(10)
    await sampler.sample()
    told = sampler.told()
    assert [pod["uid"] for pod in told["pods"]] == ["u"]
    assert (told["node"]["cpu"], told["node"]["memory"]) == (500_000_000, MIB)
    workers: list[Any] = []
    sampler._workers = lambda: workers
    await sampler.sample()
    assert sampler.told()["pods"] == []


def test_this_machines_own_counters_can_be_read() -> None:
    cpu_seconds, memory = read_meter()
    assert cpu_seconds > 0
    assert memory > MIB
