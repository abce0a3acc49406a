"""A pod's service tables in force: HAProxy and nftables as in the guest, in namespaces of the host.

pod 10.0.0.5 ── hp/hs ── service namespace          client, hairpin and back end all in the pod's namespace
"""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.nodeagent import services
from tests.integration.networks.namespaces import Namespace

CIDR, POD = "10.254.0.0/16", "10.0.0.5"
PROMPT_SECONDS = 5.0  # a hanging connection would last minutes
WIRES = (
    "ip link set lo up",
    f"ip addr add {POD}/32 dev lo",
    "ip link set hp up",
    "ip addr add 169.254.100.1/30 dev hp",
    f"ip route add {CIDR} via 169.254.100.2 src {POD}",
    "sysctl -qw net.ipv4.ip_forward=1",
)
SERVICE_WIRES = (
    "ip link set lo up",
    "ip link set hs up",
    "ip addr add 169.254.100.2/30 dev hs",
    "ip route add default via 169.254.100.1",
    "sysctl -qw net.ipv4.ip_forward=1",
)


def service(name: str, address: str, protocol: str = "TCP") -> Service:
    spec = {"clusterIP": address, "ports": [{"port": 80, "protocol": protocol}]}
    return Service.from_dict({"metadata": {"name": name, "namespace": "web"}, "spec": spec})


def endpoint(name: str, address: str, port: int, protocol: str = "TCP") -> EndpointSlice:
    return EndpointSlice.from_dict(
        {
            "metadata": {"name": f"{name}-1", "namespace": "web", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"port": port, "protocol": protocol}],
            "endpoints": [{"addresses": [address]}],
        }
    )


class Pod:
    """The two namespaces of a pod, and what serves in them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pod, self._services = Namespace(), Namespace()
        self._haproxy: subprocess.Popen[bytes] | None = None
        self._pod.command("ip link add hp type veth peer name hs")
        self._pod.run(lambda: self._move("hs"))
        for line in WIRES:
            self._pod.command(line)
        for line in SERVICE_WIRES:
            self._services.command(line)

    def _move(self, link: str) -> None:
        path = f"/proc/self/fd/{self._services.descriptor}"
        subprocess.run(["ip", "link", "set", link, "netns", path], check=True, pass_fds=[self._services.descriptor])

    def set_services(self, config: services.ServiceConfig) -> None:
        table = self._directory / services.MAP_NAME
        table.write_bytes(config.maps[services.MAP_NAME])
        configuration = self._directory / "haproxy.cfg"
        configuration.write_bytes(config.haproxy.replace(b"/services/" + services.MAP_NAME.encode(), bytes(table)))
        rules = self._directory / "rules.nft"
        rules.write_bytes(b"flush ruleset\n" + config.nftables)
        self._services.command(f"nft -f {rules}")
        self._stop_haproxy()
        self._haproxy = self._services.run(lambda: subprocess.Popen(["haproxy", "-db", "-f", str(configuration)]))
        deadline = time.monotonic() + 30
        while str(services.HAPROXY_PORT) not in self._services.command("ss -Hltn").stdout:
            assert time.monotonic() < deadline, "HAProxy doesn't listen"
            assert self._haproxy.poll() is None
            time.sleep(0.05)

    def serve(self, port: int, word: bytes) -> contextlib.AbstractContextManager[socket.socket]:
        """Says its word to each connection."""
        listener = self._pod.run(lambda: socket.create_server(("0.0.0.0", port)))

        def answer() -> None:
            with contextlib.suppress(OSError):  # closed: the test is over
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(word)

        threading.Thread(target=answer, daemon=True).start()
        return contextlib.closing(_Shut(listener))  # type: ignore[arg-type]

    def ask(self, address: str, port: int = 80) -> bytes:
        def connect() -> bytes:
            with socket.create_connection((address, port), PROMPT_SECONDS) as connection:
                return connection.recv(100)

        return self._pod.run(connect)

    def ask_by_udp(self, address: str, port: int = 80) -> bytes:
        def send() -> bytes:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
                made.settimeout(PROMPT_SECONDS)
                made.connect((address, port))
                made.send(b"anybody?")
                return made.recv(100)

        return self._pod.run(send)

    def _stop_haproxy(self) -> None:
        if self._haproxy is not None:
            self._haproxy.terminate()
            self._haproxy.wait(30)
            self._haproxy = None

    def close(self) -> None:
        self._stop_haproxy()
        self._pod.close()
        self._services.close()


class _Shut:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    made = Pod(tmp_path)
    yield made
    made.close()


def test_services_answer_and_those_without_endpoints_refuse_at_once(pod: Pod) -> None:
    found = [
        service("web", "10.254.0.10"),
        service("empty", "10.254.0.11"),
        service("quiet", "10.254.0.12", "UDP"),
    ]
    slices = [endpoint("web", POD, 80)]
    pod.set_services(services.config(found, slices, pod_uid="uid", service_cidr=CIDR))
    with pod.serve(80, b"own"):
        assert pod.ask("10.254.0.10") == b"own", "a pod reaches itself, on the service's own port"
        for nowhere in (("10.254.0.11", 80), ("10.254.0.10", 81), ("10.254.99.99", 80)):
            with pytest.raises(ConnectionRefusedError):
                pod.ask(*nowhere)
        with pytest.raises(ConnectionRefusedError):
            pod.ask_by_udp("10.254.0.12")


def test_a_service_that_gets_an_endpoint_answers_and_one_that_loses_it_refuses(pod: Pod) -> None:
    found = [service("web", "10.254.0.10")]
    with pod.serve(8080, b"here"):
        for slices in ([], [endpoint("web", POD, 8080)], []):
            pod.set_services(services.config(found, slices, pod_uid="uid", service_cidr=CIDR))
            if slices:
                assert pod.ask("10.254.0.10") == b"here"
            else:
                with pytest.raises(ConnectionRefusedError):
                    pod.ask("10.254.0.10")
