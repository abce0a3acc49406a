"""What pods and nodes use, as the nodes' agents tell when somebody asks: metrics.k8s.io is stored nowhere.

Agents are asked side by side, each with a deadline; what one told is good for some seconds, and so is that it didn't
answer: one silent node costs one wait, and its pods are missing. What an agent says of pods counts for those that are
bound to its node only, which the caller sees to.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import structlog

from hypernetes.api import times
from hypernetes.api.status import StatusError
from hypernetes.apiserver.dialer import Agent, Dialer

FRESH_SECONDS = 10.0  # agents sample every 15
_ANSWER_SECONDS = 4.0
_AT_ONCE = 64  # agents asked side by side, by all requests together
_MAX_BYTES = 4 << 20  # of an answer: hundreds of pods
_MAX_NODES = 10_000  # remembered
_MAX = 1 << 53

Object = dict[str, Any]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Amounts:
    nanocores: int
    memory_bytes: int

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(self.nanocores + other.nanocores, self.memory_bytes + other.memory_bytes)

    def written(self) -> dict[str, str]:
        return {"cpu": f"{self.nanocores}n" if self.nanocores else "0", "memory": f"{self.memory_bytes // 1024}Ki"}


NOTHING = Amounts(0, 0)


@dataclass(frozen=True, slots=True)
class Span:
    """When something was measured: over `window` seconds that ended at `timestamp`."""

    timestamp: str
    window: float

    def written(self) -> dict[str, str]:
        return {"timestamp": self.timestamp, "window": f"{self.window:.3f}".rstrip("0").rstrip(".") + "s"}


@dataclass(frozen=True, slots=True)
class PodReport:
    span: Span
    containers: Mapping[str, Amounts]

    @property
    def total(self) -> Amounts:
        return sum(self.containers.values(), NOTHING)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """`pods` by UID; `total` is None until the agent has measured its node."""

    span: Span | None
    total: Amounts | None
    pods: Mapping[str, PodReport]


def parse(body: bytes) -> NodeReport:
    """An agent's answer. Raises ValueError for what is none."""
    try:
        told = orjson.loads(body)
        node = told["node"]
        pods = {
            _text(pod["uid"]): PodReport(
                _span(pod), {_text(name): _amounts(rate) for name, rate in pod["containers"].items()}
            )
            for pod in told["pods"]
        }
        return NodeReport(_span(node) if node else None, _amounts(node) if node else None, pods)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not what an agent tells: {error!r}") from error


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 253:
        raise ValueError("a name that is none")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= _MAX:
        raise ValueError("a number that is none")
    return value


def _amounts(told: Mapping[str, object]) -> Amounts:
    return Amounts(_number(told["cpu"]), _number(told["memory"]))


def _span(told: Mapping[str, Any]) -> Span:
    window = told["window"]
    if not isinstance(window, int | float) or not 0 <= window <= 3600:
        raise ValueError("a window that is none")
    return Span(times.format_time(times.parse_time(_text(told["timestamp"]))), float(window))


class Usage:
    """Asks agents, and remembers for a while what they said."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, NodeReport | None]] = OrderedDict()
        self._asking: dict[str, asyncio.Lock] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def reports(self, dialer: Dialer, nodes: Iterable[tuple[str, Object | None]]) -> dict[str, NodeReport]:
        """Of these nodes (name and Node object), without those that tell nothing."""
        wanted = dict(nodes)
        async with asyncio.TaskGroup() as tasks:
            asked = {name: tasks.create_task(self._report(dialer, name, node)) for name, node in wanted.items()}
        found = {name: task.result() for name, task in asked.items()}
        return {name: report for name, report in found.items() if report is not None}

    async def _report(self, dialer: Dialer, name: str, node: Object | None) -> NodeReport | None:
        """Who asks for a node that is being asked waits for that answer."""
        lock = self._asking.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                known = self._known.get(name)
                if known is not None and self._clock() < known[0] + FRESH_SECONDS:
                    return known[1]
                async with self._at_once:
                    report = await self._ask(dialer, name, node)
                self._known[name] = (self._clock(), report)
                self._known.move_to_end(name)
                while len(self._known) > _MAX_NODES:
                    self._known.popitem(last=False)
                return report
        finally:
            if not lock.locked():
                self._asking.pop(name, None)

    async def _ask(self, dialer: Dialer, name: str, node: Object | None) -> NodeReport | None:
        try:
            agent = Agent.of(node, name)
            async with (
                asyncio.timeout(_ANSWER_SECONDS),
                dialer.get(agent, ["stats", "pods"], [], silence_seconds=_ANSWER_SECONDS) as answer,
            ):
                body = b""
                async for piece in answer.content.iter_chunked(1 << 16):
                    body += piece
                    if len(body) > _MAX_BYTES:
                        raise ValueError("an answer beyond all bounds")
            return parse(body)
        except (StatusError, ValueError, TimeoutError, aiohttp.ClientError, OSError) as error:
            log.info("a node's agent does not tell what its pods use", node=name, error=str(error))
            return None
