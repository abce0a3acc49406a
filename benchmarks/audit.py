"""What the audit costs a request: one of no interest, one of which who and what is recorded, one with its bodies.

    python -m benchmarks.audit [--json FILE]

No server is started: these are the functions that every request calls. Lines are made, and given to nobody. The least
of many short rounds counts, so that what else the machine does counts little.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import click
import orjson
import yaml
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from benchmarks.report import Figure, report
from hypernetes.apiserver import routing
from hypernetes.apiserver.audit import policy
from hypernetes.apiserver.audit.counts import Counts
from hypernetes.apiserver.audit.recording import Auditor
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.observing import Seen

_ROUNDS, _REQUESTS = 200, 500
_PATH = "/api/v1/namespaces/web/pods/p"
_BODY = orjson.dumps({"metadata": {"name": "p"}, "spec": {"filler": "x" * 3000}})
_BEFORE: tuple[dict[str, Any], ...] = (  # rules that have to be looked at first
    {"level": "None", "nonResourceURLs": ["/livez*", "/version"]},
    {"level": "None", "users": ["system:hn-controllers"], "verbs": ["get", "list", "watch"]},
    {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", "configmaps"]}]},
)


class _Nobody:
    def add(self, line: bytes) -> None:
        """Takes it, and that is all."""


def _auditor(level: str) -> Auditor:
    rules = [*_BEFORE, {"level": level, "omitStages": ["RequestReceived"]}]
    document = {"apiVersion": policy.API_VERSION, "kind": "Policy", "rules": rules}
    return Auditor(policy.parse(yaml.dump(document)), Counts(), None, [_Nobody()])


async def _microseconds(auditor: Auditor | None) -> float:
    request = make_mocked_request("GET", _PATH, headers={"User-Agent": "kubectl/v1.36.0"})
    route, response = routing.parse("GET", _PATH, {}), web.Response(body=_BODY, content_type="application/json")
    user = User("jane", ("dev", "ops", "system:authenticated"), "acme", "uid")
    least = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(_REQUESTS):
            seen = Seen(request)
            seen.sender = seen.user = user
            seen.route, seen.allowed = route, True
            if auditor is None:
                continue
            if auditor.begins(seen) is not None:
                await auditor.received(seen)
                await auditor.completed(seen, response)
        least = min(least, (time.perf_counter() - began) / _REQUESTS)
    return least * 1e6


async def measure() -> list[Figure]:
    without = await _microseconds(None)
    goals = {"None": 1.0, "Metadata": None, "RequestResponse": None}
    return [
        Figure(f"level {level}", await _microseconds(_auditor(level)) - without, "µs", goal, lower_is_better=True)
        for level, goal in goals.items()
    ]


@click.command(help=__doc__)
@click.option("--json", "path", type=click.Path(path_type=Path), default=None)
def main(path: Path | None) -> None:
    report(asyncio.run(measure()), path)


if __name__ == "__main__":
    main()
