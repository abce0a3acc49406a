"""The fake keeps what real machines keep."""

from pathlib import Path

import pytest

from hypernetes.nodeagent.runtime.base import Machine, MachineGone
from hypernetes.nodeagent.runtime.fake import FakeHost, FakeRuntime
from tests.integration.runtime.suite import RuntimeSuite


class FakeBench:
    def __init__(self, image: Path) -> None:
        self.image = image
        self.host = FakeHost()

    async def open(self) -> FakeRuntime:
        return FakeRuntime(self.host)

    def kill(self, machine: Machine) -> None:
        self.host.guests[machine.id].end(MachineGone("HypervisorDied", "killed"))


@pytest.fixture
def bench(tmp_path: Path) -> FakeBench:
    return FakeBench(tmp_path / "image.squashfs")


class TestFake(RuntimeSuite):
    pass
