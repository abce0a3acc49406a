"""What tenants' networks keep apart, seen from pods and from the machine."""

import contextlib
import hashlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hypernetes.providers.network.local import names
from tests.e2e.tenants import CLIENT_ADDRESS, Tenant
from tests.integration.networks.namespaces import Namespace

METADATA_ADDRESS = "169.254.169.254"
LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
DEVICE = "eth0"  # a pod's NIC, in the pod


class Capture:
    """All frames on all links of a tenant's router."""

    def __init__(self, tenant: Tenant) -> None:
        router = Namespace(f"/run/netns/{names.router(tenant.cluster.layout.load().id, tenant.uid)}")
        try:
            self._socket = router.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)))
        finally:
            router.close()
        self._socket.settimeout(0.2)
        self.frames: list[bytes] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                self.frames.append(self._socket.recv(65_600))

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)
        self._socket.close()


@contextmanager
def captured(tenant: Tenant) -> Iterator[Capture]:
    capture = Capture(tenant)
    try:
        yield capture
    finally:
        capture.close()


def macs(tenant: Tenant) -> list[bytes]:
    """Of the tenant's pods: 02 and five bytes of the UID's hash."""
    uids = [pod["metadata"]["uid"] for pod in tenant.get("pods")["items"]]
    return [b"\x02" + hashlib.sha256(uid.encode()).digest()[:5] for uid in uids]


def probe(tenant: Tenant, address: str) -> None:
    """ICMP, ARP, UDP (traceroute sends it) and TCP from the tenant's client."""
    tenant.sh(
        f"ping -c 2 -W 1 {address}; arping -c 2 -w 2 -I {DEVICE} {address};"
        f"timeout 5 traceroute -n -m 1 -q 2 -w 1 {address}; echo probe | nc -w 2 {address} 8080; true"
    )


def test_no_frame_of_a_tenant_is_on_anothers_bridge(acme: Tenant, globex: Tenant):
    targets = sorted({pod["status"]["podIP"] for pod in (*acme.pods("web"), *acme.pods("client"))})
    own = {pod["status"]["podIP"] for pod in globex.get("pods")["items"]}
    unused = next(f"10.0.0.{number}" for number in range(200, 250) if f"10.0.0.{number}" not in own)
    with captured(acme) as there, captured(globex) as here:
        for address in (*targets, unused, "10.0.0.255"):
            probe(globex, address)
    foreign = macs(globex)
    assert any(mac in frame for frame in here.frames for mac in foreign)
    assert [frame.hex() for frame in there.frames if any(mac in frame for mac in foreign)] == []


def test_pods_of_one_network_reach_each_other(acme: Tenant):
    address = acme.pods("web")[0]["status"]["podIP"]
    assert f"word: {acme.word}\n" in acme.fetch(f"http://{address}:8080/")
    assert " 0% packet loss" in acme.sh(f"ping -c 2 -W 5 {address}")


def test_a_pods_own_address_is_the_one_it_asked_for(acme: Tenant):
    assert f"inet {CLIENT_ADDRESS}/24" in acme.sh("ip address")


def host_addresses() -> list[str]:
    shown = subprocess.run(["ip", "-o", "-4", "address"], capture_output=True, text=True, check=True).stdout
    return [address for address in re.findall(r"inet ([\d.]+)", shown) if not address.startswith("127.")]


def listening_ports() -> list[int]:
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return sorted({int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTEN})


def test_no_listening_port_of_the_machine_answers_a_pod(acme: Tenant):
    with socket.create_server(("0.0.0.0", 0)) as witness:
        witness.settimeout(0.5)
        ports, addresses = listening_ports(), [*host_addresses(), "10.0.0.1", METADATA_ADDRESS]
        assert witness.getsockname()[1] in ports
        assert acme.cluster.port in ports
        assert len(addresses) >= 4  # the machine's, its end of an uplink, the gateway, link-local
        attempt = "nc -w 2 $address $port < /dev/null > /dev/null 2>&1 && echo OPEN $address $port"
        ports_at_once = f"for port in {' '.join(map(str, ports))}; do ({attempt}) & done; wait"
        script = f"for address in {' '.join(addresses)}; do {ports_at_once}; done; echo tried"
        said = acme.sh(script, timeout=60 + 10 * len(addresses))
        assert said.splitlines() == ["tried"]
        with pytest.raises(TimeoutError):
            witness.accept()
        with socket.create_connection(witness.getsockname(), timeout=5):  # it would have answered
            witness.accept()[0].close()


def test_the_machine_has_no_address_in_a_tenants_network(acme: Tenant):
    assert not any(address.startswith(("10.0.0.", "10.254.")) for address in host_addresses())
    route = subprocess.run(["ip", "route", "get", CLIENT_ADDRESS], capture_output=True, text=True, check=False).stdout
    assert names.uplinks(acme.cluster.layout.load().id).removesuffix("*") not in route


def test_a_pod_that_lies_about_its_address_is_not_heard(acme: Tenant):
    target = acme.pods("web")[0]["status"]["podIP"]
    lie = "10.0.0.201"
    with captured(acme) as capture:
        acme.sh(f"arping -c 2 -w 2 -U -s {lie} -I {DEVICE} {lie}; arping -c 1 -w 2 -I {DEVICE} {target}")
        time.sleep(0.5)
    packed, own = socket.inet_aton(lie), socket.inet_aton(CLIENT_ADDRESS)
    # A frame that is dropped still shows on the tap it came from, once; on the bridge and other taps it would be more.
    spread = [frame for frame in capture.frames if frame[12:14] == b"\x08\x06" and frame[28:32] == packed]
    honest = [frame for frame in capture.frames if frame[12:14] == b"\x08\x06" and frame[28:32] == own]
    assert len(honest) > 1
    assert len(spread) <= 2
