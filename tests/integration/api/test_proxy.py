"""The proxy subresources, from a client to a server in a pod: hn-apiserver, the agent's port and TLS are real, and the
guest's side is a TCP connection of this machine."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from hypernetes.apiserver.portforward import PROTOCOL
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki import ADMIN
from tests.integration.api import podserver
from tests.integration.api.podserver import Machine, Node
from tests.integration.api.servers import User, serving

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """The server in the pod."""
    if request.path == "/ws":
        near = web.WebSocketResponse(protocols=("chat",))
        await near.prepare(request)
        async for message in near:
            if message.type is WSMsgType.TEXT:
                await near.send_str(f"{near.ws_protocol}: {message.data}")
        return near
    if request.path == "/moved":
        return web.Response(status=302, headers={"Location": "/there"})
    if request.path == "/large":
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(512):
            await response.write(b"x" * 65536)
        return response
    if request.path == "/broken":
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response
    body = await request.read()
    seen = {
        "method": request.method, "path": request.rel_url.raw_path, "query": request.query_string,
        "headers": {name.lower(): value for name, value in request.headers.items()}, "body": body.decode(),
    }  # fmt: skip
    return web.json_response(seen, status=418, headers={"X-Answer": "pod", "Connection": "close, X-Hop", "X-Hop": "1"})


class Stage:
    def __init__(self, admin: User, port: int, machine: Machine, node: Node) -> None:
        self.admin, self.port, self.machine, self.node = admin, port, machine, node


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        store = await open_store(str(tmp_path / "state.db"))
        stack.push_async_callback(store.close)
        admin = await stack.enter_async_context(serving(store, tmp_path, "abc123"))
        node = await stack.enter_async_context(podserver.a_node(admin))
        port = await stack.enter_async_context(podserver.listening(echo))
        made = Stage(admin, port, node.machine, node)
        await _objects(made)
        yield made


async def _objects(stage: Stage) -> None:
    """A pod on the node, and a service whose endpoint it is."""
    admin = stage.admin
    container = {"name": "main", "image": "web", "ports": [{"containerPort": stage.port}]}
    pod = {"metadata": {"name": "web"}, "spec": {"nodeName": "n1", "containers": [container]}}
    made = await admin("POST", PODS, pod)
    assert made.status == 201, made.body
    stage.node.pods["system", "web"] = made.json["metadata"]["uid"]
    status = {"status": {"podIP": "10.0.0.5", "phase": "Running"}}
    headers = {"Content-Type": "application/merge-patch+json"}
    assert (await admin("PATCH", f"{PODS}/web/status", status, headers=headers)).status == 200
    service = {"metadata": {"name": "shop"}, "spec": {"ports": [{"name": "http", "port": 80}]}}
    assert (await admin("POST", SERVICES, service)).status == 201
    slice_ = {
        "metadata": {"name": "shop-1", "labels": {"kubernetes.io/service-name": "shop"}}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": stage.port}],
        "endpoints": [
            {
                "addresses": ["10.0.0.5"],
                "targetRef": {"kind": "Pod", "name": "web", "uid": stage.node.pods["system", "web"]},
            }
        ],
    }  # fmt: skip
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    assert (await admin("POST", path, slice_)).status == 201


async def test_a_request_reaches_the_pod_as_it_was_sent_but_for_the_credentials(stage: Stage) -> None:
    sent = {"Authorization": "Basic c2VjcmV0", "X-Remote-User": "root", "X-Own": "1", "Content-Type": "text/plain"}
    answer = await stage.admin("POST", f"{PODS}/web/proxy/a//b%2Fc", b"hello", headers=sent, q="1")
    assert answer.status == 418, answer.body
    seen = answer.json
    assert (seen["method"], seen["path"], seen["query"], seen["body"]) == ("POST", "/a//b%2Fc", "q=1", "hello")
    assert seen["headers"]["x-own"] == "1"
    assert seen["headers"]["x-forwarded-uri"].endswith("/pods/web/proxy/a//b%2Fc")
    assert not {"authorization", "x-remote-user"} & set(seen["headers"])
    assert answer.headers["X-Answer"] == "pod"
    assert "X-Hop" not in answer.headers
    assert stage.machine.asked == [(stage.port, "10.0.0.5")], "a pod is asked at its own address"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_every_method_is_carried(stage: Stage, method: str) -> None:
    answer = await stage.admin(method, f"{PODS}/web/proxy/x")
    assert (answer.status, answer.json["method"]) == (418, method)


@pytest.mark.parametrize("name", ["shop", "shop:80", "shop:http", "http:shop:http"])
async def test_a_service_is_reached_by_port_number_and_name(stage: Stage, name: str) -> None:
    answer = await stage.admin("GET", f"{SERVICES}/{name}/proxy/x")
    assert (answer.status, answer.json["path"]) == (418, "/x")


async def test_without_a_slash_the_client_is_sent_to_the_root(stage: Stage) -> None:
    answer = await stage.admin("GET", f"{PODS}/web/proxy", a="b")
    assert (answer.status, answer.json["path"], answer.json["query"]) == (418, "/", "a=b"), "redirected, then carried"


async def test_a_redirect_of_the_server_leads_below_the_proxy_again(stage: Stage) -> None:
    answer = await stage.admin("GET", f"{PODS}/web/proxy/moved")
    assert (answer.status, answer.json["path"]) == (418, "/there")


async def test_a_large_answer_comes_through_and_a_broken_one_is_not_taken_for_whole(stage: Stage) -> None:
    answer = await stage.admin("GET", f"{PODS}/web/proxy/large")
    assert len(answer.body) == 512 * 65536
    with pytest.raises(Exception, match=r"payload|closed|disconnected|Server"):
        await stage.admin("GET", f"{PODS}/web/proxy/broken")


async def test_a_websocket_is_carried_with_its_subprotocol(stage: Stage) -> None:
    url = f"{stage.admin.url}{PODS}/web/proxy/ws"
    async with stage.admin._session.ws_connect(url, protocols=("chat",)) as far:
        await far.send_str("hello")
        async with asyncio.timeout(20):
            assert await far.receive_str() == "chat: hello"


async def test_streams_end_with_the_right_to_them_and_no_others_do(stage: Stage) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    rules = [{"verbs": ["get", "create"], "apiGroups": [""], "resources": ["pods/proxy", "pods/portforward"]}]
    assert (await stage.admin("POST", f"{rbac}/roles", {"metadata": {"name": "enter"}, "rules": rules})).status == 201
    binding = {
        "metadata": {"name": "jane"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "enter"},
    }  # fmt: skip
    assert (await stage.admin("POST", f"{rbac}/rolebindings", binding)).status == 201
    async with await stage.admin.person("system", "jane") as jane, asyncio.timeout(20):
        proxied, forwarded = f"{PODS}/web/proxy/ws", f"{PODS}/web/portforward"
        async with (
            stage.admin._session.ws_connect(f"{stage.admin.url}{proxied}", protocols=("chat",)) as own,
            jane._session.ws_connect(f"{jane.url}{proxied}", protocols=("chat",)) as first,
            jane._session.ws_connect(f"{jane.url}{forwarded}", protocols=(PROTOCOL,)) as second,
        ):
            await first.send_str("hello")
            assert await first.receive_str() == "chat: hello"
            assert (await stage.admin("DELETE", f"{rbac}/rolebindings/jane")).status == 200
            assert (await first.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
            assert (await second.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
            await own.send_str("hello")
            assert await own.receive_str() == "chat: hello"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{PODS}/nobody/proxy/", 404),
        (f"{PODS}/web:nope/proxy/", 400),
        (f"{PODS}/ftp:web:1/proxy/", 400),
        (f"{SERVICES}/nobody/proxy/", 404),
        (f"{SERVICES}/shop:81/proxy/", 503),
        (f"{PODS}/web:1/proxy/", 503),
        ("/api/v1/nodes/n2/proxy/healthz", 404),
    ],
)
async def test_what_cant_be_reached_is_a_status(stage: Stage, path: str, code: int) -> None:
    answer = await stage.admin("GET", path)
    assert (answer.status, answer.json["kind"]) == (code, "Status")
    assert "127.0.0.1" not in answer.json["message"], "the node's own addresses are nobody's business"


async def test_another_pod_of_the_same_name_isnt_asked(stage: Stage) -> None:
    stage.node.pods["system", "web"] = "another"
    assert (await stage.admin("GET", f"{PODS}/web/proxy/")).status == 404
    assert stage.machine.asked == []


async def test_another_tenants_pod_is_out_of_reach(stage: Stage) -> None:
    async with await stage.admin.tenant("acme") as acme:
        assert (await acme("GET", f"{PODS}/web/proxy/")).status == 404
        assert (await acme("GET", f"/tenants/system{PODS}/web/proxy/")).status == 403
        assert (await acme("GET", "/api/v1/nodes/n1/proxy/healthz")).status == 403
    assert stage.machine.asked == []


async def test_a_node_answers_for_its_health_and_takes_no_writes(stage: Stage) -> None:
    answer = await stage.admin("GET", "/api/v1/nodes/n1/proxy/healthz")
    assert (answer.status, answer.body) == (200, b"ok")
    assert (await stage.admin("POST", "/api/v1/nodes/n1/proxy/healthz")).status == 405


class Forwarded:
    """`kubectl port-forward` in the background; `port` is the local one."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port


