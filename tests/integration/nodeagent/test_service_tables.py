"""A pod's service tables in force: HAProxy and nftables as in the guest, in namespaces of the host.

pod 10.0.0.5 ── hp/hs ── service namespace          client, hairpin and back end all in the pod's namespace
"""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.nodeagent import balancer, services
from hypernetes.nodeagent.balancer import Balancer, Slot
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
        """By a configuration that HAProxy loads."""
        self._load_rules(config)
        (self._directory / balancer.MAP_NAME).write_bytes(config.balancer.table())
        configuration = self._directory / "haproxy.cfg"
        configuration.write_text(self._here(config.balancer.configuration().decode()))
        self._stop_haproxy()
        self._haproxy = self._services.run(lambda: subprocess.Popen(["haproxy", "-db", "-f", str(configuration)]))
        deadline = time.monotonic() + 30
        while str(balancer.PORT) not in self._services.command("ss -Hltn").stdout:
            assert time.monotonic() < deadline, "HAProxy doesn't listen"
            assert self._haproxy.poll() is None
            time.sleep(0.05)

    def change_services(self, config: services.ServiceConfig, before: services.ServiceConfig) -> list[str]:
        """By commands; what HAProxy answered to each that answered."""
        self._load_rules(config)
        lines = config.balancer.commands_from(before.balancer)
        assert lines is not None
        return [said for line in lines for said in self.tell(self._here(line)).splitlines() if said]

    def in_force(self) -> Balancer:
        """What HAProxy says of its slots."""
        keys = {}
        for line in self.tell(self._here(f"show map /services/{balancer.MAP_NAME}")).splitlines():
            if line:
                _, key, slot = line.split()
                keys[slot] = key
        servers: dict[str, list[str]] = {}
        for line in self.tell("show servers state").splitlines()[2:]:
            values = line.split()
            if values and values[6] == "0":  # not in maintenance
                servers.setdefault(values[1], []).append(f"{values[4]}:{values[18]}")
        return Balancer(
            tuple(
                Slot(keys[slot], tuple(servers[slot])) if slot in keys else None
                for slot in (f"slot{number}" for number in range(balancer.SLOTS_MIN))
            )
        )

    def tell(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as admin, contextlib.closing(admin):
            admin.connect(str(self._directory / "admin"))
            admin.sendall(f"{line}\n".encode())
            return b"".join(iter(lambda: admin.recv(65536), b"")).decode()

    def _here(self, text: str) -> str:
        """With the guest's paths in this test's directory."""
        return text.replace("/services/", f"{self._directory}/").replace("/run/admin", f"{self._directory}/admin")

    def _load_rules(self, config: services.ServiceConfig) -> None:
        rules = self._directory / "rules.nft"
        rules.write_bytes(b"flush ruleset\n" + config.nftables)
        self._services.command(f"nft -f {rules}")

    def serve(self, port: int, word: bytes) -> contextlib.AbstractContextManager[socket.socket]:
        """Says its word to each connection."""
        return self._answer(port, lambda connection: connection.sendall(word))

    def _answer(
        self, port: int, talk: Callable[[socket.socket], object]
    ) -> contextlib.AbstractContextManager[socket.socket]:
        listener = self._pod.run(lambda: socket.create_server(("0.0.0.0", port)))

        def converse(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                talk(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):  # closed: the test is over
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=converse, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return contextlib.closing(_Shut(listener))  # type: ignore[arg-type]

    def echo(self, port: int) -> contextlib.AbstractContextManager[socket.socket]:
        """Says to each connection what it hears."""
        return self._answer(
            port, lambda connection: [connection.sendall(heard) for heard in iter(lambda: connection.recv(100), b"")]
        )

    def connect(self, address: str, port: int = 80) -> socket.socket:
        return self._pod.run(lambda: socket.create_connection((address, port), PROMPT_SECONDS))

    def ask(self, address: str, port: int = 80) -> bytes:
        with self.connect(address, port) as connection:
            return connection.recv(100)

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


# What hn-init takes for success (guest/init/services.c), beside silence.
EXPECTED = {
    "New server registered.",
    "Server deleted.",
    "Already exists a server with the same name in backend.",
    "Server still has connections attached to it, cannot remove it.",
}


def served(of: Balancer) -> dict[str, set[str]]:
    return {slot.key: set(slot.servers) for slot in of.slots if slot is not None}


def test_commands_lead_where_a_configuration_would(pod: Pod) -> None:
    """Fifty changes in a row, among them ones that come back: what HAProxy then has is what was wanted."""
    random = Random(7)
    before = services.IDLE
    pod.set_services(before)
    for _ in range(50):
        wanted = {
            f"10.254.0.{number}:80": tuple(f"10.0.0.{each}:8080" for each in random.sample(range(8), 1 + number % 4))
            for number in random.sample(range(10, 24), random.randint(0, 12))
        }
        after = services.ServiceConfig(before.balancer.with_services(wanted), b"")
        assert set(pod.change_services(after, before)) <= EXPECTED
        assert served(pod.in_force()) == {key: set(servers) for key, servers in wanted.items()}
        before = after


def test_connections_go_on_while_their_endpoint_goes_and_comes_back(pod: Pod) -> None:
    found = [service("web", "10.254.0.10")]
    one, other = endpoint("web", POD, 8080), endpoint("web", POD, 8081)
    history = [
        services.config(found, slices, pod_uid="uid", service_cidr=CIDR, before=services.IDLE)
        for slices in ([one], [other], [one])
    ]
    pod.set_services(history[0])
    with pod.echo(8080) as _, pod.serve(8081, b"other"), pod.connect("10.254.0.10") as connection:
        connection.sendall(b"first")
        assert connection.recv(100) == b"first"
        said = pod.change_services(history[1], history[0])
        assert "Server still has connections attached to it, cannot remove it." in said
        assert pod.ask("10.254.0.10") == b"other"
        connection.sendall(b"still there")
        assert connection.recv(100) == b"still there"
        said = pod.change_services(history[2], history[1])
        assert "Already exists a server with the same name in backend." in said
        with pod.connect("10.254.0.10") as again:
            again.sendall(b"back")
            assert again.recv(100) == b"back"
