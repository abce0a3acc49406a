"""The ways in which acme's administrator reaches for what pods of globex say, use and serve.

As in attacks.py: each raises AssertionError where one succeeds or where the owner, with the same call, doesn't.
"""

import asyncio
import ssl
from typing import Any

import aiohttp

from hypernetes.pki import client_context
from tests.integration.api.servers import User
from tests.integration.isolation.twins import GROUP, LIAR, LIE, NODE, ONLY, PODS, TWIN, Twins, forwarded, person, spoken
from tests.integration.isolation.worlds import VICTIM, ok

_FOREIGN = (VICTIM, "/tenants/*", "/tenants/system", "//tenants/globex", "/tenants/acme/%2e%2e/globex")
_REFUSED = (301, 308, 400, 403, 404)
_SAYING = [("container", "main"), ("stdin", "true"), ("stdout", "true")]
_MAIN = {"container": "main"}
_USED = "/apis/metrics.k8s.io/v1beta1"
_APIS = f"/apis/{GROUP}/v1"


async def by_log(made: Twins) -> None:
    """At once and followed, of containers of one's own name and of others'."""
    acme, word = made.world.acme, made.words["globex"].encode()
    for more in ({}, {"tailLines": "5"}, {"timestamps": "true"}):
        query = {**_MAIN, **more}
        answer = await ok(acme("GET", f"{PODS}/{TWIN}/log", **query))
        assert b"acme-speaks" in answer.body
        assert word in (await ok(made.world.globex("GET", f"{PODS}/{TWIN}/log", **query))).body
    for user, own in ((person(acme), b"acme-speaks"), (made.world.globex, word)):
        heard = await _followed(user, own)
        if user is not made.world.globex:
            made.world.canaries.check(heard, "a followed log")
    for root in _FOREIGN:
        for query in ({}, _MAIN, {**_MAIN, "follow": "true"}, {**_MAIN, "previous": "true"}):
            answer = await acme("GET", f"{root}{PODS}/{TWIN}/log", **query)
            assert answer.status in _REFUSED, (root, answer.body)
    assert (await acme("GET", f"{PODS}/{ONLY}/log", **_MAIN)).status == 404
    assert (await ok(made.world.globex("GET", f"{PODS}/{ONLY}/log", **_MAIN))).body


async def _followed(user: User, until: bytes) -> bytes:
    heard = b""
    async with (
        asyncio.timeout(20),
        user._session.get(f"{user.url}{PODS}/{TWIN}/log?follow=true&container=main") as response,
    ):
        assert response.status == 200
        while until not in heard:
            piece = await response.content.readany()
            assert piece, heard
            heard += piece
    return heard


async def by_stream(made: Twins) -> None:
    """exec, attach, port-forward: opened as clients do, and spoken to."""
    acme, globex = person(made.world.acme), made.world.globex
    ways: list[tuple[str, Any]] = [
        ("exec", [("command", "cat"), ("command", "/etc/hostname"), *_SAYING]),
        ("exec", [("command", "say"), ("command", "hears"), *_SAYING]),
        ("attach", _SAYING),
        ("portforward", None),
    ]
    for verb, query in ways:
        mine, own = b"acme", made.world.canaries.word
        if query is not None and query[1][1] == "hears":
            mine = own = b"hears"
        for user, word in ((acme, mine), (globex, own)):
            status, heard = await _open(user, "", TWIN, verb, query, word)
            assert status == 101, (verb, status, heard)
            if user is acme:
                made.world.canaries.check(heard, verb)
            assert word in heard, (verb, heard)
        for root in _FOREIGN:
            status, heard = await _open(acme, root, TWIN, verb, query, b"{")
            made.world.canaries.check(heard, (root, verb))
            assert status in _REFUSED, (root, verb, status)
        status, heard = await _open(acme, "", ONLY, verb, query, b"{")
        made.world.canaries.check(heard, verb)
        assert status == 404, (verb, status, heard)
        assert (await _open(globex, "", ONLY, verb, query, own))[0] == 101


async def _open(user: User, root: str, pod: str, verb: str, query: Any, until: bytes) -> tuple[int, bytes]:
    path = f"{root}{PODS}/{pod}/{verb}"
    if query is None:
        return await forwarded(user, path, until=until)
    return await spoken(user, path, query, until=until)


