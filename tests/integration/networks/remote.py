"""Another machine with a node of the same cluster: a process with namespaces of its own, told what to do line by line.

`python -m …remote CLUSTER_ID ADDRESS` reads JSON calls and answers each with a line; its network namespace waits for a
link `under0`, by which nodes reach each other. Its /run/netns is its own, as another machine's would be.
"""

import asyncio
import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypernetes.providers.network.base import Peer
from hypernetes.providers.network.local import LocalNetworkProvider

from .machines import ECHO_PORT, EchoServer
from .pods import Pod
from .suite import network, port

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000


class Remote:
    """The other machine, from this side."""

    def __init__(self, cluster_id: str, address: str) -> None:
        command = [sys.executable, "-m", f"{__package__}.remote", cluster_id, address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        assert self._read() == "unshared"

    def call(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class _Node:
    def __init__(self, cluster_id: str, address: str) -> None:
        self._cluster_id, self._address = cluster_id, address
        self._pods: dict[str, Pod] = {}
        self._echoes: list[EchoServer] = []

    async def open(self) -> None:
        for line in (f"ip address add {self._address}/24 dev under0", "ip link set under0 up", "ip link set lo up"):
            subprocess.run(line.split(), check=True)
        self._provider = LocalNetworkProvider(self._cluster_id, "node-2", Path("."), self._address)
        await self._provider.open()

    async def plug(self, tenant: str, address: str) -> str:
        spec = port(network(tenant), address)
        self._pods[address] = Pod(spec, await self._provider.plug(spec))
        self._echoes.append(EchoServer(self._pods[address].namespace))
        return spec.mac_address

    async def peers(self, tenant: str, *peers: list[str]) -> None:
        await self._provider.set_peers(network(tenant), frozenset(Peer(*peer) for peer in peers))

    async def ping(self, own: str, address: str) -> bool:
        return self._pods[own].ping(address)

    async def ask(self, own: str, address: str) -> str | None:
        answer = self._pods[own].ask(address, ECHO_PORT)
        return answer.decode() if answer is not None else None

    async def asked_by(self, number: int) -> list[str]:
        return sorted(set(self._echoes[number].peers))

    async def close(self) -> None:
        for echo in self._echoes:
            echo.close()
        for pod in self._pods.values():
            pod.close()
        await self._provider.close(remove=True)


async def _serve(node: _Node) -> None:
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(await getattr(node, name)(*arguments)), flush=True)
    await node.close()


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    netns = Path("/run/netns")
    netns.mkdir(parents=True, exist_ok=True)
    steps = (
        lambda: libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET),
        lambda: libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None),
        lambda: libc.mount(b"tmpfs", bytes(netns), b"tmpfs", 0, None),
        lambda: libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None),
    )
    for step in steps:
        if step() != 0:
            raise OSError(ctypes.get_errno(), "another machine's namespaces")


if __name__ == "__main__":
    _unshare()
    print(json.dumps("unshared"), flush=True)
    asyncio.run(_serve(_Node(*sys.argv[1:])))
