"""A cluster as its user has it: started by `hn up`, used by kubectl, taken down by `hn down`."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypernetes.cli import leftovers
from hypernetes.cli.layout import Layout

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[2]
HN = str(Path(sys.executable).with_name("hn"))
GUEST = REPOSITORY / "build" / "guest"
REGISTRY = "127.0.0.1:5000"
RESTART_SECONDS = 1  # so that a test can see a container restart many times
UP_SECONDS = 240.0
POD_SECONDS = 240.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def kubectl_path() -> str:
    found = shutil.which("kubectl", path=f"{REPOSITORY / 'build' / 'bin'}:{os.environ['PATH']}")
    assert found is not None, "kubectl is missing: make kubectl"
    return found


def eventually(look: Callable[[], T], *, within: float, why: str, every: float = 0.25) -> T:
    """The first truthy value of `look`; fails with `why` and the last value after `within` seconds."""
    deadline = time.monotonic() + within
    while not (value := look()):
        assert time.monotonic() < deadline, f"{why}: {value!r} after {within:.0f} s"
        time.sleep(every)
    return value


@dataclass(frozen=True)
class Cluster:
    directory: Path
    port: int
    store: str = "sqlite"
    guest: Path = GUEST
    nodes: int = 1

    @property
    def layout(self) -> Layout:
        return Layout.of(self.directory)

    def up_arguments(self) -> list[str]:
        return [
            "up", "--dir", str(self.directory), "--port", str(self.port), "--guest", str(self.guest),
            "--insecure-registry", REGISTRY, "--store", self.store,
            "--max-container-restart-period", str(RESTART_SECONDS), "--nodes", str(self.nodes),
        ]  # fmt: skip

    def hn(self, *arguments: str, check: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([HN, *arguments], capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or done.returncode == 0, f"hn {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def up(self) -> str:
        return self.hn(*self.up_arguments(), "--detach", timeout=UP_SECONDS).stdout

    def down(self) -> str:
        return self.hn("down", "--dir", str(self.directory), timeout=120.0).stdout

    def create_tenant(self, name: str) -> None:
        self.hn("tenant", "create", name, "--dir", str(self.directory))

    def kubeconfig(self, tenant: str) -> Path:
        return self.layout.admin_kubeconfig if tenant == "system" else self.layout.tenant_kubeconfig(tenant)

    def kubectl_argv(self, tenant: str, *arguments: str) -> list[str]:
        return [kubectl_path(), "--kubeconfig", str(self.kubeconfig(tenant)), *arguments]

    def kubectl(
        self, tenant: str, *arguments: str, stdin: str | None = None, timeout: float = 60.0,
        env: dict[str, str] | None = None,
    ) -> str:  # fmt: skip
        """What kubectl prints; fails with its complaint where it fails."""
        done = self.try_kubectl(tenant, *arguments, stdin=stdin, timeout=timeout, env=env)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def try_kubectl(
        self, tenant: str, *arguments: str, stdin: str | None = None, timeout: float = 60.0,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        return subprocess.run(
            self.kubectl_argv(tenant, *arguments), input=stdin, capture_output=True, text=True, timeout=timeout,
            check=False, env={**os.environ, **(env or {})},
        )  # fmt: skip

    def get(self, tenant: str, *arguments: str) -> Any:
        return json.loads(self.kubectl(tenant, "get", *arguments, "-o", "json"))

    def processes(self) -> list[leftovers.HostProcess]:
        return leftovers.processes_of(self.layout, self.layout.load(), list(leftovers.running_processes()))

    def machine_pids(self) -> dict[str, int]:
        """The hypervisor's pid by the UID of its pod."""
        cluster = self.layout.load()
        found = leftovers.machines(cluster, list(leftovers.running_processes()))
        return {machine.argv[2].removeprefix(f"hn{cluster.id}-"): machine.pid for machine in found}

    def control_pids(self) -> dict[str, int]:
        """The pid of each supervised process by its name."""
        return {path.stem: int(path.read_text()) for path in self.layout.run.glob("*.pid")}

    def host_traces(self) -> list[str]:
        """What of this cluster can be seen on the machine: processes, namespaces, links, nftables tables, groups."""
        identity = self.layout.load().id
        namespaces = [path.name for path in Path("/run/netns").glob(f"hn*-{identity}*")]
        links = [path.name for path in Path("/sys/class/net").glob(f"hn{identity}*")]
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        return [
            *(f"process {process.pid} {process.argv[:2]}" for process in self.processes()),
            *(f"namespace {name}" for name in namespaces),
            *(f"link {name}" for name in links),
            *(line for line in tables.splitlines() if f"hn_{identity}" in line),
            *(f"group {path}" for path in leftovers.cgroups_of(identity)),
        ]

    def kill_everything(self) -> None:
        """For a test's end: `hn down`, and by force what it leaves."""
        if self.layout.cluster_file.exists():
            self.hn("down", "--dir", str(self.directory), check=False, timeout=120.0)
            for process in self.processes():
                os.kill(process.pid, signal.SIGKILL)
