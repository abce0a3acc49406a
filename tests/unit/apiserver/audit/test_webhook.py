"""Events sent to a server: as lists, again where it fails, lost and counted where it goes on failing."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import web

from hypernetes.apiserver.audit import webhook
from hypernetes.apiserver.audit.counts import Counts
from hypernetes.apiserver.audit.webhook import AuditWebhook
from hypernetes.apiserver.audit.webhookconfig import WebhookConfig, WebhookConfigError, load


class Receiver:
    """Answers with the codes it is given, and then with 200."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.got: list[Any] = []
        self.headers: list[str] = []
        self.paths: list[str] = []
        self.asked = 0
        self.heard = asyncio.Condition()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        body = orjson.loads(await request.read())
        self.headers.append(request.headers.get("Authorization", ""))
        self.paths.append(request.path)
        async with self.heard:
            self.asked += 1
            code = self.codes.pop(0) if self.codes else 200
            if code == 200:
                self.got.append(body)
            self.heard.notify_all()
        return web.Response(status=code, headers={"Location": "/elsewhere"})

    async def until(self, asked: int) -> None:
        async with self.heard, asyncio.timeout(20):
            await self.heard.wait_for(lambda: self.asked >= asked)


@asynccontextmanager
async def sending(receiver: Receiver, counts: Counts, **options: float) -> AsyncIterator[AuditWebhook]:
    runner = web.ServerRunner(web.Server(receiver.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    config = WebhookConfig(f"http://127.0.0.1:{port}/audit", None, {"Authorization": "Bearer t"})
    sender = AuditWebhook(config, counts, **{"pause": 0.01, "back_off": 0.01, **options})
    task = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await runner.cleanup()


def line(number: int) -> bytes:
    return b'{"auditID":"%d"}\n' % number


def ids(receiver: Receiver) -> list[int]:
    return [int(item["auditID"]) for each in receiver.got for item in each["items"]]


async def test_events_come_as_lists_in_order() -> None:
    receiver, counts = Receiver(), Counts()
    async with sending(receiver, counts, pause=30.0) as sender:
        for number in range(1000):
            sender.add(line(number))
        await receiver.until(2)  # two full lists; the rest comes with the end
    assert ids(receiver) == list(range(1000))
    assert {(each["kind"], each["apiVersion"]) for each in receiver.got} == {("EventList", "audit.k8s.io/v1")}
    assert receiver.headers[0] == "Bearer t"
    assert counts.errors["webhook"] == 0


async def test_what_fails_for_a_while_is_sent_again() -> None:
    receiver, counts = Receiver(), Counts()
    receiver.codes = [500, 429, 503]
    async with sending(receiver, counts) as sender:
        sender.add(line(1))
        await receiver.until(4)
    assert ids(receiver) == [1]
    assert counts.errors["webhook"] == 0


@pytest.mark.parametrize(("codes", "tries"), [([500] * 5, 5), ([403], 1)])
async def test_what_fails_for_good_is_lost_and_counted(codes: list[int], tries: int) -> None:
    receiver, counts = Receiver(), Counts()
    receiver.codes = list(codes)
    async with sending(receiver, counts) as sender:
        sender.add(line(1))
        await receiver.until(tries)
        sender.add(line(2))
        await receiver.until(tries + 1)
    assert ids(receiver) == [2]
    assert counts.errors["webhook"] == 1


async def test_the_buffer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "MAX_WAITING", 5)
    counts = Counts()
    sender = AuditWebhook(WebhookConfig("http://127.0.0.1:1", None, {}), counts)
    for number in range(8):
        sender.add(line(number))
    assert counts.errors["webhook"] == 3


def test_the_configuration_is_a_kubeconfig(tmp_path: Path) -> None:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "s", "user": "u"}}],
        "clusters": [{"name": "s", "cluster": {"server": "http://127.0.0.1:9/audit"}}],
        "users": [{"name": "u", "user": {"username": "a", "password": "b"}}],
    }  # fmt: skip
    path = tmp_path / "webhook.yaml"
    path.write_text(yaml.dump(document))
    basic = base64.b64encode(b"a:b").decode()
    assert load(path) == WebhookConfig("http://127.0.0.1:9/audit", None, {"Authorization": f"Basic {basic}"})
    for text in ("", "[]", "contexts: []", yaml.dump({**document, "current-context": "d"})):
        path.write_text(text)
        with pytest.raises(WebhookConfigError):
            load(path)


async def test_a_server_that_redirects_is_not_followed_and_no_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    receiver, counts = Receiver(), Counts()
    receiver.codes = [307, 503, 200]
    async with sending(receiver, counts) as sender:
        sender.add(line(1))
        await receiver.until(1)
        sender.add(line(2))
        await receiver.until(3)
    assert (ids(receiver), counts.errors["webhook"]) == ([2], 1), "a redirect is a refusal"
    assert set(receiver.paths) == {"/audit"}
    assert set(receiver.headers) == {"Bearer t"}
