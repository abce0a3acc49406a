"""Health: what a load balancer, a supervisor and people ask at /livez, /readyz and /healthz.

Anybody may ask, so a check costs the store at most one question a second, whoever asks how often. The texts are those
that upstream's clients know: `[+]ping ok`, `[-]store failed: reason withheld`, `livez check passed`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import structlog

from hypernetes.api.tenancy import SYSTEM_TENANT, system_tenant_uid
from hypernetes.apiserver.authn import TokenKeys
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Store, Unavailable

log = structlog.get_logger()

PATHS = ("/healthz", "/livez", "/readyz")
_DEADLINE_SECONDS = 2.0
_REMEMBERED_SECONDS = 1.0

Check = Callable[[], Awaitable[None]]
Results = Mapping[str, str | None]  # check -> what is wrong; None where nothing is


class Unhealthy(Exception):
    """What is wrong, for the log: who asks isn't known, and is told only which check failed."""


class Health:
    """The checks of one server."""

    def __init__(self, store: Store, mirror: Mirror, token_keys: TokenKeys, cluster_id: str) -> None:
        self._store, self._mirror, self._token_keys = store, mirror, token_keys
        self._system_uid = system_tenant_uid(cluster_id)
        self._draining = False
        always: dict[str, Check] = {
            "ping": _ping, "store": self._store_answers, "mirror": self._mirror_is_fresh,
            "signing-keys": self._keys_are_there,
        }  # fmt: skip
        self._checks = dict.fromkeys(PATHS, always) | {"/readyz": {**always, "shutdown": self._not_draining}}
        self._known: dict[str, tuple[float, str | None]] = {}  # check -> when it was done, and what came of it
        self._under_way = {name: asyncio.Lock() for name in self._checks["/readyz"]}

    def drain(self) -> None:
        """From now on readyz fails, and load balancers send no more."""
        self._draining = True
        self._known.pop("shutdown", None)

    def names(self, path: str) -> tuple[str, ...]:
        """The checks behind one of PATHS."""
        return tuple(self._checks[path])

    async def results(self, path: str, names: Sequence[str]) -> dict[str, str | None]:
        """What comes of some of the checks behind one of PATHS."""
        checks = self._checks[path]
        found = await asyncio.gather(*(self._result(name, checks[name]) for name in names))
        return dict(zip(names, found, strict=True))

    async def _result(self, name: str, check: Check) -> str | None:
        async with self._under_way[name]:
            when, problem = self._known.get(name, (float("-inf"), None))
            if time.monotonic() - when < _REMEMBERED_SECONDS:
                return problem
            problem = None
            try:
                async with asyncio.timeout(_DEADLINE_SECONDS):
                    await check()
            except TimeoutError:
                problem = f"no answer within {_DEADLINE_SECONDS:g} seconds"
            except (Unhealthy, Unavailable) as error:
                problem = str(error)
            if problem is not None:
                log.warning("unhealthy", check=name, error=problem)
            self._known[name] = time.monotonic(), problem
            return problem

    async def _store_answers(self) -> None:
        await self._store.revision()

    async def _mirror_is_fresh(self) -> None:
        """Reads see what the store holds now."""
        await self._mirror.wait_for(await self._store.revision())

    async def _keys_are_there(self) -> None:
        await self._token_keys.of(SYSTEM_TENANT, self._system_uid)

    async def _not_draining(self) -> None:
        if self._draining:
            raise Unhealthy("the server is shutting down")


async def _ping() -> None:
    """That there is an answer is the answer."""


def report(name: str, results: Results, excluded: Collection[str], unmatched: Sequence[str], *, verbose: bool) -> str:
    """The text of `/livez` and the like; `name` is the path without its slash.

    `results` are of all checks, the excluded ones' None; `unmatched` is what was to be excluded and doesn't exist. A
    failure is told as fully as if `verbose` had been asked for.
    """
    failed = any(problem is not None for problem in results.values())
    if not failed and not verbose:
        return "ok"
    lines = []
    for check, problem in results.items():
        if check in excluded:
            lines.append(f"[+]{check} excluded: ok")
        else:
            lines.append(f"[+]{check} ok" if problem is None else f"[-]{check} failed: reason withheld")
    if unmatched:
        names = ",".join(f'"{check}"' for check in unmatched)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    return "\n".join([*lines, f"{name} check {'failed' if failed else 'passed'}", ""])
