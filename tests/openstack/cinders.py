"""A real Cinder on a real Ceph, in the catalogue of the tests' Keystone: its API, scheduler and volume service."""

from pathlib import Path
from typing import Any

import yaml
from keystoneauth1.adapter import Adapter
from keystoneauth1.exceptions import ClientException
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from tests.integration.control_plane import free_port
from tests.openstack import environments
from tests.openstack.cephs import POOL, Ceph
from tests.openstack.daemons import Daemon
from tests.openstack.databases import MariaDB
from tests.openstack.gunicorns import serve, variables
from tests.openstack.keystones import ADMIN_PASSWORD, SERVICE, Keystone
from tests.openstack.neutrons import authtoken, catalogued, service_user
from tests.openstack.rabbits import RabbitMQ

CONTROL_USER, NODE_USER = "hypernetes", "node"  # of Ceph: hn-controllers', and a node's
SECRET_UUID = "7d8c1a2e-0000-4000-8000-000000000001"  # what Cinder tells nodes of the key that it doesn't tell
MICROVERSION = "3.66"
_RUNS = "Driver post RPC initialization completed successfully"  # says its log; before, volumes end in `error`
_CALL_SECONDS = 120.0
_BINDINGS = Path("/usr/lib/python3/dist-packages")  # Ceph's, which only Debian has


