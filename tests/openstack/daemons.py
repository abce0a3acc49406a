"""Processes of OpenStack that a test runs: each in a session of its own, ended with all its children."""

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.integration.networks.namespaces import Namespace

START_SECONDS = 180.0  # the machine may be busy with other tests
STOP_SECONDS = 5.0
_CALL_SECONDS = 120.0


class Daemon:
    """One process, in the foreground of its session; should the test's own process be killed, the kernel ends it."""

    def __init__(
        self, argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None,
        namespace: Namespace | None = None, stop_seconds: float = STOP_SECONDS,
    ) -> None:  # fmt: skip
        self._log, self._stop_seconds = log, stop_seconds
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *entering(namespace), *argv],
                env={**os.environ, **(env or {})}, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, pass_fds=[namespace.descriptor] if namespace else [],
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Returns when `ready`; fails when the process ends before, with the end of its log."""
        until(lambda: self._process.poll() is not None or ready(), what, self._log)
        assert self._process.poll() is None, f"{what} ended: {self._log.read_text(errors='replace')[-3000:]}"

    def stop(self) -> None:
        """SIGTERM, and for what is left of the session SIGKILL. Twice is no error."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._stop_seconds)


def entering(namespace: Namespace | None) -> list[str]:
    """What a command line begins with to run in a namespace; its descriptor must be passed on."""
    return ["nsenter", f"--net=/proc/self/fd/{namespace.descriptor}", "--"] if namespace else []


def run(argv: Sequence[str | Path], env: Mapping[str, str] | None = None, namespace: Namespace | None = None) -> str:
    """What a command prints; fails with its complaint."""
    done = subprocess.run(
        [*entering(namespace), *argv], env={**os.environ, **(env or {})}, capture_output=True, text=True,
        timeout=_CALL_SECONDS, pass_fds=[namespace.descriptor] if namespace else [],
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(map(str, argv))}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def until(ready: Callable[[], bool], what: str, log: Path | None = None, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        tail = log.read_text(errors="replace")[-3000:] if log and log.exists() else ""
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s {tail}"
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether an HTTP server says anything at all."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False
