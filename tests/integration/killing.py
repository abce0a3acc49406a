"""hn-controllers of which there are always two, and one is killed every few seconds."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypernetes.api.models.coordination_v1 import Lease
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import REQUEST_ERRORS, Client
from hypernetes.controllers.manager import COMPONENT
from hypernetes.controllers.membership import GENERATION, MEMBER_LABEL
from tests.integration.control_plane import ControlPlane

_NAMES = ("controllers-a", "controllers-b")
_EVERY_SECONDS = (2.0, 5.0)  # from when both are at work
_LONGEST_SECONDS = 20.0  # until one is killed though they aren't, as on a busy machine
_LEASE_SECONDS = 5  # so that the other soon does what the killed one did


@asynccontextmanager
async def two_controllers_of_which_one_is_killed(plane: ControlPlane) -> AsyncIterator[None]:
    async with plane.client() as client:
        for name in _NAMES:
            await _start(plane, name)
        killing = asyncio.create_task(_kill(plane, client))
        try:
            yield
            assert not killing.done(), killing.exception()
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)


async def _start(plane: ControlPlane, name: str) -> None:
    await plane.start(name, "--lease-seconds", str(_LEASE_SECONDS))


async def _kill(plane: ControlPlane, client: Client) -> None:
    while True:
        await _until_both_work(plane, client)
        await asyncio.sleep(random.uniform(*_EVERY_SECONDS))
        name = random.choice(_NAMES)
        await plane.stop(name, signal.SIGKILL)
        await _start(plane, name)


async def _until_both_work(plane: ControlPlane, client: Client) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + _LONGEST_SECONDS
    while loop.time() < until:
        for name in _NAMES:
            if plane.has_ended(name):  # it couldn't renew its Lease in time: then it ends by itself
                await plane.stop(name)
                await _start(plane, name)
        if await _working(client) == len(_NAMES):
            return
        await asyncio.sleep(0.3)


async def _working(client: Client) -> int:
    """How many members have confirmed an assignment."""
    selector = f"{MEMBER_LABEL}={COMPONENT}"
    try:
        found = await client.list(Lease, tenant=SYSTEM_TENANT, namespace="kube-system", label_selector=selector)
    except REQUEST_ERRORS:
        return 0
    return sum(GENERATION in lease.metadata.annotations for lease in found.items)
