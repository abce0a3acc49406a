"""What a tenant does that takes all it can get: its memory ends at its quota, and its neighbour hardly notices."""

import asyncio
import contextlib
import itertools
import json
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from hypernetes.api.status import StatusError
from hypernetes.cli import tenants
from hypernetes.client import Client, ClientConfig
from tests.integration.control_plane import ControlPlane, running

QUOTA_BYTES = 16 * 1024 * 1024
MAP_BYTES = 16 * 1024
SPARE_BYTES = 16 * 1024 * 1024  # of any server that writes: requests under way, SQLite's pages
CONNECTIONS, WRITERS = 500, 4
CONNECTION_BYTES = 256 * 1024  # with a piece of an answer in it
RATE, NEIGHBOURS = 100.0, 4  # the neighbour's requests per second, and its connections
SECONDS = 3.0
WAIT_SECONDS = 0.01  # of the neighbour's p99, over its quiet value; twice that value isn't shown (docs/performance.md)
# The machine has other things to do, which come and go: what is quiet and what isn't is asked in turn, and medians are
# compared, of more rounds where the first ones don't tell.
LEAST_ROUNDS, MOST_ROUNDS = 3, 9
FIRST_NICE = -10
ANSWERED_SECONDS = 60.0
MAPS = "/api/v1/namespaces/default/configmaps"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


@dataclass(slots=True)
class Greedy:
    """The tenant that takes all it can get."""

    plane: ControlPlane
    client: Client
    token: str
    made: int = 0
    refused: int = 0
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def _write(self) -> None:
        while True:
            body = {"metadata": {"name": f"m-{next(self.numbers)}"}, "data": {"k": "x" * MAP_BYTES}}
            try:
                await self.client.request("POST", f"/tenants/acme{MAPS}", json=body)
                self.made += 1
            except StatusError as error:
                self.refused += "exceeded quota of the tenant" in error.message

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Meanwhile it makes ConfigMaps, and goes on when it is refused."""
        writers = [asyncio.create_task(self._write()) for _ in range(WRITERS)]
        try:
            yield
        finally:
            for writer in writers:
                writer.cancel()
            ends = await asyncio.gather(*writers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends

    @asynccontextmanager
    async def listing(self) -> AsyncIterator[None]:
        """Meanwhile its connections are open, and each lists everything again and again."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.load.flooding", str(self.plane.port), str(authority(self.plane)),
            self.token, MAPS, str(CONNECTIONS), str(QUOTA_BYTES), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        put_first(process.pid)  # as the server is: it is to be a load
        try:
            assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
            yield
            told = json.loads((await asyncio.wait_for(process.communicate(b""), ANSWERED_SECONDS))[0])
            assert told["bytes"] >= QUOTA_BYTES, told
            print(f"  {told['lists']} lists, {told['bytes'] / 1e6:.0f} MB, {told['refused']} refused")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def token(client: Client) -> str:
    """Of an account that may do everything in its tenant."""
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    body = {"metadata": {"name": "all"}, "subjects": [subject], "roleRef": role}
    await client.request("POST", BINDINGS, json=body)
    return str((await client.request("POST", TOKEN, json={"spec": {}}))["status"]["token"])


def rss(plane: ControlPlane) -> int:
    """Bytes of memory that the server holds."""
    pages = Path(f"/proc/{plane.pid('apiserver')}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


async def asked(plane: ControlPlane, token: str) -> dict[str, float]:
    """How long the neighbour's GETs took, which come from a process of their own: see benchmarks/load/asking.py."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load.asking", str(plane.port), str(authority(plane)), token, f"{MAPS}/m",
        str(RATE), str(SECONDS), str(NEIGHBOURS), str(plane.pid("apiserver")), stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        told, _ = await asyncio.wait_for(process.communicate(), ANSWERED_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError("the neighbour is hardly answered at all") from None
    found: dict[str, float] = json.loads(told)
    return found


def put_first(pid: int) -> None:
    """Before what else the machine does, if this process may say so."""
    with contextlib.suppress(PermissionError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), FIRST_NICE)


def authority(plane: ControlPlane) -> Path:
    return plane.layout.root / "pki" / "ca.crt"


async def _is_quick_enough(plane: ControlPlane, token: str, greedy: Greedy) -> bool:
    """Whether the neighbour's p99 stays so near to its quiet value, whatever the greedy tenant does.

    Without the time for which the server had no processor: a machine that is busy gives one to a server that has little
    to do, and lets one wait that has much.
    """
    quiet, loads = list[float](), {"it writes": greedy.writing, "500 connections list everything": greedy.listing}
    beside: dict[str, list[float]] = {what: [] for what in loads}
    for number in range(1, MOST_ROUNDS + 1):
        alone = await asked(plane, token)
        quiet.append(alone["net"])
        for what, load in loads.items():
            async with load():
                busy = await asked(plane, token)
            beside[what].append(busy["net"])
            print(f"the neighbour's GET while {what}: p99 {busy['p99'] * 1e3:.1f} ms, quiet {alone['p99'] * 1e3:.1f}; "
                  f"not waiting for a processor {busy['net'] * 1e3:.1f}, quiet {alone['net'] * 1e3:.1f}")  # fmt: skip
        most = median(quiet) + WAIT_SECONDS
        if number >= LEAST_ROUNDS and number % 2 and all(median(each) < most for each in beside.values()):
            break
    for what, each in beside.items():
        print(f"median of {len(each)} while {what}: {median(each) * 1e3:.1f} ms, quiet {median(quiet) * 1e3:.1f}")
    return all(median(each) < most for each in beside.values())


async def test_memory_ends_at_the_quota_and_the_neighbour_is_answered_nearly_as_quickly_as_ever(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, tenant="acme") as (plane, admin):
        await tenants.create(admin, plane.layout, "globex", None)
        quota = {"spec": {"quota": {"storedBytes": str(QUOTA_BYTES)}}}
        await admin.request(
            "PATCH", "/apis/hypernetes.io/v1/tenants/acme", json=quota, content_type="application/merge-patch+json"
        )  # fmt: skip
        kubeconfigs = [plane.layout.tenant_kubeconfig(name) for name in ("acme", "globex")]
        async with (
            Client(ClientConfig.from_kubeconfig(kubeconfigs[0])) as acme,
            Client(ClientConfig.from_kubeconfig(kubeconfigs[1])) as globex,
        ):
            greedy, quiet = Greedy(plane, acme, await token(acme)), await token(globex)
            await globex.request("POST", MAPS, json={"metadata": {"name": "m"}, "data": {"k": "x" * 1000}})
            await asked(plane, quiet)  # a server that has answered much holds more than one that has just begun
            before = rss(plane)
            async with greedy.writing():
                while not greedy.refused:
                    await asyncio.sleep(0.1)
            grown = rss(plane) - before
            print(f"\n{greedy.made} ConfigMaps of {MAP_BYTES} bytes until refused: {grown / 1e6:.1f} MB more memory, "
                  f"quota {QUOTA_BYTES / 1e6:.1f} MB")  # fmt: skip
            assert greedy.made * MAP_BYTES > 0.9 * QUOTA_BYTES
            assert grown < 2 * QUOTA_BYTES + SPARE_BYTES

            assert await _is_quick_enough(plane, quiet, greedy)
            assert rss(plane) - before < 2 * QUOTA_BYTES + SPARE_BYTES + CONNECTIONS * CONNECTION_BYTES
