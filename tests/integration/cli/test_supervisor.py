"""The supervisor with real processes in the place of the cluster's own: small scripts that serve what it asks for."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hypernetes.cli import leftovers
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Cluster, Layout
from hypernetes.cli.preflight import agent_ports, why_taken
from hypernetes.cli.programs import Options
from hypernetes.cli.supervisor import Supervisor

CLUSTER = Cluster("abc123")
APISERVER = f"""#!{sys.executable}
import pathlib, sys
from aiohttp import web
from hypernetes.pki import server_context

directory, port = pathlib.Path(sys.argv[2]), int(sys.argv[6])
node = {{"metadata": {{"name": "n"}}, "status": {{"conditions": [{{"type": "Ready", "status": "True"}}]}}}}

async def ready(request):
    return web.Response(text="ok")

async def nodes(request):
    return web.json_response({{"metadata": {{"resourceVersion": "1"}}, "items": [node]}})

async def tenants(request):
    return web.json_response({{"metadata": {{"resourceVersion": "1"}}, "items": []}})

async def classes(request):
    if request.method == "POST":
        return web.json_response(await request.json(), status=201)
    return web.json_response({{"metadata": {{"resourceVersion": "1"}}, "items": []}})

app = web.Application()
app.router.add_get("/readyz", ready)
app.router.add_get("/api/v1/nodes", nodes)
app.router.add_get("/apis/hypernetes.io/v1/tenants", tenants)
app.router.add_route("*", "/apis/storage.k8s.io/v1/storageclasses", classes)
pki = directory / "pki"
context = server_context(pki / "apiserver.crt", pki / "apiserver.key", pki / "ca.crt", require_client=True)
web.run_app(app, host="127.0.0.1", port=port, ssl_context=context, print=None)
"""
SLEEPER = f"""#!{sys.executable}
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    signal.pause()
"""
FAILING = "#!/bin/sh\necho the disk is on fire >&2\nexit 3\n"


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    for name, content in {
        "hn-apiserver": APISERVER,
        "hn-scheduler": SLEEPER,
        "hn-controllers": SLEEPER,
        "hn-agent": SLEEPER,
    }.items():
        write_script(directory / name, content)
    return directory


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.of(tmp_path / "data")


@pytest.fixture
def supervisor(layout: Layout, bin_dir: Path) -> Supervisor:
    port = next(port for port in range(17443, 17643) if why_taken("127.0.0.1", port) is None)
    cluster = replace(CLUSTER, port=port, agent_ports=agent_ports(1, ()))
    return Supervisor(layout, cluster, Options(("n",)), bin_dir, lambda line: None)


def write_script(path: Path, content: str) -> None:
    path.write_text(content)
    path.chmod(0o755)


def running(layout: Layout) -> set[str]:
    return {Path(word).name for process in ours(layout) for word in process.argv[:2] if "/hn-" in word}


def ours(layout: Layout) -> list[leftovers.HostProcess]:
    return leftovers.processes_of(layout, CLUSTER, list(leftovers.running_processes()))


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_cluster_runs_until_it_is_told_to_stop_and_leaves_no_process(supervisor: Supervisor, layout: Layout):
    ready = asyncio.Event()
    task = asyncio.create_task(supervisor.run(ready.set))
    async with asyncio.timeout(30):
        await ready.wait()
    assert running(layout) == {"hn-apiserver", "hn-scheduler", "hn-controllers", "hn-agent"}
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await task is True
    assert ours(layout) == []
    assert list(layout.run.glob("*.pid")) == []


async def test_a_process_that_is_killed_is_started_again(supervisor: Supervisor, layout: Layout):
    ready = asyncio.Event()
    task = asyncio.create_task(supervisor.run(ready.set))
    async with asyncio.timeout(30):
        await ready.wait()
    for name in ("hn-scheduler", "hn-apiserver"):
        before = layout.pid(name).read_text()
        os.kill(int(before), signal.SIGKILL)
        await eventually(lambda name=name, before=before: layout.pid(name).read_text() != before)
    os.kill(os.getpid(), signal.SIGTERM)
    await task
    assert ours(layout) == []


@pytest.mark.parametrize("broken", ["hn-apiserver", "hn-controllers", "hn-agent"])
async def test_a_start_that_fails_says_why_and_stops_the_rest(
    supervisor: Supervisor, layout: Layout, bin_dir: Path, broken: str
):
    write_script(bin_dir / broken, FAILING)
    if broken == "hn-agent":  # nothing is ready before this node is, so the failure comes first
        write_script(bin_dir / "hn-apiserver", APISERVER.replace('"True"', '"False"'))
    if broken == "hn-controllers":
        write_script(bin_dir / "hn-apiserver", APISERVER.replace('"name": "n"', '"name": "other"'))
    with pytest.raises(CommandError) as caught:
        async with asyncio.timeout(60):
            await supervisor.run(lambda: None)
    assert "ended with code 3 while starting" in caught.value.message
    assert "the disk is on fire" in caught.value.message
    assert ours(layout) == []


async def test_an_interrupted_start_is_no_error_and_leaves_no_process(
    supervisor: Supervisor, layout: Layout, bin_dir: Path
):
    write_script(bin_dir / "hn-apiserver", SLEEPER)  # never ready
    task = asyncio.create_task(supervisor.run(lambda: None))
    await eventually(lambda: running(layout) == {"hn-apiserver"})
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(30):
        assert await task is False
    assert ours(layout) == []
