"""Pods without VMs: a namespace with a NIC, and a thread that carries frames between it and a port's tap as QEMU would.

A pod's NIC is a tap too, so that all protocols are the kernel's own, and every frame that comes to the pod is kept.
"""

import os
import select
import socket
import struct
import subprocess
import threading

from hypernetes.nodeagent.runtime.taps import has_offloads
from hypernetes.providers.network import taps
from hypernetes.providers.network.base import PluggedPort, PortSpec

from .namespaces import Namespace

_VNET_HEADER = bytes(10)  # of a frame that asks for no offload, where the tap has offloads
_FRAME = 65_600
TIMEOUT = 5.0  # seconds for an answer that must come
SILENCE = 1.0  # seconds without an answer that must not


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


class Pod:
    def __init__(self, port: PortSpec, plugged: PluggedPort) -> None:
        self.port = port
        self.address, self.mac_address = port.address, port.mac_address
        self.frames: list[bytes] = []  # that came from the network
        self._queue = plugged.tap_fd
        self._namespace = Namespace()
        offloads = has_offloads(plugged.tap_fd)
        self._header = _VNET_HEADER if offloads else b""
        self._nic = self._namespace.run(lambda: taps.open_queue("eth0", offloads=offloads))
        prefix = port.subnet.cidr.partition("/")[2]
        for line in (
            "sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
            "ip link set lo up",
            f"ip link set eth0 address {port.mac_address} mtu {plugged.mtu}",
            f"ip address add {port.address}/{prefix} dev eth0",
            "ip link set eth0 up",
            f"ip route add default via {port.subnet.gateway}",
        ):
            self._namespace.command(line)
        self._stop, self._stopped = os.pipe()
        self._pump = threading.Thread(target=self._carry, daemon=True)
        self._pump.start()

    def _carry(self) -> None:
        while True:
            readable, _, _ = select.select([self._queue, self._nic, self._stop], [], [])
            if self._stop in readable:
                return
            for source, target in ((self._queue, self._nic), (self._nic, self._queue)):
                if source not in readable:
                    continue
                try:
                    frame = os.read(source, _FRAME)
                    if source == self._queue:
                        self.frames.append(frame[len(self._header) :])
                    os.write(target, frame)
                except OSError:
                    continue  # the tap was taken away, as an unplugged port's is

    def send(self, frame: bytes) -> None:
        """A frame of any content, as a hostile guest sends it."""
        os.write(self._queue, self._header + frame.ljust(60, b"\0"))

    def ping(self, address: str, *, wait: float = TIMEOUT) -> bool:
        line = f"ping -c 1 -W {wait:g} {address}"
        return self._namespace.command(line, check=False).returncode == 0

    def ask(self, address: str, port: int, data: bytes = b"hello", *, wait: float = TIMEOUT) -> bytes | None:
        """What a TCP server answers; None where none does."""

        def connect() -> bytes | None:
            try:
                with socket.create_connection((address, port), timeout=wait) as connection:
                    connection.sendall(data)
                    return connection.recv(4096)
            except OSError:
                return None

        return self._namespace.run(connect)

    def ask_udp(self, address: str, port: int, data: bytes = b"hello", *, wait: float = TIMEOUT) -> bytes | None:
        def exchange() -> bytes | None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(wait)
                try:
                    sock.sendto(data, (address, port))
                    return sock.recv(4096)
                except OSError:
                    return None

        return self._namespace.run(exchange)

    def command(self, line: str) -> subprocess.CompletedProcess[str]:
        return self._namespace.command(line)

    @property
    def namespace(self) -> Namespace:
        return self._namespace

    def close(self) -> None:
        """The VM dies: its queue is closed."""
        os.write(self._stopped, b"x")
        self._pump.join(10)
        for descriptor in (self._queue, self._nic, self._stop, self._stopped):
            os.close(descriptor)
        self._namespace.close()


def arp(source_mac: str, sender_mac: str, sender: str, target: str, *, operation: int = 1) -> bytes:
    """An ARP frame to everybody."""
    header = b"\xff" * 6 + mac(source_mac) + struct.pack("!H", 0x0806)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return header + body + mac(sender_mac) + socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target)


def udp(
    source_mac: str, source: str, target: str, *, ports: tuple[int, int] = (1000, 2000), to: str = "ff:ff:ff:ff:ff:ff"
) -> bytes:
    """An Ethernet frame with a UDP datagram (no UDP checksum) that carries the word `spoof`."""
    payload = b"spoof"
    datagram = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    fields = (0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
    header = struct.pack("!BBHHHBBH4s4s", *fields)
    checksum = -sum(struct.unpack("!10H", header)) % 0xFFFF  # ones' complement is arithmetic modulo 2**16 - 1
    packet = header[:10] + struct.pack("!H", checksum) + header[12:] + datagram
    return mac(to) + mac(source_mac) + struct.pack("!H", 0x0800) + packet
