"""No acknowledged write is lost and no pod notices, whatever process of ours is killed."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from hypernetes.api.models.core_v1 import ConfigMap
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.client import REQUEST_ERRORS, Client, ClientConfig
from tests.e2e.clusters import POD_SECONDS, Cluster, eventually

TENANT = "kills"
NAMESPACE = "default"
KEYS = 50  # objects that are written again and again
STEADY = 2  # replicas of the Deployment that nobody touches
QUIET_SECONDS = (0.3, 2.5)  # between two kills

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, image: "127.0.0.1:5000/busybox", command: [sleep, 1d]}}]
"""


@dataclass(frozen=True)
class Life:
    """What must stay the same of a pod whose node's processes are killed."""

    hypervisor_pid: int
    boot_id: str
    restarts: int
    address: str


@dataclass
class Journal:
    """The last acknowledged write of each object, and how many there were."""

    last: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> (number, resource version)
    acknowledged: int = 0
    refused: int = 0


@pytest.fixture(scope="module")
def kills(shared_cluster: Cluster) -> Iterator[Cluster]:
    cluster = shared_cluster
    cluster.create_tenant(TENANT)
    for name, replicas in (("steady", STEADY), ("scaled", 1)):
        cluster.kubectl(TENANT, "apply", "-f", "-", stdin=DEPLOYMENT.format(name=name, replicas=replicas))
    wait = f"--timeout={POD_SECONDS:.0f}s"
    for name in ("steady", "scaled"):
        cluster.kubectl(TENANT, "rollout", "status", f"deployment/{name}", wait, timeout=POD_SECONDS + 10)
    yield cluster
    cluster.kubectl(TENANT, "delete", "deployment", "--all", "--wait=false")


def lives(cluster: Cluster) -> dict[str, Life]:
    """The steady pods by UID."""
    pids = cluster.machine_pids()
    found = {}
    for pod in cluster.get(TENANT, "pods", "-l", "app=steady")["items"]:
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        boot_id = cluster.kubectl(TENANT, "exec", name, "--", "cat", "/proc/sys/kernel/random/boot_id").strip()
        status = pod["status"]
        found[uid] = Life(pids[uid], boot_id, status["containerStatuses"][0]["restartCount"], status["podIP"])
    assert len(found) == STEADY
    return found


async def write(client: Client, journal: Journal, enough: asyncio.Event, wanted: int) -> None:
    """Writes numbers into objects until it is cancelled. Only what the server acknowledged goes into the journal."""
    number = 0
    while True:
        number += 1
        name = f"written-{number % KEYS}"
        obj = ConfigMap(metadata=ObjectMeta(name=name, namespace=NAMESPACE), data={"number": str(number)})
        try:
            stored = await (client.update(obj) if name in journal.last else client.create(obj))
        except REQUEST_ERRORS:
            journal.refused += 1
            with contextlib.suppress(*REQUEST_ERRORS):  # a write that was not acknowledged may have happened
                stored = await client.get(ConfigMap, name, namespace=NAMESPACE)
                journal.last.setdefault(name, (0, int(stored.metadata.resource_version or 0)))
            await asyncio.sleep(0.05)
            continue
        journal.last[name] = (number, int(stored.metadata.resource_version or 0))
        journal.acknowledged += 1
        if journal.acknowledged >= wanted:
            enough.set()


async def scale(cluster: Cluster, chance: random.Random) -> None:
    while True:
        replicas = str(chance.randint(0, 2))
        await asyncio.to_thread(cluster.try_kubectl, TENANT, "scale", "deployment/scaled", f"--replicas={replicas}")
        await asyncio.sleep(chance.uniform(2, 5))


async def kill(cluster: Cluster, chance: random.Random, times: int) -> list[str]:
    """kill -9 of one process at a time, and of all at once now and then; returns what was killed."""
    killed = []
    while len(killed) < times:
        await asyncio.sleep(chance.uniform(*QUIET_SECONDS))
        alive = cluster.control_pids()
        names = sorted(alive) if chance.random() < 0.15 else [chance.choice(sorted(alive))]
        for name in names:
            with contextlib.suppress(ProcessLookupError):  # it is just being started again
                os.kill(alive[name], signal.SIGKILL)
                killed.append(name)
    return killed


