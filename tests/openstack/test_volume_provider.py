"""The volume provider for Cinder, held to the interface's suite with a real Cinder and a real Ceph behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypernetes.providers.volume.base import Handle, Owner, VolumeProvider
from tests.integration.volumes.volumesuite import VolumeSuite
from tests.openstack import volumes
from tests.openstack.cinders import Cinder
from tests.openstack.leftovers import Leftovers


class TestCinder(VolumeSuite):
    SIZE = 1 << 30  # Cinder's unit

    @pytest.fixture
    async def provider(self, cinder: Cinder, tmp_path: Path, leftovers: Leftovers) -> AsyncIterator[VolumeProvider]:
        provider = volumes.control(cinder, tmp_path)
        yield provider
        await provider.close()

    @pytest.fixture
    def owner(self, cinder: Cinder) -> Owner:
        return volumes.owner(cinder, "suite-acme")

    @pytest.fixture
    def other_owner(self, cinder: Cinder) -> Owner:
        return volumes.owner(cinder, "suite-globex")

    async def delete_with_snapshots(self, provider: VolumeProvider, volume: Handle) -> None:
        """Cinder keeps a volume while it has snapshots."""
