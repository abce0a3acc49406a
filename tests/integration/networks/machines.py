"""A machine to wire pods on, without touching the real one: a network namespace with an uplink to an "outside"."""

import contextlib
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute

from .namespaces import Namespace, main_thread_in

HOST_ADDRESS = "192.0.2.1"
OUTSIDE_ADDRESS = "192.0.2.2"
HOST_SECOND_ADDRESS = "198.51.100.1"  # not where the traffic enters
METADATA_ADDRESS = "169.254.169.254"  # a cloud's, reachable from the host
ECHO_PORT = 7


class EchoServer:
    """TCP and UDP on all addresses of a namespace; notes who asked."""

    def __init__(self, namespace: Namespace, port: int = ECHO_PORT) -> None:
        self.peers: list[str] = []
        self._tcp = namespace.run(lambda: socket.create_server(("0.0.0.0", port)))
        self._udp = namespace.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._udp.bind(("0.0.0.0", port))
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._serve_tcp, self._serve_udp)]
        for thread in self._threads:
            thread.start()

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, (peer, _) = self._tcp.accept()
            except OSError:
                return
            self.peers.append(peer)
            with connection:
                connection.settimeout(10)
                connection.sendall(connection.recv(4096))

    def _serve_udp(self) -> None:
        while True:
            try:
                data, peer = self._udp.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            self.peers.append(peer[0])
            self._udp.sendto(data, peer)

    def close(self) -> None:
        for server in (self._tcp, self._udp):
            with contextlib.suppress(OSError):  # a datagram socket says ENOTCONN, and its reader wakes all the same
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for thread in self._threads:
            thread.join(10)


class Machine:
    """`host` runs the provider; the calling thread is in it. `outside` is one hop away and routes nothing back."""

    def __init__(self) -> None:
        self.host, self.outside = Namespace(), Namespace()
        self.cluster_ids: list[str] = []
        self.outside.run(self._connect)

    def _connect(self) -> None:
        with IPRoute() as netlink:
            netlink.link("add", ifname="out0", kind="veth", peer={"ifname": "eth0", "net_ns_fd": self.host.descriptor})

    def new_cluster_id(self) -> str:
        self.cluster_ids.append(secrets.token_hex(3))
        return self.cluster_ids[-1]

    def state(self) -> dict[str, object]:
        """All that a provider could leave behind on this machine."""
        settings = Path("/proc/sys/net/ipv4/conf")
        marks = tuple(f"-{cluster_id}-" for cluster_id in self.cluster_ids)
        names = Path("/run/netns").iterdir() if Path("/run/netns").exists() else iter(())
        return {
            "links": sorted(re.findall(r"^\d+: ([^:@]+)", self.host.command("ip -o link").stdout, re.MULTILINE)),
            "addresses": re.findall(r"inet \S+", self.host.command("ip -o -4 address").stdout),
            "routes": self.host.command("ip -4 route show table all").stdout,
            "tables": self.host.command("nft list ruleset").stdout,
            "namespaces": sorted(path.name for path in names if any(mark in path.name for mark in marks)),
            "forwarding": self.host.run(
                lambda: {path.name: (path / "forwarding").read_text() for path in settings.iterdir()}
            ),
        }

    def close(self) -> None:
        self.host.close()
        self.outside.close()


@contextmanager
def machine() -> Iterator[Machine]:
    """A machine for the calling thread to be in."""
    made = Machine()
    try:
        for line in (
            "ip link set lo up",
            f"ip address add {HOST_ADDRESS}/24 dev eth0",
            f"ip address add {HOST_SECOND_ADDRESS}/32 dev lo",
            "ip link set eth0 up",
            f"ip route add default via {OUTSIDE_ADDRESS}",
        ):
            made.host.command(line)
        for line in (
            f"ip address add {OUTSIDE_ADDRESS}/24 dev out0",
            f"ip address add {METADATA_ADDRESS}/32 dev out0",
            "ip link set out0 up",
        ):
            made.outside.command(line)
        with main_thread_in(made.host):
            yield made
    finally:
        made.close()
