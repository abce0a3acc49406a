"""When a pod's service tables are pushed. Time is virtual."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.servicepusher import MAX_DELAY_SECONDS, RETRY_SECONDS, ServicePusher

pytestmark = pytest.mark.looptime


class Views:
    """Services that a test adds one by one."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._changed = asyncio.Event()

    def add(self) -> None:
        self.names.append(f"s{len(self.names)}")
        self._changed.set()
        self._changed = asyncio.Event()

    def services(self, tenant: str) -> list[Service]:
        return [
            Service.from_dict(
                {
                    "metadata": {"name": name, "namespace": "web"},
                    "spec": {"clusterIP": f"10.254.0.{10 + number}", "ports": [{"port": 80, "protocol": "UDP"}]},
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
                    "ports": [{"port": 80, "protocol": "UDP"}],
                    "endpoints": [{"addresses": ["10.0.0.5"]}],
                }
            )
            for name in self.names
        ]

    async def wait_synced(self, tenant: str) -> None:
        """They are known from the start."""

    def generation(self, tenant: str) -> int:
        return len(self.names)

    async def changed(self, tenant: str, seen: int) -> int:
        while seen == len(self.names):
            await self._changed.wait()
        return len(self.names)


class Machine:
    id = "m1"

    def __init__(self) -> None:
        self.pushes: list[tuple[float, int]] = []  # when, and how many services
        self.failures = 0

    async def set_services(self, haproxy: bytes, maps: Any, nftables: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise MachineError("LinkLost", "gone for a moment")
        self.pushes.append((asyncio.get_running_loop().time(), nftables.count(b"dnat")))


@asynccontextmanager
async def pushing() -> AsyncIterator[tuple[Views, Machine]]:
    """After the first push."""
    views, machine = Views(), Machine()
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
            await asyncio.sleep(0.2)
        await asyncio.sleep(50)
        assert [count for _, count in machine.pushes] == [1, 6]


async def test_changes_that_never_pause_are_pushed_all_the_same() -> None:
    async with pushing() as (views, machine):
        await asyncio.sleep(50)
        for _ in range(40):
            views.add()
            await asyncio.sleep(0.2)
        await asyncio.sleep(50)
        times = [moment for moment, _ in machine.pushes[1:]]
        assert 4 <= len(times) <= 6, "8 s of changes"
        assert times[0] == pytest.approx(50 + MAX_DELAY_SECONDS)
        assert machine.pushes[-1][1] == 41


async def test_a_push_that_fails_is_tried_again() -> None:
    async with pushing() as (views, machine):
        await asyncio.sleep(50)
        machine.failures = 2
        views.add()
        await asyncio.sleep(3 * RETRY_SECONDS)
        assert [count for _, count in machine.pushes] == [1, 2]
