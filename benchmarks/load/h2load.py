"""Requests over HTTP/2 as fast as they are answered, by h2load: several at once on each of some connections."""

import asyncio
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from shutil import which

from benchmarks.load.wrk import LoadError

_SPARE_SECONDS = 120.0  # over what was asked for, until a run counts as hung
_REQUESTS = re.compile(r"^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE)
_STATUS = re.compile(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", re.MULTILINE)
_TRAFFIC = re.compile(r"^traffic: \S+ \((\d+)\) total", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    requests: int
    bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.bytes / self.seconds / 1e6


async def run(urls: Sequence[str], token: str, *, seconds: float, connections: int, at_once: int) -> Run:
    """One run with one thread, `at_once` requests on each connection. Raises LoadError."""
    if which("h2load") is None:
        raise LoadError("h2load is missing: make deps")
    with tempfile.NamedTemporaryFile("w") as listed:
        listed.write("\n".join(urls))
        listed.flush()
        process = await asyncio.create_subprocess_exec(
            "h2load", "--threads", "1", "--clients", str(connections), "--max-concurrent-streams", str(at_once),
            "--duration", f"{seconds:.0f}", "--input-file", listed.name, "--header", f"authorization: Bearer {token}",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds + _SPARE_SECONDS):
                output = (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return _read(output, seconds)


def _read(output: str, seconds: float) -> Run:
    """Raises LoadError where anything failed."""
    requests, statuses, traffic = _REQUESTS.search(output), _STATUS.search(output), _TRAFFIC.search(output)
    if requests is None or statuses is None or traffic is None:
        raise LoadError(f"h2load: {output}")
    done, *bad = map(int, requests.groups())
    if not done or any(bad) or any(map(int, statuses.groups()[1:])) or "Application protocol: h2" not in output:
        raise LoadError(f"h2load: {output}")
    return Run(done, int(traffic[1]), seconds)
