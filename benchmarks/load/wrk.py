"""Requests as fast as they are answered, by wrk: a token in a header, since it knows no client certificates."""

import asyncio
import json
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from shutil import which

_SCRIPT = Path(__file__).with_name("requests.lua")
_SPARE_SECONDS = 120.0  # over what was asked for, until a run counts as hung


class LoadError(Exception):
    """Requests failed, so that a figure would say nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    requests: int
    bytes: int
    seconds: float
    p50: float  # seconds
    p99: float
    cpu: float  # seconds that wrk itself used

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.bytes / self.seconds / 1e6


async def run(
    url: str, token: str, arguments: list[str], *, seconds: float, connections: int, accept: str = "application/json"
) -> Run:
    """One run of wrk with one thread, which is a core's worth. Raises LoadError."""
    if which("wrk") is None:
        raise LoadError("wrk is missing: make deps")
    before = _children_cpu_seconds()
    process = await asyncio.create_subprocess_exec(
        "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s",
        "--timeout", "30s", "--script", str(_SCRIPT), "--header", f"Authorization: Bearer {token}",
        "--header", f"Accept: {accept}", url, "--", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds + _SPARE_SECONDS):
            output = await _output(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    line = next((line for line in output if line.startswith(b"FIGURES ")), None)
    if line is None:
        raise LoadError(f"wrk {' '.join(arguments)}: {b''.join(output).decode()}")
    found = json.loads(line.removeprefix(b"FIGURES "))
    if found["refused"] or found["broken"] or not found["requests"]:
        raise LoadError(f"wrk {' '.join(arguments)}: {found}")
    return Run(
        found["requests"], found["bytes"], found["microseconds"] / 1e6, found["p50"] / 1e6, found["p99"] / 1e6,
        _children_cpu_seconds() - before,
    )  # fmt: skip


def _children_cpu_seconds() -> float:
    """What the processes used that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _output(process: asyncio.subprocess.Process) -> list[bytes]:
    assert process.stdout is not None
    lines = []
    async for line in process.stdout:
        lines.append(line)
        if line == b"MADE\n":
            process.send_signal(signal.SIGINT)
    await process.wait()
    return lines
