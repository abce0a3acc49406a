"""A node's Open vSwitch in a network namespace of its own, which stands for the node; its data path is in user space.

node 1 (namespace)                      node 2 (namespace)
br-ex 198.51.100.1/24  (outside)
br-int  ports of pods                   br-int
br-phy 172.31.255.1/24 ── phy0 ═══ phy0 ── br-phy 172.31.255.2/24
"""

from collections.abc import Mapping
from pathlib import Path

from pyroute2 import IPRoute

from tests.integration.networks.namespaces import Namespace
from tests.openstack.daemons import Daemon, run, until

OUTSIDE_GATEWAY = "198.51.100.1"
OUTSIDE_CIDR = "198.51.100.0/24"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def tunnel_address(number: int) -> str:
    return f"172.31.255.{number}"


class Switch:
    """`number` is the node's; the first has the bridge to the outside."""

    def __init__(self, directory: Path, number: int, settings: Mapping[str, str]) -> None:
        self.directory, self.number, self.name = directory, number, f"host{number}"
        self.namespace = Namespace()
        self._settings = settings  # external_ids
        self._daemons: list[Daemon] = []
        directory.mkdir(parents=True)

    @property
    def ovsdb(self) -> str:
        return f"unix:{self.directory}/db.sock"

    @property
    def variables(self) -> dict[str, str]:
        return {
            name: str(self.directory)
            for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVN_RUNDIR", "OVN_LOGDIR", "OVN_DBDIR")
        }

    def start(self) -> None:
        """Returns when its bridges are there."""
        where, database = self.directory, self.directory / "conf.db"
        run(["ovsdb-tool", "create", database, _SCHEMA])
        self.daemon("ovsdb-server", database, f"--remote=punix:{where}/db.sock", f"--unixctl={where}/ovsdb.ctl")
        until((where / "db.sock").exists, "ovsdb-server", where / "ovsdb-server.log")
        self.vsctl("--no-wait", "init")
        said = {"system-id": self.name, "hostname": self.name, **self._settings}
        ids = [f"external_ids:{key}={value}" for key, value in said.items()]
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", *ids)
        self.daemon("ovs-vswitchd", self.ovsdb, f"--unixctl={where}/vswitchd.ctl")
        self._bridge("br-phy", "standalone")
        self._bridge("br-int", "secure")
        self.ip("link", "set", "lo", "up")
        self.ip("address", "add", f"{tunnel_address(self.number)}/24", "dev", "br-phy")
        self.ip("link", "set", "br-phy", "up")
        if self.number == 1:
            self._bridge("br-ex", "standalone")
            self.ip("address", "add", f"{OUTSIDE_GATEWAY}/24", "dev", "br-ex")
            self.ip("link", "set", "br-ex", "up")

    def connect(self, other: "Switch") -> None:
        """Puts a cable between two nodes."""

        def cable() -> None:
            with IPRoute() as netlink:
                peer = {"ifname": f"phy{self.number}", "net_ns_fd": other.namespace.descriptor}
                netlink.link("add", ifname=f"phy{other.number}", kind="veth", peer=peer)

        self.namespace.run(cable)
        for here, there in ((self, other), (other, self)):
            here.ip("link", "set", f"phy{there.number}", "up")
            here.vsctl("add-port", "br-phy", f"phy{there.number}")

    def daemon(self, program: str, *arguments: object) -> Daemon:
        log = self.directory / f"{program}.log"
        argv = [program, *map(str, arguments), "-vconsole:info", "-vsyslog:off"]
        self._daemons.append(Daemon(argv, log, self.variables, self.namespace))
        return self._daemons[-1]

    def vsctl(self, *arguments: str) -> str:
        return run(["ovs-vsctl", "--timeout=30", f"--db={self.ovsdb}", *arguments], self.variables)

    def ip(self, *arguments: str) -> str:
        return run(["ip", *arguments], namespace=self.namespace)

    def _bridge(self, name: str, fail_mode: str) -> None:
        self.vsctl("add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev", f"fail_mode={fail_mode}")

    def stop(self) -> None:
        """Its devices go with the namespace."""
        for daemon in reversed(self._daemons):
            daemon.stop()
        self._daemons.clear()
        self.namespace.close()
