"""A real Neutron with OVN, in the catalogue of the tests' Keystone."""

from pathlib import Path
from typing import Any

import yaml
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from tests.integration.control_plane import free_port
from tests.openstack.daemons import Daemon
from tests.openstack.databases import MariaDB
from tests.openstack.gunicorns import serve
from tests.openstack.keystones import ADMIN_PASSWORD, Keystone
from tests.openstack.ovns import OVN
from tests.openstack.switches import OUTSIDE_CIDR, OUTSIDE_GATEWAY

_CALL_SECONDS = 120.0


def service_user(keystone: Keystone, name: str) -> None:
    """What a service of OpenStack's is in Keystone: administrator, and a service."""
    rest = keystone.rest
    project = rest.get("/projects?name=service").json()["projects"]
    if not project:
        made = {"project": {"name": "service", "domain_id": "default"}}
        project = [rest.post("/projects", json=made).json()["project"]]
    user = {"domain_id": "default", "name": name, "password": name}
    id = rest.post("/users", json={"user": user}).json()["user"]["id"]
    for role in ("admin", "service"):
        rest.put(f"/projects/{project[0]['id']}/users/{id}/roles/{keystone.role(role)}")


def catalogued(keystone: Keystone, kind: str, name: str, url: str) -> None:
    rest = keystone.rest
    service = rest.post("/services", json={"service": {"type": kind, "name": name}}).json()["service"]["id"]
    for interface in ("public", "internal", "admin"):
        endpoint = {"service_id": service, "region_id": "RegionOne", "interface": interface, "url": url}
        rest.post("/endpoints", json={"endpoint": endpoint})


def credentials(keystone: Keystone, name: str) -> str:
    """Lines of a configuration."""
    return (
        f"auth_url = {keystone.url}\nauth_type = password\nusername = {name}\npassword = {name}\n"
        "project_name = service\nuser_domain_id = default\nproject_domain_id = default\n"
    )


def authtoken(keystone: Keystone, name: str) -> str:
    return (
        f"[keystone_authtoken]\nwww_authenticate_uri = {keystone.url}\nservice_token_roles = service\n"
        f"service_token_roles_required = true\n{credentials(keystone, name)}"
    )


class Neutron:
    """One that may be stopped and started again, on the same port with the same data."""

    def __init__(self, directory: Path, keystone: Keystone, database: MariaDB, ovn: OVN) -> None:
        self.directory, self.keystone, self.ovn = directory, keystone, ovn
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._daemon: Daemon | None = None
        directory.mkdir(parents=True)
        environment = keystone.environment
        (directory / "neutron.conf").write_text(
            "[DEFAULT]\nhost = control\ncore_plugin = ml2\nservice_plugins = ovn-router\ntransport_url = fake://\n"
            f"api_paste_config = {environment}/etc/neutron/api-paste.ini\nstate_path = {directory}/state\n"
            "notify_nova_on_port_status_changes = false\nnotify_nova_on_port_data_changes = false\n"
            f"[oslo_concurrency]\nlock_path = {directory}/lock\n[oslo_messaging_notifications]\ndriver = noop\n"
            "[ml2]\ntype_drivers = flat,geneve\nproject_network_types = geneve\nmechanism_drivers = ovn\n"
            "extension_drivers = port_security\noverlay_ip_version = 4\n"
            "[ml2_type_geneve]\nvni_ranges = 1:2000\nmax_header_size = 38\n[ml2_type_flat]\nflat_networks = public\n"
            f"[ovn]\novn_nb_connection = {ovn.northbound}\novn_sb_connection = {ovn.southbound}\n"
            "ovn_metadata_enabled = false\nenable_distributed_floating_ip = false\n"
            "[quotas]\nquota_security_group = -1\nquota_security_group_rule = -1\nquota_port = -1\n"
            f"[database]\nconnection = {database.url('neutron')}\nmax_pool_size = 5\nmax_overflow = 20\n"
            + authtoken(keystone, "neutron")
        )

    def enrol(self) -> None:
        """Into Keystone, once."""
        service_user(self.keystone, "neutron")
        catalogued(self.keystone, "network", "neutron", self.url)

    def start(self) -> None:
        """Returns when it answers."""
        more = {"OS_NEUTRON_CONFIG_DIR": str(self.directory), "OS_NEUTRON_CONFIG_FILES": "neutron.conf"}
        configuration = self.directory / "neutron.conf"
        self._daemon = serve("neutron", self.keystone.environment, configuration, self.port, more)

    def stop(self) -> None:
        """Twice is no error."""
        if self._daemon is not None:
            self._daemon.stop()
            self._daemon = None

    @property
    def clouds_file(self) -> Path:
        """Of a provider's service credential, as user `neutron`, who may act in every project."""
        file = self.directory / "clouds.yaml"
        user = {"auth_url": self.keystone.url, "username": "neutron", "password": "neutron", "project_name": "service"}
        auth = {**user, "user_domain_id": "default", "project_domain_id": "default"}
        file.write_text(yaml.safe_dump({"clouds": {"neutron": {"auth": auth, "region_name": "RegionOne"}}}))
        return file

    @property
    def rest(self) -> Adapter:
        """Its API, as the cloud's administrator."""
        user = {"username": "admin", "password": ADMIN_PASSWORD, "user_domain_id": "default"}
        auth = Password(self.keystone.url, project_name="admin", project_domain_id="default", **user)
        return Adapter(Session(auth=auth, timeout=_CALL_SECONDS), endpoint_override=f"{self.url}/v2.0")

    def create(self, kind: str, **attributes: Any) -> dict[str, Any]:
        """A network, subnet, …"""
        path = f"/{kind.replace('_', '-')}s"
        made: dict[str, Any] = self.rest.post(path, json={kind: attributes}).json()[kind]
        return made

    def outside(self) -> str:
        """The id of the external network, made once."""
        found = self.rest.get("/networks?name=public").json()["networks"]
        if found:
            return str(found[0]["id"])
        provider = {"provider:network_type": "flat", "provider:physical_network": "public"}
        network = self.create("network", name="public", **{"router:external": True}, **provider)
        self.create(
            "subnet", network_id=network["id"], ip_version=4, cidr=OUTSIDE_CIDR, gateway_ip=OUTSIDE_GATEWAY,
            enable_dhcp=False, allocation_pools=[{"start": "198.51.100.100", "end": "198.51.100.200"}],
        )  # fmt: skip
        return str(network["id"])
