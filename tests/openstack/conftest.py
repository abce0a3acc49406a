"""One Keystone and one Neutron for all tests here; what a test makes in them has a name of its own."""

from collections.abc import Iterator

import pytest

from tests.openstack.databases import MariaDB
from tests.openstack.keystones import SERVICE, Keystone
from tests.openstack.neutrons import Neutron
from tests.openstack.ovns import OVN


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


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    database = MariaDB(tmp_path_factory.mktemp("mariadb"))
    try:
        database.start()
        yield database
    finally:
        database.stop()


@pytest.fixture(scope="session")
def ovn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OVN]:
    """With two nodes."""
    made = OVN(tmp_path_factory.mktemp("ovn") / "ovn")
    try:
        made.start()
        made.node()
        made.node()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def neutron(
    tmp_path_factory: pytest.TempPathFactory, keystone: Keystone, mariadb: MariaDB, ovn: OVN
) -> Iterator[Neutron]:
    service = Neutron(tmp_path_factory.mktemp("neutron") / "neutron", keystone, mariadb, ovn)
    try:
        service.enrol()
        service.start()
        yield service
    finally:
        service.stop()
