"""A node opens while it is fenced: whatever the order of their steps, no client that isn't blocked gets to a guest."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.providers.volume.base import Unavailable
from hypernetes.providers.volume.cinder import ceph, fencing
from hypernetes.providers.volume.cinder.configuration import Credential
from hypernetes.providers.volume.cinder.connections import Image

IMAGE = Image("volumes", "volume-1", ("10.0.0.1:6789",), "s-1", "a-1")
USER = Credential("u", Path("/none"))
CLIENT = "10.0.0.2:0/7"


class FakeCeph:
    """An image's metadata, watchers and blocked clients. Each call waits for its turn; `crash` ends the nth call."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.watching: set[str] = set()
        self.blocked: set[str] = set()
        self.calls = 0
        self.crash_at: int | None = None

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        self.calls += 1
        if self.calls == self.crash_at:
            raise Unavailable("CephUnavailable", "it crashed")

    async def rbd(self, image: Image, credential: Credential, *arguments: str) -> str:
        await self._turn()
        _, verb, _, name, *value = arguments
        if verb == "set":
            self.known[name] = value[0]
        else:
            del self.known[name]
        return ""

    async def listed(self, image: Image, credential: Credential, *arguments: str) -> Any:
        await self._turn()
        if arguments[0] == "status":
            return {"watchers": [{"address": each} for each in self.watching]}
        return dict(self.known)

    async def blocklist(self, image: Image, credential: Credential, address: str, seconds: int) -> None:
        await self._turn()
        self.blocked.add(address)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCeph]:
    fake = FakeCeph()
    for name in ("rbd", "listed", "blocklist"):
        monkeypatch.setattr(ceph, name, getattr(fake, name))
    return fake


async def opened(fake: FakeCeph) -> bool:
    """What the node does; whether a guest gets the volume."""
    fake.watching.add(CLIENT)
    try:
        await fencing.record(IMAGE, USER)
    except Unavailable:
        fake.watching.discard(CLIENT)
        return False
    return True


@given(st.integers(0, 12), st.integers(0, 12))
def test_an_opening_that_meets_a_fence(node_first: int, fence_first: int) -> None:
    async def meet() -> None:
        fake = FakeCeph()
        with pytest.MonkeyPatch.context() as patch:
            for name in ("rbd", "listed", "blocklist"):
                patch.setattr(ceph, name, getattr(fake, name))
            await fencing.permit(IMAGE, USER, "n1", {"a-1"})

            async def after(turns: int, work: Any) -> Any:
                for _ in range(turns):
                    await asyncio.sleep(0)
                return await work

            got, _ = await asyncio.gather(
                after(node_first, opened(fake)), after(fence_first, fencing.fence(IMAGE, USER))
            )
            assert not got or CLIENT in fake.blocked

    asyncio.run(meet())


async def test_a_fence_that_crashes_is_finished_by_the_next(fake: FakeCeph) -> None:
    crash = 0
    while True:
        crash += 1
        await fencing.permit(IMAGE, USER, "n1", {"a-1"})
        assert await opened(fake)
        fake.blocked.clear()
        fake.calls, fake.crash_at = 0, crash
        try:
            await fencing.fence(IMAGE, USER)
            break
        except Unavailable:
            fake.crash_at = None
            await fencing.fence(IMAGE, USER)
            assert CLIENT in fake.blocked
            assert fake.known == {}
    assert crash > 4


async def test_a_permission_fences_what_is_attached_no_more(fake: FakeCeph) -> None:
    fake.known = {"hypernetes.client.gone": "10.0.0.9:0/1", "hypernetes.attachment.gone": "n9", "user": "x"}
    await fencing.permit(IMAGE, USER, "n1", {"a-1"})
    assert fake.blocked == {"10.0.0.9:0/1"}
    assert fake.known == {"user": "x", "hypernetes.attachment.a-1": "n1"}


async def test_clients_of_other_attachments_are_not_the_nodes(fake: FakeCeph) -> None:
    """A volume that is attached to several nodes: the fence of one blocks none of the others."""
    await fencing.permit(IMAGE, USER, "n1", {"a-1", "a-2"})
    fake.known["hypernetes.client.a-2"] = "10.0.0.3:0/1"
    fake.watching.add("10.0.0.3:0/1")
    assert await opened(fake)
    await fencing.fence(IMAGE, USER)
    assert fake.blocked == {CLIENT}


async def test_a_node_that_closed_leaves_nothing_to_block(fake: FakeCeph) -> None:
    await fencing.permit(IMAGE, USER, "n1", {"a-1"})
    assert await opened(fake)
    await fencing.forget(IMAGE, USER)
    await fencing.fence(IMAGE, USER)
    assert (fake.blocked, fake.known) == (set(), {})


async def test_a_client_that_crashed_is_blocked_before_its_successor_opens(fake: FakeCeph) -> None:
    await fencing.permit(IMAGE, USER, "n1", {"a-1"})
    assert await opened(fake)
    await fencing.supersede(IMAGE, USER)
    assert fake.blocked == {CLIENT}
    await fencing.fence(IMAGE, USER)
    assert fake.known == {}


async def test_an_image_without_a_watcher_is_not_open(fake: FakeCeph) -> None:
    await fencing.permit(IMAGE, USER, "n1", {"a-1"})
    with pytest.raises(Unavailable):
        await fencing.record(IMAGE, USER)
