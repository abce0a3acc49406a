"""A real Octavia with OVN's provider, in the catalogue of the tests' Keystone. Needs no machine of its own."""

from pathlib import Path
from typing import Any

import yaml
from keystoneauth1.adapter import Adapter

from tests.integration.control_plane import free_port
from tests.openstack.daemons import Daemon, until
from tests.openstack.databases import MariaDB
from tests.openstack.gunicorns import serve, variables
from tests.openstack.neutrons import Neutron, authtoken, catalogued, credentials, service_user


class Octavia:
    """Its driver agent's sockets are in /run/octavia whatever one says, so it has a /run of its own."""

    def __init__(self, directory: Path, neutron: Neutron, database: MariaDB) -> None:
        self.directory, self.neutron, self.keystone = directory, neutron, neutron.keystone
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._daemons: list[Daemon] = []
        (directory / "run" / "octavia").mkdir(parents=True)
        ovn, keystone = neutron.ovn, neutron.keystone
        (directory / "octavia.conf").write_text(
            "[DEFAULT]\ntransport_url = fake://\n"
            "[api_settings]\nauth_strategy = keystone\nenabled_provider_drivers = ovn:OVN\n"
            "default_provider_driver = ovn\n"
            "[driver_agent]\nenabled_provider_agents = ovn\nstatus_max_processes = 1\nstats_max_processes = 1\n"
            "get_max_processes = 1\n"
            f"[ovn]\novn_nb_connection = {ovn.northbound}\novn_sb_connection = {ovn.southbound}\n"
            f"[service_auth]\n{credentials(keystone, 'octavia')}"
            f"[neutron]\nregion_name = RegionOne\nvalid_interfaces = internal\n{credentials(keystone, 'octavia')}"
            f"[database]\nconnection = {database.url('octavia')}\n" + authtoken(keystone, "octavia")
        )

    def enrol(self) -> None:
        """Into Keystone, once."""
        service_user(self.keystone, "octavia")
        catalogued(self.keystone, "load-balancer", "octavia", self.url)

    def start(self) -> None:
        """Returns when it answers. Its driver agent must be there before, or it has no provider."""
        environment, configuration = self.keystone.environment, self.directory / "octavia.conf"
        own_run = ["unshare", "--mount", "--", "sh", "-c", 'mount --bind "$0" /run && exec "$@"']
        before = [*own_run, str(self.directory / "run")]
        agent = [*before, environment / "bin" / "octavia-driver-agent", "--config-file", configuration]
        log = self.directory / "driver-agent.log"
        self._daemons.append(Daemon(agent, log, variables(environment, self.directory)))
        sockets = self.directory / "run" / "octavia"
        until((sockets / "status.sock").exists, "Octavia's driver agent", log)
        self._daemons.append(serve("octavia", environment, configuration, self.port, before=before))

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.stop()
        self._daemons.clear()

    def provider_file(self, directory: Path) -> Path:
        """That of the provider `octavia`."""
        file = directory / "octavia.yaml"
        said = {"cloud": "neutron", "clouds": str(self.neutron.clouds_file), "floatingNetwork": "public"}
        file.write_text(yaml.safe_dump(said))
        return file

    @property
    def rest(self) -> Adapter:
        """Its API, as the cloud's administrator."""
        return Adapter(self.neutron.rest.session, endpoint_override=f"{self.url}/v2.0/lbaas")

    def load_balancers(self, project: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.rest.get(f"/loadbalancers?project_id={project}").json()["loadbalancers"]
        return found
