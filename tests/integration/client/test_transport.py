"""What the client makes of servers that are slow, busy, broken or of changed mind: a real socket, a scripted server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from hypernetes.api.models.core_v1 import ConfigMap
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.status import StatusError
from hypernetes.client import Client, ClientConfig, Interrupted, kubeconfig
from hypernetes.client.kubeconfig import Kubeconfig

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
FOUND = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The URL of a server whose answers are the test's."""
    server = web.Server(handler)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await server.shutdown(0.1)


def refusal(code: int, reason: str, **headers: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "reason": reason, "message": "not now", "code": code}
    return web.json_response(body, status=code, headers=headers)


async def test_a_busy_server_is_asked_again_when_it_said(tmp_path: Path) -> None:
    moments: list[float] = []

    async def busy(request: web.BaseRequest) -> web.StreamResponse:
        moments.append(asyncio.get_running_loop().time())
        return (
            refusal(429, "TooManyRequests", **{"Retry-After": "1"}) if len(moments) == 1 else web.json_response(FOUND)
        )

    async with serving(busy) as server, Client(ClientConfig(server)) as client:
        created = await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
        assert created.metadata.name == "a"
    assert len(moments) == 2
    assert moments[1] - moments[0] >= 1


async def test_a_write_whose_answer_was_lost_is_not_sent_twice() -> None:
    methods: list[str] = []

    async def lost(request: web.BaseRequest) -> web.StreamResponse:
        methods.append(request.method)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serving(lost) as server, Client(ClientConfig(server)) as client:
        with pytest.raises(Interrupted):
            await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
        assert methods == ["POST"]
        with pytest.raises(Interrupted):
            await client.get(ConfigMap, "a", namespace="default")
        assert methods.count("GET") > 1


async def test_a_server_that_does_not_answer_is_given_up_at_the_deadline() -> None:
    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async with serving(silent) as server, Client(ClientConfig(server, timeout=0.3)) as client:
        with pytest.raises(Interrupted, match=r"no answer within 0\.3 s"):
            await client.get(ConfigMap, "a", namespace="default")


async def test_an_answer_that_is_no_status_is_told_with_its_beginning() -> None:
    async def gateway(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404, text="<html>no such page</html>", content_type="text/html")

    async with serving(gateway) as server, Client(ClientConfig(server)) as client:
        with pytest.raises(StatusError, match="HTTP 404: <html>no such page") as error:
            await client.get(ConfigMap, "a", namespace="default")
        assert error.value.code == 404


async def test_a_new_token_is_taken_up_when_the_old_one_is_refused(tmp_path: Path) -> None:
    seen: list[str] = []

    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        return web.json_response(FOUND) if seen[-1] == "Bearer new" else refusal(401, "Unauthorized")

    path = tmp_path / "config"
    async with serving(guarded) as server:
        kubeconfig.write(path, Kubeconfig(server, token="old"), name="c", user="u")
        async with Client(ClientConfig.from_kubeconfig(path)) as client:
            with pytest.raises(StatusError, match="not now"):
                await client.get(ConfigMap, "a", namespace="default")
            kubeconfig.write(path, Kubeconfig(server, token="new"), name="c", user="u")
            await client.get(ConfigMap, "a", namespace="default")
    assert seen == ["Bearer old", "Bearer old", "Bearer new"]


async def test_a_list_whose_pages_expire_is_read_again_in_one(tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []

    async def forgetful(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(dict(request.query))
        if "continue" in request.query:
            return refusal(410, "Expired")
        metadata = {"resourceVersion": "9", **({"continue": "x"} if "limit" in request.query else {})}
        return web.json_response({"kind": "ConfigMapList", "metadata": metadata, "items": [FOUND]})

    async with serving(forgetful) as server, Client(ClientConfig(server)) as client:
        listing = await client.list(ConfigMap)
    assert (len(listing.items), listing.resource_version) == (1, "9")
    assert [sorted(params) for params in asked] == [["limit"], ["continue", "limit"], []]


async def test_events_larger_than_a_read_arrive_whole() -> None:
    big = {**FOUND, "metadata": {**FOUND["metadata"], "resourceVersion": "7"}, "data": {"x": "y" * 700_000}}  # type: ignore[dict-item]

    async def streaming(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(2):
            line = web.json_response({"type": "ADDED", "object": big}).body
            assert isinstance(line, bytes)
            await response.write(line + b"\n")
        return response

    async with serving(streaming) as server, Client(ClientConfig(server)) as client:
        events = [event async for event in client.watch(ConfigMap, resource_version="1")]
    assert [event.object and len(event.object.data["x"]) for event in events] == [700_000] * 2
