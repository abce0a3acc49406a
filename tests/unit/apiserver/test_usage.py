"""What agents tell of their pods: read with care, asked seldom, and missed without harm."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver.dialer import Agent
from hypernetes.apiserver.usage import FRESH_SECONDS, Amounts, NodeReport, PodReport, Span, Usage, parse

AT = "2030-01-01T00:00:00.123456Z"
Json = dict[str, Any]


def told(**more: Any) -> Json:
    pod = {"uid": "u1", "timestamp": AT, "window": 15.0, "containers": {"web": {"cpu": 250_000_000, "memory": 4096}}}
    return {"node": {"timestamp": AT, "window": 15, "cpu": 10, "memory": 2048}, "pods": [{**pod, **more}]}


def test_an_agents_answer_is_read() -> None:
    report = parse(orjson.dumps(told()))
    span = Span("2030-01-01T00:00:00Z", 15.0)
    assert report == NodeReport(span, Amounts(10, 2048), {"u1": PodReport(span, {"web": Amounts(250_000_000, 4096)})})
    assert report.pods["u1"].total.written() == {"cpu": "250000000n", "memory": "4Ki"}
    assert span.written() == {"timestamp": "2030-01-01T00:00:00Z", "window": "15s"}
    assert parse(b'{"node":null,"pods":[]}') == NodeReport(None, None, {})


_BAD_PODS: list[Json] = [
    {"uid": 7},
    {"timestamp": "yesterday"},
    {"window": -1},
    {"window": "15"},
    {"containers": []},
    {"containers": {"web": {"cpu": -1, "memory": 0}}},
    {"containers": {"web": {"cpu": 1 << 60, "memory": 0}}},
    {"containers": {"w" * 300: {"cpu": 1, "memory": 0}}},
]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"pods":[]}',
        b'{"node":7,"pods":[]}',
        b'{"node":null,"pods":[7]}',
        *(orjson.dumps(told(**more)) for more in _BAD_PODS),
    ],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(body)


class Dialer:
    """Answers for agents: with these bodies by node, None for one that can't be reached, ... for a silent one."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    @asynccontextmanager
    async def get(self, agent: Agent, parts: list[str], query: list[Any], **_: Any) -> AsyncIterator[Any]:
        assert parts == ["stats", "pods"]
        self.asked.append(agent.node)
        await asyncio.sleep(0.1)
        answer = self.answers[agent.node]
        if answer is None:
            raise StatusError("ServiceUnavailable", "can't be reached")
        if answer is ...:
            await asyncio.Event().wait()

        class Content:
            @staticmethod
            async def iter_chunked(size: int) -> AsyncIterator[bytes]:
                for start in range(0, len(answer), size):
                    yield answer[start : start + size]

        class Response:
            content = Content

        yield Response


def node(port: int = 10250) -> Json:
    addresses = [{"type": "InternalIP", "address": "10.0.0.1"}]
    return {"status": {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}}


async def reports(usage: Usage, dialer: Any, *names: str) -> set[str]:
    return set(await usage.reports(dialer, [(name, node()) for name in names]))


def made() -> Usage:
    return Usage(lambda: asyncio.get_running_loop().time())


GOOD = orjson.dumps(told())


@pytest.mark.looptime
async def test_agents_that_tell_nothing_cost_one_wait_and_no_error() -> None:
    dialer = Dialer(well=GOOD, gone=None, silent=..., odd=b"{}", huge=b"x" * (5 << 20))
    usage, loop = made(), asyncio.get_running_loop()
    began = loop.time()
    assert await reports(usage, dialer, "well", "gone", "silent", "odd", "huge") == {"well"}
    assert loop.time() - began < 5
    again = loop.time()
    assert await reports(usage, dialer, "well", "gone", "silent") == {"well"}
    assert loop.time() == again


@pytest.mark.looptime
async def test_what_an_agent_told_is_good_for_some_seconds() -> None:
    dialer, usage = Dialer(a=GOOD), made()
    await asyncio.gather(*(reports(usage, dialer, "a") for _ in range(20)))
    assert dialer.asked == ["a"]
    await asyncio.sleep(FRESH_SECONDS + 0.2)
    await reports(usage, dialer, "a")
    assert dialer.asked == ["a", "a"]


@pytest.mark.looptime
async def test_an_asker_that_goes_away_leaves_the_others_their_answer() -> None:
    dialer, usage = Dialer(a=GOOD), made()
    first = asyncio.create_task(reports(usage, dialer, "a"))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(reports(usage, dialer, "a"))
    await asyncio.sleep(0.01)
    first.cancel()
    assert await second == {"a"}
    assert usage._asking == {}


async def test_a_node_that_is_unknown_or_says_no_port_is_not_asked() -> None:
    dialer: Any = Dialer()
    assert await made().reports(dialer, [("a", None), ("b", node(port=0))]) == {}
    assert dialer.asked == []
