"""The processes under load: hn-apiserver, etcd, the sketch. What they use is in /proc, all threads included."""

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from hypernetes.api.tenancy import SYSTEM_TENANT, system_tenant_uid

CLUSTER_ID = "bench"
TOKEN = "benchmark-token-0123456789"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")


class StartError(Exception):
    """A process didn't come up; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class Process:
    """A running server and how to reach it."""

    pid: int
    port: int
    ca: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    @property
    def rss_bytes(self) -> int:
        return rss_bytes(self.pid)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def _running(command: list[str], log: Path) -> AsyncIterator[int]:
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _listening(port: int, pid: int, log: Path) -> None:
    """Returns when the port answers. Raises StartError."""
    for _ in range(int(_START_SECONDS / 0.05)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if not os.path.exists(f"/proc/{pid}/exe"):  # noqa: ASYNC240  # of memory, not of a disk
            break
        await asyncio.sleep(0.05)
    raise StartError(_tail(log))


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


@contextlib.asynccontextmanager
async def etcd(directory: Path) -> AsyncIterator[str]:
    """One member on loopback; gives its location as a store."""
    os.makedirs(directory, exist_ok=True)
    port, log = free_port(), directory / "etcd.log"
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    command = [
        "etcd", "--data-dir", str(directory / "data"), "--name", "one",
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}",
    ]  # fmt: skip
    async with _running(command, log) as pid:
        await _listening(port, pid, log)
        yield f"etcd://127.0.0.1:{port}"


def _prepare(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cluster.json").write_bytes(orjson.dumps({"id": CLUSTER_ID}))
    uid = system_tenant_uid(CLUSTER_ID)
    (directory / "tokens.csv").write_text(f'{TOKEN},bench,{SYSTEM_TENANT},{uid},"system:masters"\n')


@contextlib.asynccontextmanager
async def apiserver(directory: Path, store: str) -> AsyncIterator[Process]:
    """hn-apiserver as an operator starts it, with one token of the provider's administrator."""
    _prepare(directory)
    port, log = free_port(), directory / "apiserver.log"
    command = [
        str(Path(sys.executable).with_name("hn-apiserver")), "--dir", str(directory), "--port", str(port),
        "--store", store, "--log-level", "warning",
    ]  # fmt: skip
    async with _running(command, log) as pid:
        await _listening(port, pid, log)
        yield Process(pid, port, directory / "pki" / "ca.crt")


@contextlib.asynccontextmanager
async def sketch(directory: Path, pod: bytes, count: int) -> AsyncIterator[Process]:
    """The yardstick: `count` times the same bytes, behind the certificate that an apiserver left in `directory`."""
    port, log, body = free_port(), directory / "sketch.log", directory / "pod.json"
    body.write_bytes(pod)
    command = [
        sys.executable, "-m", "benchmarks.load.sketch", str(directory / "pki"), str(port), str(body), str(count), TOKEN
    ]  # fmt: skip
    async with _running(command, log) as pid:
        await _listening(port, pid, log)
        yield Process(pid, port, directory / "pki" / "ca.crt")


def client_context(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))
