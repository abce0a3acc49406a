import pytest

from hypernetes.providers.volume.base import VolumeProvider
from hypernetes.providers.volume.fake import FakeVolumes

from .volumesuite import VolumeSuite


class TestFake(VolumeSuite):
    @pytest.fixture
    async def provider(self) -> VolumeProvider:
        return FakeVolumes()


class TestFakeByNode(VolumeSuite):
    BOUND_TO_NODE = True

    @pytest.fixture
    async def provider(self) -> VolumeProvider:
        return FakeVolumes(by_node=True)