@asynccontextmanager
async def port_forward(stage: Stage, remote: int) -> AsyncIterator[Forwarded]:
    pki = stage.admin._pki
    process = await asyncio.create_subprocess_exec(
        "kubectl", "--server", stage.admin.url, "--certificate-authority", str(pki.ca_certificate),
        "--client-certificate", str(pki.certificate(ADMIN)), "--client-key", str(pki.key(ADMIN)),
        "port-forward", "pod/web", f":{remote}", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"127\.0\.0\.1:(\d+) ->", line)
        assert found, line
        yield Forwarded(process, int(found[1]))
    finally:
        process.terminate()
        await process.wait()


async def test_kubectl_forwards_a_port_for_many_connections_at_once(stage: Stage) -> None:
    async with port_forward(stage, stage.port) as forwarded, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{forwarded.port}"

        async def post(number: int) -> str:
            async with session.post(f"{url}/x", data=f"hello {number}") as answer:
                body: str = (await answer.json())["body"]
                return body

        assert await asyncio.gather(*map(post, range(12))) == [f"hello {number}" for number in range(12)]
        async with session.get(f"{url}/large") as answer:
            assert len(await answer.read()) == 512 * 65536
    assert {address for _, address in stage.machine.asked} == {"127.0.0.1"}, "as from inside the pod"


