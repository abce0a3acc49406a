"""OVN: its two databases, northd, and a controller on each node."""

from pathlib import Path

from tests.openstack.daemons import Daemon, run, until
from tests.openstack.switches import Switch, tunnel_address

_SCHEMAS = Path("/usr/share/ovn")


class OVN:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.nodes: list[Switch] = []
        self._daemons: list[Daemon] = []
        directory.mkdir(parents=True)

    @property
    def northbound(self) -> str:
        return f"unix:{self.directory}/ovnnb.sock"

    @property
    def southbound(self) -> str:
        return f"unix:{self.directory}/ovnsb.sock"

    def start(self) -> None:
        for name in ("nb", "sb"):
            database = self.directory / f"ovn{name}.db"
            run(["ovsdb-tool", "create", database, _SCHEMAS / f"ovn-{name}.ovsschema"])
            remote = self.directory / f"ovn{name}.sock"
            self._daemon("ovsdb-server", f"ovn{name}", database, f"--remote=punix:{remote}")
            until(remote.exists, f"the database {name} of OVN", self.directory / f"ovn{name}.log")
        self.nbctl("init")
        run(["ovn-sbctl", f"--db={self.southbound}", "init"])
        # Else a load balancer's address, whose port is never up, gets its ARP answered and its packets dropped.
        self.nbctl("set", "NB_Global", ".", "options:ignore_lsp_down=false")
        self._daemon("ovn-northd", "northd", f"--ovnnb-db={self.northbound}", f"--ovnsb-db={self.southbound}")

    def node(self) -> Switch:
        """One more node, with a cable to each other one."""
        number = len(self.nodes) + 1
        settings = {
            "ovn-remote": self.southbound, "ovn-encap-type": "geneve", "ovn-encap-ip": tunnel_address(number),
            "ovn-bridge-datapath-type": "netdev", "ovn-monitor-all": "true",
        }  # fmt: skip
        if number == 1:
            settings |= {"ovn-bridge-mappings": "public:br-ex", "ovn-cms-options": "enable-chassis-as-gw"}
        switch = Switch(self.directory / f"host{number}", number, settings)
        self.nodes.append(switch)
        switch.start()
        for other in self.nodes[:-1]:
            switch.connect(other)
        switch.daemon("ovn-controller", switch.ovsdb)
        until(lambda: f"hostname: {switch.name}" in self._chassis(), f"the chassis {switch.name}")
        return switch

    def nbctl(self, *arguments: str) -> str:
        return run(["ovn-nbctl", "--timeout=30", f"--db={self.northbound}", *arguments])

    def _chassis(self) -> str:
        return run(["ovn-sbctl", "--timeout=30", f"--db={self.southbound}", "show"]).replace('"', "")

    def _daemon(self, program: str, name: str, *arguments: object) -> None:
        where = self.directory
        argv = [program, *map(str, arguments), f"--unixctl={where}/{name}.ctl", "-vconsole:info", "-vsyslog:off"]
        variables = {"OVN_RUNDIR": str(where), "OVS_RUNDIR": str(where), "OVN_LOGDIR": str(where)}
        self._daemons.append(Daemon(argv, where / f"{name}.log", variables))

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.stop()
        for daemon in reversed(self._daemons):
            daemon.stop()
