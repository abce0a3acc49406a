"""A real hn-apiserver, and hn-controllers if wanted, as processes of a test; kubectl."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from hypernetes.api import times
from hypernetes.cli import credentials, tenants
from hypernetes.cli.layout import Layout
from hypernetes.client import REQUEST_ERRORS, Client, ClientConfig

_START_SECONDS = 60.0  # the machine may be busy with other tests
_BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ControlPlane:
    def __init__(self, directory: Path) -> None:
        self.layout = Layout.of(directory)
        self.port = free_port()
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    def prepare(self) -> None:
        cluster = self.layout.load_or_create(bind="127.0.0.1", port=self.port)
        self.layout.root.mkdir(parents=True, exist_ok=True)
        self.layout.logs.mkdir(exist_ok=True)
        self.layout.save(cluster)
        credentials.ensure(self.layout, cluster, [], times.now())

    async def start(self, name: str, *options: str) -> None:
        """`name` is apiserver, scheduler or controllers; of several, `controllers-…`."""
        component = name.partition("-")[0]
        if name == "apiserver":
            arguments = ["--dir", str(self.layout.root), "--port", str(self.port)]
        else:
            arguments = ["--kubeconfig", str(self.layout.kubeconfig(component))]
        log = os.open(self.layout.log(name), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        try:
            self._processes[name] = await asyncio.create_subprocess_exec(
                _BIN / f"hn-{component}", *arguments, *options, stdout=log, stderr=log
            )
        finally:
            os.close(log)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def has_ended(self, name: str) -> bool:
        return self._processes[name].returncode is not None

    async def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        process = self._processes.pop(name)
        if process.returncode is None:
            process.send_signal(number)
        try:
            return await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise

    async def stop_all(self) -> None:
        for name in reversed(list(self._processes)):
            await self.stop(name)

    def client(self) -> Client:
        return Client(ClientConfig.from_kubeconfig(self.layout.admin_kubeconfig))

    async def wait_ready(self, client: Client) -> None:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    await client.text("/readyz")
                    return
                except REQUEST_ERRORS:
                    process = self._processes["apiserver"]
                    assert process.returncode is None, self.layout.log("apiserver").read_text()[-2000:]
                    await asyncio.sleep(0.1)

    async def kubectl(self, tenant: str, *arguments: str, fails: bool = False, stdin: str = "") -> str:
        """What kubectl prints as the administrator of a tenant, without warnings; its complaint where it is to fail."""
        process = await asyncio.create_subprocess_exec(
            "kubectl", "--kubeconfig", self.layout.tenant_kubeconfig(tenant),
            "--cache-dir", self.layout.root / "kubectl-cache", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, complaint = await asyncio.wait_for(process.communicate(stdin.encode()), 120)
        assert (process.returncode != 0) is fails, f"kubectl {' '.join(arguments)}: {output!r} {complaint!r}"
        return (complaint if fails else output).decode()


@asynccontextmanager
async def controllers(plane: ControlPlane) -> AsyncIterator[None]:
    """What `running` starts as hn-controllers; tests may want it otherwise."""
    await plane.start("controllers")
    yield


@asynccontextmanager
async def running(
    directory: Path, *names: str, tenant: str | None = None, options: tuple[str, ...] = ()
) -> AsyncIterator[tuple[ControlPlane, Client]]:
    """An API server that is ready, `names` beside it, and a tenant with its kubeconfig if asked for.

    `options` are the API server's.
    """
    plane = ControlPlane(directory)
    plane.prepare()
    await plane.start("apiserver", *options)
    try:
        async with plane.client() as client:
            await plane.wait_ready(client)
            if tenant is not None:
                await tenants.create(client, plane.layout, tenant, None)
            async with AsyncExitStack() as stack:
                for name in names:
                    if name == "controllers":
                        await stack.enter_async_context(controllers(plane))
                    else:
                        await plane.start(name)
                yield plane, client
    finally:
        await plane.stop_all()
