"""A network between Ceph and nodes: a bridge of the host's, nodes that are network namespaces, cables to cut."""

import os
from dataclasses import dataclass, field

from tests.integration.networks.namespaces import Namespace
from tests.openstack.daemons import run


@dataclass(slots=True)
class StorageNode:
    name: str
    address: str
    cable: str  # the host's end of it
    namespace: Namespace = field(default_factory=Namespace)

    def cut(self) -> None:
        """Nothing that it sends arrives any more, and nothing reaches it."""
        run(["ip", "link", "set", self.cable, "down"])

    def heal(self) -> None:
        run(["ip", "link", "set", self.cable, "up"])


class StorageNetwork:
    """`address` is the host's. Of 198.18.0.0/15, which is for tests (RFC 2544)."""

    def __init__(self) -> None:
        self._number = os.getpid() % 250
        self._bridge = f"hnstore{os.getpid() % 0xFFFFFF:x}"
        self.address = f"198.18.{self._number}.1"
        self._nodes: list[StorageNode] = []

    def start(self) -> None:
        run(["ip", "link", "add", self._bridge, "type", "bridge"])
        run(["ip", "address", "add", f"{self.address}/24", "dev", self._bridge])
        run(["ip", "link", "set", self._bridge, "up"])

    def node(self) -> StorageNode:
        """One more."""
        number = len(self._nodes) + 2
        cable = f"hnst{os.getpid() % 0xFFFFFF:x}n{number}"
        node = StorageNode(f"n{number - 1}", f"198.18.{self._number}.{number}", cable)
        self._nodes.append(node)
        run(
            [
                "ip",
                "link",
                "add",
                cable,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                f"/proc/{os.getpid()}/fd/{node.namespace.descriptor}",
            ]
        )
        run(["ip", "link", "set", cable, "master", self._bridge, "up"])
        for line in (f"ip address add {node.address}/24 dev eth0", "ip link set eth0 up", "ip link set lo up"):
            node.namespace.command(line)
        return node

    def stop(self) -> None:
        for node in self._nodes:
            run(["ip", "link", "del", node.cable])
            node.namespace.close()
        self._nodes.clear()
        run(["ip", "link", "del", self._bridge])
