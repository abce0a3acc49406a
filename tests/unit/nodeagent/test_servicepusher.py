"""When a pod's service tables are pushed. Time is virtual."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.servicepusher import MAX_DELAY_SECONDS, QUIET_SECONDS, RETRY_SECONDS, ServicePusher

pytestmark = pytest.mark.looptime


class Views:
    """Services that a test adds one by one."""

    def __init__(self, protocol: str) -> None:
        self.names: list[str] = []
        self.address = "10.0.0.5"
        self._protocol, self._generation = protocol, 0
        self._changed = asyncio.Event()

    def add(self) -> None:
        self.names.append(f"s{len(self.names)}")
        self._tell()

    def move(self, address: str) -> None:
        self.address = address
        self._tell()

    def _tell(self) -> None:
        self._generation += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def services(self, tenant: str) -> list[Service]:
        return [
            Service.from_dict(
                {
                    "metadata": {"name": name, "namespace": "web"},
                    "spec": {
                        "clusterIP": f"10.254.0.{10 + number}",
                        "ports": [{"port": 80, "protocol": self._protocol}],
                    },
                }
            )
            for number, name in enumerate(self.names)
        ]

    def slices(self, tenant: str) -> list[Any]:
        return [
            EndpointSlice.from_dict(
                {
                    "metadata": {"name": name, "namespace": "web", "labels": {"kubernetes.io/service-name": name}},
                    "addressType": "IPv4",
                    "ports": [{"port": 80, "protocol": self._protocol}],
                    "endpoints": [{"addresses": [self.address]}],
                }
            )
            for name in self.names
        ]

    async def wait_synced(self, tenant: str) -> None:
        """They are known from the start."""

    async def changed(self, tenant: str, seen: int) -> int:
        while seen == self._generation:
            await self._changed.wait()
        return self._generation


class Machine:
    id = "m1"

    def __init__(self, *, idle: bool = False) -> None:
        self.services_idle = idle
        self.pushes: list[tuple[float, int]] = []  # when, and how many services
        self.told: list[tuple[bool, list[str] | None]] = []  # whether nftables' tables, and what HAProxy
        self.failures = 0

    async def set_services(
        self, haproxy: bytes, maps: Any, nftables: bytes | None, commands: list[str] | None = None
    ) -> None:
        self.told.append((nftables is not None, commands))
        if self.failures:
            self.failures -= 1
            raise MachineError("LinkLost", "gone for a moment")
        self.pushes.append(
            (asyncio.get_running_loop().time(), haproxy.count(b"  server") + (nftables or b"").count(b"dnat"))
        )


@asynccontextmanager
async def pushing(protocol: str = "UDP", *, idle: bool = False) -> AsyncIterator[tuple[Views, Machine]]:
    """After the first push."""
    views, machine = Views(protocol), Machine(idle=idle)
    views.add()
    pusher = ServicePusher(views, machine, tenant="acme", pod_uid="u", service_cidr="10.254.0.0/16")  # type: ignore[arg-type]
    await pusher.push()
    task = asyncio.create_task(pusher.run())
    try:
        yield views, machine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_first_push_is_immediate_and_not_repeated() -> None:
    async with pushing() as (_, machine):
        await asyncio.sleep(100)
        assert machine.pushes == [(0.0, 1)]


async def test_changes_close_together_are_one_push() -> None:
    async with pushing() as (views, machine):
        await asyncio.sleep(50)
        for _ in range(5):
            views.add()
            await asyncio.sleep(QUIET_SECONDS * 0.4)
        await asyncio.sleep(50)
        assert [count for _, count in machine.pushes] == [1, 6]


async def test_changes_that_never_pause_are_pushed_all_the_same() -> None:
    async with pushing() as (views, machine):
        await asyncio.sleep(50)
        for _ in range(40):
            views.add()
            await asyncio.sleep(MAX_DELAY_SECONDS / 10)
        await asyncio.sleep(50)
        times = [moment for moment, _ in machine.pushes[1:]]
        assert 4 <= len(times) <= 6, "four times as long as a push waits"
        assert times[0] == pytest.approx(50 + MAX_DELAY_SECONDS)
        assert machine.pushes[-1][1] == 41


async def test_a_push_that_fails_is_tried_again() -> None:
    async with pushing() as (views, machine):
        await asyncio.sleep(50)
        machine.failures = 2
        views.add()
        await asyncio.sleep(3 * RETRY_SECONDS)
        assert [count for _, count in machine.pushes] == [1, 2]


async def test_a_clone_and_each_change_of_endpoints_are_told_by_commands() -> None:
    async with pushing("TCP", idle=True) as (views, machine):
        await asyncio.sleep(50)
        views.move("10.0.0.6")
        await asyncio.sleep(50)
        first, second = machine.told
        assert first[0]
        assert first[1] == [
            "add server slot0/10.0.0.5_80 10.0.0.5:80;enable server slot0/10.0.0.5_80;"
            "add map /services/services.map 10.254.0.10:80 slot0"
        ]
        assert not second[0], "the packet filter has nothing to learn"
        assert second[1] is not None
        assert "del server slot0/10.0.0.5_80" in second[1][0]


async def test_a_machine_of_which_nothing_is_known_loads_its_configuration() -> None:
    async with pushing("TCP") as (_, machine):
        assert machine.told == [(True, None)]


async def test_after_a_push_that_failed_the_configuration_is_loaded() -> None:
    async with pushing("TCP", idle=True) as (views, machine):
        machine.failures = 1
        views.move("10.0.0.6")
        await asyncio.sleep(3 * RETRY_SECONDS)
        assert machine.told[-1] == (True, None)
