"""What others have on Neutron's networks: machines that Hypernetes knows nothing of, plugged by hand."""

from typing import Any

from pyroute2 import IPRoute

from tests.integration.networks.namespaces import Namespace
from tests.openstack.daemons import run, until
from tests.openstack.neutrons import Neutron
from tests.openstack.switches import Switch


class ForeignMachine:
    """A namespace on a port of Neutron's, on one node."""

    def __init__(self, neutron: Neutron, node: Switch, port: dict[str, Any], mtu: int = 1442) -> None:
        self._node, self.port = node, port
        self.namespace = Namespace()
        self.address: str = port["fixed_ips"][0]["ip_address"]
        self._link = f"f{port['id'][:11]}"

        def cable() -> None:
            with IPRoute() as netlink:
                peer = {"ifname": "eth0", "net_ns_fd": self.namespace.descriptor, "address": port["mac_address"]}
                netlink.link("add", ifname=self._link, kind="veth", peer=peer)

        node.namespace.run(cable)
        node.ip("link", "set", self._link, "up")
        ids = {"iface-id": port["id"], "attached-mac": port["mac_address"], "iface-status": "active"}
        node.vsctl(
            "add-port", "br-int", self._link, "--", "set", "Interface", self._link,
            *(f'external_ids:{key}="{value}"' for key, value in ids.items()),
        )  # fmt: skip
        prefix = neutron.rest.get(f"/subnets/{port['fixed_ips'][0]['subnet_id']}").json()["subnet"]["cidr"]
        self._inside("ethtool", "-K", "eth0", "tx", "off")  # Open vSwitch in user space fills in no checksum
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "link", "set", "eth0", "mtu", str(mtu), "up")
        self._inside("ip", "address", "add", f"{self.address}/{prefix.rpartition('/')[2]}", "dev", "eth0")
        until(lambda: neutron.rest.get(f"/ports/{port['id']}").json()["port"]["status"] == "ACTIVE", "the port")

    def pings(self, address: str, seconds: int = 10) -> bool:
        command = f"ping -c 1 -i 0.5 -w {seconds} {address}"
        return self.namespace.command(command, check=False).returncode == 0

    def _inside(self, *arguments: str) -> None:
        run(arguments, namespace=self.namespace)

    def close(self) -> None:
        self._node.vsctl("--if-exists", "del-port", "br-int", self._link)
        self.namespace.close()
