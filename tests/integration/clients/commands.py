"""kubectl and helm as a person at a shell has them."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).parents[3]
_COMMAND_SECONDS = 90.0  # the machine may be busy with other tests


class Command:
    """A program for one cluster, by kubeconfig. Its caches lie beside the kubeconfig, one for each tenant."""

    def __init__(self, program: str, kubeconfig: Path) -> None:
        self.program, self.kubeconfig = program, kubeconfig
        self.home = kubeconfig.with_suffix(".home")
        self.home.mkdir(exist_ok=True)

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.program, *arguments], input=stdin, env={**self.environment(), **environment},
            cwd=self.home, capture_output=True, text=True, timeout=_COMMAND_SECONDS,
        )  # fmt: skip

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """What it prints, warnings too."""
        done = self.run(*arguments, stdin=stdin, **environment)
        assert done.returncode == 0, f"{self.program} {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def fails(self, *arguments: str, stdin: str = "") -> str:
        """What it complains about."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode != 0, f"{self.program} {' '.join(arguments)}: {done.stdout}"
        return done.stderr

    @contextmanager
    def background(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        process = subprocess.Popen(
            [self.program, *arguments], env=self.environment(), cwd=self.home,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def environment(self) -> dict[str, str]:
        fetched = _REPOSITORY / "build" / "bin"
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(self.home),
            "PATH": f"{fetched}{os.pathsep}{os.environ['PATH']}",
            "TZ": "UTC",
        }


class Kubectl(Command):
    def __init__(self, kubeconfig: Path) -> None:
        super().__init__("kubectl", kubeconfig)

    def get(self, *arguments: str) -> Any:
        """An object, or the list of objects."""
        found = json.loads(self("get", *arguments, "-o", "json"))
        return found["items"] if found["kind"] == "List" else found

    def rows(self, *arguments: str) -> list[list[str]]:
        """The cells of a table without its header, as far as no cell has spaces in it."""
        return [line.split() for line in self("get", *arguments, "--no-headers").splitlines()]
