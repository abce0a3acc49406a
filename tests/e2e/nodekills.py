"""Pods that come and go on a node whose agent and whose machines are killed, and what must be true of it after that."""

import asyncio
import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import REQUEST_ERRORS, Client, ClientConfig, is_reason
from hypernetes.nodeagent.logs import parse_entry
from tests.e2e.clusters import POD_SECONDS, REGISTRY, Cluster, eventually

NAMESPACE = "default"
AGENT_AWAY_SECONDS = 3.0  # promised of a restart
CLOCK_SECONDS = 0.05  # promised of guests' clocks
QUIET_SECONDS = (0.2, 2.0)  # between two kills
LIFE_SECONDS = (0.0, 8.0)  # of a pod that comes and goes, which thus ends in any of its steps
AGENT_SHARE = 0.4  # of the kills; the others are of machines

# Short lines in bursts, the hardest to keep apart; then the answers of the cluster's DNS, each with its times.
TALK = "n=0; while :; do seq $n $((n+1999)); n=$((n+2000)); sleep 0.5; done"
ASK = """
while :; do
  began=$(date +%s); if said=$(nslookup kubernetes.default.svc.cluster.local 2>&1); then how=found; else how=failed; fi
  echo "$how $began $(date +%s) $(echo $said | tr '\\n' ' ')"; sleep 0.2
done
"""


def pod(name: str, script: str, **spec: Any) -> Pod:
    container = {"name": "main", "image": f"{REGISTRY}/busybox", "command": ["sh", "-c", script]}
    body = {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return Pod.from_dict({"metadata": {"name": name, "namespace": NAMESPACE}, "spec": body})


@dataclass
class Havoc:
    """What was done, and when the agent wasn't there (unix seconds)."""

    seed: int
    restarts: dict[str, int] = field(default_factory=dict)  # of the pods that stay, by their QEMU's kills
    kills_of_agent: int = 0
    kills_of_machines: int = 0
    pods: int = 0
    away: list[tuple[float, float]] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.kills_of_agent + self.kills_of_machines

    def __str__(self) -> str:
        longest = max((end - start for start, end in self.away), default=0.0)
        return (
            f"seed {self.seed}: {self.kills_of_agent} kills of hn-agent (away for {longest:.1f} s at the longest), "
            f"{self.kills_of_machines} of QEMU, {self.pods} pods came and went"
        )


class Traces:
    """What the host has for the pods of a cluster. Two that were taken while no pod was there must be equal."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._identity = cluster.layout.load().id

    def take(self) -> dict[str, list[str]]:
        agents = {name: pid for name, pid in self._cluster.control_pids().items() if name.startswith("hn-agent")}
        return {
            "processes": sorted(process.argv[0] + " " + process.argv[2] for process in self._cluster.processes()),
            "links": self._links(),
            "rules": self._rules(),
            "mounts": sorted(self._mounts()),
            "groups": sorted(line for line in self._cluster.host_traces() if line.startswith("group")),
            "files": sorted(self._files()),
            "open files without a name": sorted(
                link for pid in agents.values() for link in _links_of(pid) if "(deleted)" in link
            ),
            "sockets": sorted(self._listeners()),
        }

    def _links(self) -> list[str]:
        """In the host's own network namespace, and in those of the cluster."""
        namespaces = sorted(path.name for path in Path("/run/netns").glob(f"hn-{self._identity}-*"))
        found = [path.name for path in Path("/sys/class/net").glob(f"hn{self._identity}*")]
        for name in namespaces:
            lines = _said("ip", "-netns", name, "-brief", "link").splitlines()
            found += [f"{name}: {line.split()[0]}" for line in lines]
        return sorted(found)

    def _rules(self) -> list[str]:
        """nftables' elements, which know pods by address and link."""
        found = []
        for path in Path("/run/netns").glob(f"hn-{self._identity}-*"):
            text = _said("ip", "netns", "exec", path.name, "nft", "-s", "list", "ruleset")
            found += [
                f"{path.name}: {line.strip()}" for line in re.sub(r"packets \d+ bytes \d+", "", text).splitlines()
            ]
        return sorted(found)

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if self._identity in line or str(self._cluster.directory) in line]

    def _files(self) -> list[str]:
        """Of the node, but for images, and the machines' sockets and uids."""
        nodes, run = self._cluster.layout.root / "nodes", Path("/run/hypernetes") / f"hn{self._identity}"
        found = [path for base in (nodes, run) for path in base.rglob("*")]
        return [str(path) for path in found if "images" not in path.parts]

    def _listeners(self) -> list[str]:
        names = {f"pid={process.pid}," for process in self._cluster.processes()}
        lines = _said("ss", "-H", "-ltnup").splitlines()
        return [" ".join(line.split()[:5]) for line in lines if any(name in line for name in names)]