async def test_a_port_where_nobody_listens_is_told_by_kubectl(stage: Stage) -> None:
    async with port_forward(stage, 1) as forwarded:
        reader, writer = await asyncio.open_connection("127.0.0.1", forwarded.port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(30):
            assert await reader.read() == b""
            assert forwarded.process.stdout is not None
            said = b""
            while b"error forwarding port 1" not in said:
                piece = await forwarded.process.stdout.read(4096)
                assert piece, said
                said += piece
        assert b"Connection refused" in said
        writer.close()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 400),
        ({"Upgrade": "SPDY/3.1", "Connection": "Upgrade"}, 400),
        ({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": "v9"}, 400),
    ],
)
async def test_another_way_to_forward_is_refused(stage: Stage, headers: dict[str, str], code: int) -> None:
    answer = await stage.admin("POST", f"{PODS}/web/portforward", headers=headers)
    assert (answer.status, answer.json["kind"]) == (code, "Status")


async def test_a_pod_that_does_not_run_forwards_nothing(stage: Stage) -> None:
    pod = {"metadata": {"name": "waits"}, "spec": {"containers": [{"name": "main", "image": "web"}]}}
    assert (await stage.admin("POST", PODS, pod)).status == 201
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": PROTOCOL}
    answer = await stage.admin("GET", f"{PODS}/waits/portforward", headers=headers)
    assert (answer.status, "is not running" in answer.json["message"]) == (400, True)


@pytest.mark.parametrize("noise", [b"", b"\x00" * 64, b"\x80\x03\x00\x01\x00\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"])
async def test_noise_instead_of_frames_ends_the_session_and_nothing_else(stage: Stage, noise: bytes) -> None:
    url = f"{stage.admin.url}{PODS}/web/portforward"
    async with stage.admin._session.ws_connect(url, protocols=(PROTOCOL,)) as far:
        await far.send_bytes(noise)
        await far.close()
    assert (await stage.admin("GET", f"{PODS}/web/proxy/x")).status == 418
