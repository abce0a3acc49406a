"""A tenant with the examples in it, and what is asked from inside its pods."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.clusters import POD_SECONDS, REGISTRY, REPOSITORY, Cluster, eventually

NAMESPACE = "web"
SERVICE_ADDRESS = "10.254.0.100"  # as examples/web.yaml has it
CLIENT_ADDRESS = "10.0.0.100"
EXEC_SECONDS = 120.0


@dataclass(frozen=True)
class Tenant:
    cluster: Cluster
    name: str
    word: str

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = EXEC_SECONDS) -> str:
        return self.cluster.kubectl(self.name, "--namespace", NAMESPACE, *arguments, stdin=stdin, timeout=timeout)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def create(self, *objects: dict[str, Any]) -> None:
        for each in objects:
            self.kubectl("apply", "-f", "-", stdin=json.dumps(each))

    def deploy_examples(self) -> None:
        """As `make up` does, with a word of our own."""
        self.cluster.create_tenant(self.name)
        self.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "word"}, "data": {"word": self.word}},
        )
        self.kubectl("apply", "-f", str(REPOSITORY / "examples" / "web.yaml"))

    def wait_available(self, within: float) -> None:
        limit = f"--timeout={within:.0f}s"
        self.kubectl(
            "wait", "--for=condition=Available", "deployment/web", "deployment/client", limit, timeout=within + 10
        )
        # Ready replicas reach other pods' service tables a moment later.
        why = f"the Service of {self.name} to answer its client"
        eventually(lambda: "word:" in self.fetch("http://web/"), within=within, why=why)

    def pods(self, app: str) -> list[Any]:
        return list(self.get("pods", "-l", f"app={app}")["items"])

    @property
    def uid(self) -> str:
        found = json.loads(self.cluster.kubectl("system", "get", "tenant", self.name, "-o", "json"))
        return str(found["metadata"]["uid"])

    def sh(self, script: str, *, pod: str = "deploy/client", timeout: float = EXEC_SECONDS) -> str:
        """What a shell script, given on its standard input, prints in a pod; its exit code is not looked at."""
        wrapped = f"({script}\n) 2>&1 || true\n"
        return self.kubectl("exec", "--stdin", pod, "--", "sh", stdin=wrapped, timeout=timeout)

    def fetch(self, url: str, *, seconds: int = 15) -> str:
        """What wget in the client pod prints, its complaint included."""
        return self.sh(f"timeout {seconds} wget -q -O - {shlex.quote(url)}")

    @contextmanager
    def pod(self, name: str, *, restart_policy: str = "Always", labels: Any = None, **spec: Any) -> Iterator[None]:
        """A pod for the length of a test."""
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"terminationGracePeriodSeconds": 1, "restartPolicy": restart_policy, **spec},
        }
        self.create(manifest)
        try:
            yield
        finally:
            self.kubectl("delete", "pod", name, "--ignore-not-found", "--wait=true", timeout=POD_SECONDS)

    def wait_phase(self, pod: str, *phases: str) -> Any:
        def look() -> Any:
            found = self.get("pod", pod)
            return found if found["status"].get("phase") in phases else None

        return eventually(look, within=POD_SECONDS, why=f"pod {pod} to be {' or '.join(phases)}")


def container(script: str, *, name: str = "main", image: str = "busybox") -> dict[str, Any]:
    """A small container that runs a shell script."""
    resources = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}}
    return {"name": name, "image": f"{REGISTRY}/{image}", "command": ["sh", "-c", script], "resources": resources}