def _links_of(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(re.sub(r"[0-9a-f]{12}|\d{3,}", "N", str(path.readlink())))
    return found


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


class Killing:
    """`enough` decides when it ends, by what was done."""

    def __init__(self, cluster: Cluster, client: Client, staying: list[str], seed: int) -> None:
        self.done = Havoc(seed, dict.fromkeys(staying, 0))
        self._cluster, self._client, self._chance = cluster, client, random.Random(seed)
        self._names = itertools.count()
        self._agent = next(name for name in cluster.control_pids() if name.startswith("hn-agent"))
        self._uids: dict[str, str] = {}

    @asynccontextmanager
    async def running(self, coming: int) -> AsyncIterator[None]:
        """Pods come and go, so many at a time, and things are killed."""
        for name in self.done.restarts:
            self._uids[(await self._client.get(Pod, name, namespace=NAMESPACE)).metadata.uid or ""] = name
        work = [asyncio.create_task(self._come_and_go()) for _ in range(coming)]
        work += [asyncio.create_task(self._kill_agents()), asyncio.create_task(self._kill_machines())]
        try:
            yield
            failed = next((task for task in work if task.done()), None)
            assert failed is None, failed
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _come_and_go(self) -> None:
        while True:
            name = f"passing-{next(self._names)}"
            script = self._chance.choice(("exit 0", "exit 3", "sleep 2", "sleep 1000"))
            policy = self._chance.choice(("Never", "OnFailure", "Always"))
            await self._client.create(pod(name, script, restartPolicy=policy))
            await asyncio.sleep(self._chance.uniform(*LIFE_SECONDS))
            await self._client.delete(Pod, name, namespace=NAMESPACE, grace_seconds=self._chance.choice((None, 1)))
            while await self._there(name):
                await asyncio.sleep(0.5)
            self.done.pods += 1

    async def _there(self, name: str) -> bool:
        try:
            await self._client.get(Pod, name, namespace=NAMESPACE)
        except REQUEST_ERRORS as error:
            if is_reason(error, "NotFound"):
                return False
            raise
        return True

    async def _kill_agents(self) -> None:
        since: float | None = None
        while True:
            await asyncio.sleep(self._chance.uniform(*QUIET_SECONDS) / AGENT_SHARE)
            log = self._cluster.layout.log(self._agent)
            pid, size = self._cluster.control_pids()[self._agent], log.stat().st_size
            since = time.time() if since is None else since
            with contextlib.suppress(ProcessLookupError):  # it is just being started again
                os.kill(pid, signal.SIGKILL)
                self.done.kills_of_agent += 1
            if self._chance.random() < 0.2:
                continue  # the next one hits it while it starts
            async with asyncio.timeout(POD_SECONDS):
                while not _adopted(log, size):
                    await asyncio.sleep(0.1)
            self.done.away.append((since, time.time()))
            since = None

    async def _kill_machines(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(*QUIET_SECONDS) / (1 - AGENT_SHARE))
            found = await asyncio.to_thread(self._cluster.machine_pids)
            if not found:
                continue
            uid = self._chance.choice(sorted(found))
            name = self._uids.get(uid)
            if name is not None and not await self._runs(name, self.done.restarts[name]):
                continue  # a machine without containers in it: its end isn't a restart of theirs
            if (await asyncio.to_thread(self._cluster.machine_pids)).get(uid) != found[uid]:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[uid], signal.SIGKILL)
                self.done.kills_of_machines += 1
                if name is not None:
                    self.done.restarts[name] += 1

    async def _runs(self, name: str, restarts: int) -> bool:
        status = (await self._client.get(Pod, name, namespace=NAMESPACE)).status.container_statuses
        return any(each.restart_count == restarts and each.state and each.state.running for each in status)


def _adopted(log: Path, since: int) -> bool:
    with log.open("rb") as file:
        file.seek(since)
        return b"agent.adopted" in file.read()


def attempts(cluster: Cluster, uid: str) -> dict[int, list[bytes]]:
    """What a pod's `main` has said, by attempt, oldest file first; of attempts of which the agent keeps the log."""
    (directory,) = cluster.layout.root.glob(f"nodes/*/pods/{uid}/logs")
    found: dict[int, bytes] = {}
    files = sorted(directory.glob("main.*.log*"), key=lambda path: -int(path.name.partition(".log")[2].strip(".") or 0))
    for path in files:
        entries = filter(None, map(parse_entry, path.read_bytes().splitlines(keepends=True)))
        text = b"".join(entry.text + b"\n" * entry.full for entry in entries)
        attempt = int(path.name.split(".")[1])
        found[attempt] = found.get(attempt, b"") + text
    return {attempt: text.split(b"\n")[:-1] for attempt, text in found.items()}


def check_talk(said: dict[int, list[bytes]]) -> None:
    """Each number once, and in order."""
    assert said
    for attempt, lines in said.items():
        numbers = [int(line) for line in lines]
        wrong = [(a, b) for a, b in itertools.pairwise(numbers) if b != a + 1]
        assert wrong == [], f"attempt {attempt}: {len(wrong)} gaps or repetitions, the first {wrong[:3]}"