async def havoc(cluster: Cluster, *, kills: int, writes: int, seed: int) -> tuple[Journal, list[str]]:
    chance, journal, enough = random.Random(seed), Journal(), asyncio.Event()
    config = ClientConfig.from_kubeconfig(cluster.kubeconfig(TENANT), timeout=5.0)
    async with Client(config) as client:
        background = [
            asyncio.create_task(write(client, journal, enough, writes)),
            asyncio.create_task(scale(cluster, chance)),
        ]
        try:
            killed = await kill(cluster, chance, kills)
            async with asyncio.timeout(600):
                await enough.wait()
        finally:
            for task in background:
                task.cancel()
            results = await asyncio.gather(*background, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return journal, killed


def check(cluster: Cluster, journal: Journal) -> None:
    """Every acknowledged write is there, at its own or a later revision."""
    stored = {item["metadata"]["name"]: item for item in cluster.get(TENANT, "configmaps")["items"]}
    for name, (number, revision) in journal.last.items():
        assert int(stored[name]["metadata"]["resourceVersion"]) >= revision, name
        assert int(stored[name]["data"]["number"]) >= number, name


def run(cluster: Cluster, *, kills: int, writes: int, seed: int) -> None:
    before = lives(cluster)
    journal, killed = asyncio.run(havoc(cluster, kills=kills, writes=writes, seed=seed))
    eventually(
        lambda: cluster.try_kubectl("system", "get", "--raw", "/readyz").returncode == 0,
        within=60, why="the API server did not come back",
    )  # fmt: skip
    check(cluster, journal)
    cluster.kubectl(TENANT, "scale", "deployment/scaled", "--replicas=1")
    eventually(
        lambda: cluster.get(TENANT, "deployment", "scaled")["status"].get("readyReplicas") == 1
        and cluster.get(TENANT, "deployment", "scaled")["status"].get("replicas") == 1,
        within=POD_SECONDS, why="the Deployment did not converge", every=1.0,
    )  # fmt: skip
    assert lives(cluster) == before
    assert len(killed) >= kills
    assert journal.acknowledged >= writes
    print(f"{journal.acknowledged} writes acknowledged, {journal.refused} not, {len(killed)} kills: {sorted(killed)}")


@pytest.mark.vm
@pytest.mark.timeout(900)
def test_a_few_kills_lose_no_write_and_touch_no_pod(kills: Cluster):
    run(kills, kills=5, writes=300, seed=1)


@pytest.mark.vm
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_kills_lose_no_write_and_touch_no_pod(kills: Cluster):
    run(kills, kills=25, writes=2500, seed=2)


@pytest.mark.vm
@pytest.mark.timeout(900)
def test_after_a_power_cut_pods_come_back_as_themselves(kills: Cluster):
    before = lives(kills)
    for process in kills.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)

    def back() -> bool:
        done = kills.try_kubectl(TENANT, "rollout", "status", "deployment/steady", "--watch=false")
        return (
            done.returncode == 0
            and "successfully rolled out" in done.stdout
            and len(kills.machine_pids().keys() & before.keys()) == STEADY
        )

    eventually(back, within=2 * POD_SECONDS, why="the pods did not come back", every=1.0)
    eventually(lambda: lives_or_none(kills), within=POD_SECONDS, why="the pods can't be entered", every=1.0)
    after = lives(kills)
    assert {uid: life.address for uid, life in after.items()} == {uid: life.address for uid, life in before.items()}
    assert all(after[uid].boot_id != before[uid].boot_id for uid in before)


def lives_or_none(cluster: Cluster) -> dict[str, Life] | None:
    try:
        return lives(cluster)
    except (AssertionError, KeyError):
        return None