async def by_proxy(made: Twins) -> None:
    """What servers in pods answer, by the pod and by a service."""
    acme, globex, word = made.world.acme, made.world.globex, made.words["globex"].encode()
    for path in (f"{PODS}/{TWIN}:80/proxy/x", "/api/v1/namespaces/default/services/server:plain/proxy/x"):
        assert (await ok(acme("GET", path))).body == b"acme-speaks"
        assert (await ok(globex("GET", path))).body == word
        for root in _FOREIGN:
            for method in ("GET", "POST", "DELETE"):
                assert (await acme(method, root + path)).status in (*_REFUSED, 405), (method, root + path)
    assert (await acme("GET", f"{PODS}/{ONLY}:80/proxy/x")).status == 404
    assert (await ok(globex("GET", f"{PODS}/{ONLY}:80/proxy/x"))).status == 200
    for node in (NODE, LIAR):
        for path in (
            "logs/",
            "pods",
            "metrics",
            "stats/summary",
            "stats/pods",
            "containerLogs/globex/default/twin/main",
        ):
            assert (await acme("GET", f"/api/v1/nodes/{node}/proxy/{path}")).status in (403, 404)
    shown = await ok(made.world.provider("GET", f"/api/v1/nodes/{NODE}/proxy/pods"))
    assert made.world.canaries.word in shown.body


async def by_usage(made: Twins) -> None:
    """metrics.k8s.io, of an honest agent and of one that claims pods of other nodes."""
    acme, globex = made.world.acme, made.world.globex
    for path in (f"{_USED}/pods", f"{_USED}/namespaces/default/pods", f"{_USED}/namespaces/default/pods/{TWIN}"):
        mine, theirs = await ok(acme("GET", path)), await ok(globex("GET", path))
        for each in (mine, theirs):
            assert b"lies" not in each.body, (path, each.body)
        assert TWIN.encode() in mine.body
        assert made.world.canaries.word in theirs.body, "a container's name"
    assert (await acme("GET", f"{_USED}/namespaces/default/pods/{ONLY}")).status == 404
    assert (await ok(globex("GET", f"{_USED}/namespaces/default/pods/{ONLY}"))).status == 200
    for root in (VICTIM, "/tenants/*"):
        assert (await acme("GET", f"{root}{_USED}/pods")).status in (403, 404)
    for path in (f"{_USED}/nodes", f"{_USED}/nodes/{LIAR}"):
        assert LIE.encode() not in (await ok(acme("GET", path))).body, "a node as a whole"
        assert LIE.encode() in (await ok(made.world.provider("GET", path))).body


async def by_extension(made: Twins) -> None:
    """What a server of globex adds to globex's API, in documents and behind them."""
    acme, globex, word = made.world.acme, made.world.globex, made.words["globex"].encode()
    async with asyncio.timeout(20):
        while (await globex("GET", _APIS)).status != 200:
            await asyncio.sleep(0.05)
    aggregated = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    for headers in ({}, aggregated):
        assert GROUP.encode() in (await ok(globex("GET", "/apis", headers=headers))).body
        assert GROUP.encode() not in (await ok(acme("GET", "/apis", headers=headers))).body, "discovery"
    for path in (_APIS, f"/apis/{GROUP}", f"{_APIS}/namespaces/default/things", f"{_APIS}/things/x"):
        shown = await ok(globex("GET", path))
        assert word in shown.body or path == f"/apis/{GROUP}"
        for root in ("", *_FOREIGN):
            answer = await acme("GET", root + path)
            assert answer.status in _REFUSED, (root + path, answer.body)


async def at_the_nodes(made: Twins) -> None:
    """The agents' own ports, with acme's certificate and with another node's: all that is there is hn-apiserver's."""
    pki = made.world.provider._pki
    own = client_context(
        pki.ca_certificate, pki.certificate("apiserver-kubelet-client"), pki.key("apiserver-kubelet-client")
    )
    listed = (await ok(made.world.provider("GET", f"/api/v1/nodes/{NODE}"))).json
    port = listed["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    uid = made.uids["globex", TWIN]
    paths = (
        "metrics", "metrics/resource", "metrics/cadvisor", "pods", "stats/pods", "stats/summary", "healthz",
        f"containerLogs/globex/default/{TWIN}/main", f"forward/globex/default/{TWIN}/80?uid={uid}",
    )  # fmt: skip
    for path in paths:
        for context in (person(made.world.acme).context, made.world.other_agent.context):
            status, body = await _asked(f"https://127.0.0.1:{port}/{path}", context)
            made.world.canaries.check(body, path)
            assert status == 403, (path, status)
    shown = b"".join([(await _asked(f"https://127.0.0.1:{port}/{path}", own))[1] for path in paths])
    assert made.world.canaries.word in shown


async def _asked(url: str, context: ssl.SSLContext) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as response:
        return response.status, str(response.headers).encode() + await response.read()


async def everything(made: Twins) -> None:
    for attack in (by_log, by_stream, by_proxy, by_usage, by_extension, at_the_nodes):
        await attack(made)