def check_answers(said: dict[int, list[bytes]], away: list[tuple[float, float]]) -> None:
    """None has failed, but where the agent was away for longer than promised."""
    answers = [line.decode().split(maxsplit=3) for lines in said.values() for line in lines]
    found = [words for words in answers if words[0] == "found"]
    assert found
    for how, began, ended, text in (words for words in answers if words[0] == "failed"):
        excused = any(
            end - start > AGENT_AWAY_SECONDS and float(began) <= end and start <= float(ended) + 1
            for start, end in away
        )
        assert excused, f"a question {how}, asked at {began}, answered at {ended}: {text}"


def check_clock(cluster: Cluster, tenant: str, name: str) -> None:
    """By many short questions, each of which bounds by how much the guest's clock can be off."""
    argv = cluster.kubectl_argv(tenant, "exec", "-i", name, "--", "sh", "-c", "while read x; do adjtimex; echo; done")
    least, most = -1e9, 1e9
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as asking:
        assert asking.stdin is not None
        assert asking.stdout is not None
        for _ in range(20):
            sent = time.time()
            asking.stdin.write("now\n")
            text = "".join(iter(asking.stdout.readline, "\n"))
            received = time.time()
            seconds, micros = (int(re.findall(rf"{word}: +(\d+)", text)[0]) for word in ("tv_sec", "tv_usec"))
            guest = seconds + micros / 1e6
            least, most = max(least, guest - received), min(most, guest - sent)
        asking.stdin.close()
    assert least < CLOCK_SECONDS, f"{name}: its clock is ahead by {least * 1e3:.0f} to {most * 1e3:.0f} ms"
    assert most > -CLOCK_SECONDS, f"{name}: its clock is late by {-most * 1e3:.0f} to {-least * 1e3:.0f} ms"


async def settled(client: Client, names: list[str]) -> None:
    """Until these pods are ready, and the node is."""
    async with asyncio.timeout(2 * POD_SECONDS):
        for name in names:
            while not _ready(await client.get(Pod, name, namespace=NAMESPACE)):
                await asyncio.sleep(0.5)


def _ready(found: Pod) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in found.status.conditions)


async def emptied(client: Client) -> None:
    for each in (await client.list(Pod, namespace=NAMESPACE)).items:
        await client.delete(Pod, each.metadata.name or "", namespace=NAMESPACE, grace_seconds=1)
    async with asyncio.timeout(POD_SECONDS):
        while (await client.list(Pod, namespace=NAMESPACE)).items:
            await asyncio.sleep(0.5)


def still(traces: Traces) -> dict[str, list[str]]:
    """What there is once nothing of it changes any more."""
    found = traces.take()

    def unchanged() -> bool:
        nonlocal found
        before, found = found, traces.take()
        return before == found

    eventually(unchanged, within=POD_SECONDS, why="the node doesn't come to rest", every=3.0)
    return found


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is there too much (+) or too little (-), by kind."""
    found = {}
    for kind, lines in before.items():
        old, new = Counter(lines), Counter(after[kind])
        changed = [*(f"+ {line}" for line in (new - old)), *(f"- {line}" for line in (old - new))]
        if changed:
            found[kind] = sorted(changed)
    return found


async def wreck(
    cluster: Cluster, tenant: str, *, kills: int, pods: int, seconds: float, coming: int, seed: int
) -> Havoc:
    """At least so many kills, pods and seconds of them; then all that must be true."""
    config = ClientConfig.from_kubeconfig(cluster.kubeconfig(tenant), timeout=30.0)
    async with Client(config) as client:
        traces = Traces(cluster)
        await client.create(pod("first", "sleep 1000"))
        await settled(client, ["first"])
        await emptied(client)  # the network is there now, and the template
        before = await asyncio.to_thread(still, traces)
        staying = {"talks": TALK, "asks": ASK, "asks-too": ASK}
        made = {name: await client.create(pod(name, script)) for name, script in staying.items()}
        await settled(client, list(staying))
        killing = Killing(cluster, client, list(staying), seed)
        done, until = killing.done, time.monotonic() + seconds
        try:
            async with killing.running(coming):
                while done.kills < kills or done.pods < pods or time.monotonic() < until:
                    await asyncio.sleep(1)
            await asyncio.sleep(1)
            await settled(client, list(staying))
            for name, each in made.items():
                found = await client.get(Pod, name, namespace=NAMESPACE)
                assert found.metadata.uid == each.metadata.uid
                counted = found.status.container_statuses[0].restart_count
                assert counted == done.restarts[name], (
                    f"{name}: restartCount {counted} after {done.restarts[name]} kills"
                )
                check_clock(cluster, tenant, name)
                said = attempts(cluster, each.metadata.uid or "")
                check_talk(said) if name == "talks" else check_answers(said, done.away)
            await emptied(client)
        finally:
            print(done)
    assert cluster.get(tenant, "ports.hypernetes.io")["items"] == []
    changed = differences(before, await asyncio.to_thread(still, traces))
    assert changed == {}, changed
    return done