class Cinder:
    """One that may be stopped and started again, on the same port with the same data."""

    def __init__(self, directory: Path, keystone: Keystone, database: MariaDB, rabbit: RabbitMQ, ceph: Ceph) -> None:
        self.directory, self.keystone, self.ceph = directory, keystone, ceph
        self.environment = environments.installed(environments.CINDER)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._api: Daemon | None = None
        self._daemons: list[Daemon] = []
        for name in ("state", "lock", "bindings"):
            (directory / name).mkdir(parents=True)
        for name in ("rados", "rbd"):
            (binding,) = _BINDINGS.glob(f"{name}.cpython-*.so")
            (directory / "bindings" / binding.name).symlink_to(binding)
        self._configuration = directory / "cinder.conf"
        share = self.environment / "etc" / "cinder"
        self._configuration.write_text(
            f"[DEFAULT]\nhost = control\ntransport_url = {rabbit.url}\nstate_path = {directory}/state\n"
            f"api_paste_config = {share}/api-paste.ini\nresource_query_filters_file = {share}/resource_filters.json\n"
            f"rootwrap_config = {share}/rootwrap.conf\nenabled_backends = ceph\ndefault_volume_type = __DEFAULT__\n"
            "report_interval = 2\nservice_down_time = 30\n"
            "[key_manager]\nbackend = cinder.keymgr.conf_key_mgr.ConfKeyManager\n"
            f"fixed_key = {'0123456789abcdef' * 4}\n"
            f"[oslo_concurrency]\nlock_path = {directory}/lock\n[oslo_messaging_notifications]\ndriver = noop\n"
            f"[coordination]\nbackend_url = file://{directory}/state/coordination\n"
            "[ceph]\nvolume_backend_name = ceph\nvolume_driver = cinder.volume.drivers.rbd.RBDDriver\n"
            f"rbd_pool = {POOL}\nrbd_user = cinder\nrbd_ceph_conf = {ceph.configuration}\n"
            f"rbd_secret_uuid = {SECRET_UUID}\nreport_discard_supported = true\n"
            f"[database]\nconnection = {database.url('cinder')}\nmax_pool_size = 5\nmax_overflow = 20\n"
            + authtoken(keystone, "cinder")
        )

    def enrol(self) -> None:
        """Into Keystone and Ceph, once; and Hypernetes, which works in all projects."""
        service_user(self.keystone, "cinder")
        catalogued(self.keystone, "block-storage", "cinder", f"{self.url}/v3")
        own = f"profile rbd pool={POOL}"
        for name in ("cinder", CONTROL_USER, NODE_USER):
            self.ceph.user(name, mon="profile rbd", osd=own, mgr=own)
        self.keystone.openstack("role", "add", "--project", "service", "--user", SERVICE, "service")
        self.keystone.openstack("role", "add", "--domain", "default", "--user", SERVICE, "--inherited", "member")

    def start(self) -> None:
        """Returns when it answers and its volume service takes work."""
        self.start_api()
        for name in ("cinder-scheduler", "cinder-volume"):
            command = [self.environment / "bin" / name, "--config-file", self._configuration]
            self._daemons.append(Daemon(command, self.directory / f"{name}.log", self._variables()))
        self._daemons[-1].wait(self._ready, "cinder-volume")

    def stop_api(self) -> None:
        if self._api is not None:
            self._api.stop()
            self._api = None

    def start_api(self) -> None:
        self._api = serve("cinder", self.environment, self._configuration, self.port, self._variables())

    def stop(self) -> None:
        """Twice is no error."""
        self.stop_api()
        while self._daemons:
            self._daemons.pop().stop()

    def clouds(self, directory: Path) -> Path:
        """A `clouds.yaml` of Hypernetes' for volumes."""
        auth = {
            "auth_url": self.keystone.url, "username": SERVICE, "password": SERVICE, "user_domain_id": "default",
            "project_name": "service", "project_domain_id": "default",
        }  # fmt: skip
        file = directory / "clouds.yaml"
        cloud = {"identity_api_version": "3", "region_name": "RegionOne", "auth": auth}
        file.write_text(yaml.safe_dump({"clouds": {"volumes": cloud}}))
        return file

    def section(self, user: str) -> dict[str, dict[str, str]]:
        """What a provider's section says of Ceph: `CONTROL_USER` or `NODE_USER`."""
        return {SECRET_UUID: {"user": user, "keyring": str(self.ceph.keyring(user))}}

    def rest(self, project: str = "admin", user: str = "admin", password: str = ADMIN_PASSWORD) -> Adapter:
        """Its API, as the cloud's administrator unless said otherwise."""
        auth = Password(
            self.keystone.url, username=user, password=password, user_domain_id="default", project_name=project,
            project_domain_id="default",
        )  # fmt: skip
        return Adapter(
            Session(auth=auth, timeout=_CALL_SECONDS), endpoint_override=f"{self.url}/v3", service_type="block-storage",
            default_microversion=MICROVERSION,
        )  # fmt: skip

    def type(self, name: str, encrypted: bool = False, **specs: str) -> str:
        """Makes a volume type; its name."""
        wanted = {"name": name, "extra_specs": specs}
        id = self.rest().post("/types", json={"volume_type": wanted}).json()["volume_type"]["id"]
        if encrypted:
            how = {"provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": 256}
            self.rest().post(f"/types/{id}/encryption", json={"encryption": how})
        return name

    def service_token(self) -> str:
        return self.keystone.scoped_token("cinder", project_name="service", project_domain_id="default")

    def end_attachment(self, id: str) -> None:
        """As an administrator does."""
        self.rest().delete(f"/attachments/{id}", headers={"X-Service-Token": self.service_token()})

    def end_attachments(self, volume: str) -> None:
        for each in self.all("attachments"):
            if each["volume_id"] == volume:
                self.end_attachment(each["id"])

    def volume(self, id: str) -> dict[str, Any]:
        """As its administrator sees it."""
        found: dict[str, Any] = self.rest().get(f"/volumes/{id}").json()["volume"]
        return found

    def all(self, what: str) -> list[dict[str, Any]]:
        """Volumes, snapshots or attachments of all projects, as its administrator sees them."""
        detail = "" if what == "attachments" else "/detail"
        listed: list[dict[str, Any]] = self.rest().get(f"/{what}{detail}?all_tenants=1").json()[what]
        return listed

    def _variables(self) -> dict[str, str]:
        more = variables(self.environment, self.directory)
        return {**more, "PYTHONPATH": str(self.directory / "bindings")}

    def _ready(self) -> bool:
        """Whether the volume service runs and the scheduler knows of its pool."""
        if _RUNS not in (self.directory / "cinder-volume.log").read_text(errors="replace"):
            return False
        try:  # a question that comes before the scheduler listens is never answered
            return bool(self.rest().get("/scheduler-stats/get_pools", timeout=5).json()["pools"])
        except ClientException:
            return False
