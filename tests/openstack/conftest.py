"""One Keystone for all tests here; what a test makes in it has a name of its own."""

from collections.abc import Iterator

import pytest

from tests.openstack.keystones import SERVICE, Keystone


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    service = Keystone(tmp_path_factory.mktemp("keystone"))
    try:
        service.start()
        service.openstack("user", "create", SERVICE, "--password", SERVICE)
        service.openstack("role", "add", "--system", "all", "--user", SERVICE, "reader")
        yield service
    finally:
        service.stop()
