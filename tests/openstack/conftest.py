"""One Keystone, Neutron and Cinder for all tests here; what a test makes in them has a name of its own."""

from collections.abc import Iterator

import pytest

from tests.openstack.cephs import Ceph
from tests.openstack.cinders import Cinder
from tests.openstack.databases import MariaDB
from tests.openstack.keystones import SERVICE, Keystone
from tests.openstack.leftovers import Leftovers
from tests.openstack.neutrons import Neutron
from tests.openstack.octavias import Octavia
from tests.openstack.ovns import OVN
from tests.openstack.rabbits import RabbitMQ
from tests.openstack.storagenetworks import StorageNetwork


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


@pytest.fixture(scope="session")
def storage_network() -> Iterator[StorageNetwork]:
    network = StorageNetwork()
    try:
        network.start()
        yield network
    finally:
        network.stop()


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory, storage_network: StorageNetwork) -> Iterator[Ceph]:
    cluster = Ceph(tmp_path_factory.mktemp("ceph") / "ceph", storage_network.address)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """Which may still be starting."""
    broker = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def cinder(
    tmp_path_factory: pytest.TempPathFactory, rabbit: RabbitMQ, ceph: Ceph, keystone: Keystone, mariadb: MariaDB
) -> Iterator[Cinder]:
    service = Cinder(tmp_path_factory.mktemp("cinder") / "cinder", keystone, mariadb, rabbit, ceph)
    try:
        service.enrol()
        rabbit.wait()
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture
def leftovers(cinder: Cinder) -> Iterator[Leftovers]:
    found = Leftovers(cinder)
    try:
        yield found
    finally:
        found.remove()


@pytest.fixture(scope="session")
def octavia(tmp_path_factory: pytest.TempPathFactory, neutron: Neutron, mariadb: MariaDB) -> Iterator[Octavia]:
    service = Octavia(tmp_path_factory.mktemp("octavia") / "octavia", neutron, mariadb)
    try:
        service.enrol()
        service.start()
        yield service
    finally:
        service.stop()
