"""The identity provider `keystone`, held to the interface's suite with a real Keystone behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypernetes.providers.identity.base import Identity, TenantReference
from tests.integration.control_plane import free_port
from tests.openstack.keystones import Keystone
from tests.openstack.providers import opened
from tests.unit.providers.identity.suite import IdentitySuite, Site


class People:
    """A project that is a tenant, and tokens of one of its users."""

    def __init__(self, keystone: Keystone) -> None:
        self._keystone = keystone
        self.project = keystone.openstack(
            "project", "create", "suite", "--tag", "hypernetes", "-f", "value", "-c", "id"
        )
        self.user = keystone.create("user", "jane", "--password", "jane")
        keystone.openstack("role", "add", "--user", "jane", "--project", "suite", "member")
        self.token, self.revoked, self.unscoped = self.issued(), self.issued(), self.issued(OS_PROJECT_NAME="")
        keystone.openstack("token", "revoke", self.revoked)

    def issued(self, **settings: str) -> str:
        settings = self._keystone.as_user("jane", "suite") | settings
        return self._keystone.openstack("token", "issue", "-f", "value", "-c", "id", **settings)


@pytest.fixture(scope="module")
def people(keystone: Keystone) -> People:
    return People(keystone)


class TestKeystone(IdentitySuite):
    @pytest.fixture
    async def site(self, keystone: Keystone, people: People, tmp_path: Path) -> AsyncIterator[Site]:
        provider = await opened(tmp_path, keystone.clouds())
        (tmp_path / "nowhere").mkdir()
        unavailable = await opened(tmp_path / "nowhere", keystone.clouds(f"http://127.0.0.1:{free_port()}/v3"))
        groups = ("keystone:role:member", "keystone:role:reader")
        identity = Identity("keystone:jane@Default", TenantReference(id=people.project), groups, uid=people.user)
        yield Site(provider, people.token, identity, (people.revoked, people.unscoped), unavailable)
        await provider.close()
        await unavailable.close()
