"""What a registry may say so that hn-agent asks something of the node or its surroundings, or works without end."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from hypernetes.nodeagent.images import dialing
from hypernetes.nodeagent.images.manifests import ImageError
from hypernetes.nodeagent.images.puller import Puller
from hypernetes.nodeagent.images.store import ImageStore

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()

Answer = Callable[[web.Request], web.Response]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def manifest(layers: int) -> bytes:
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(CONFIG), "size": len(CONFIG)}
    each = [{"mediaType": LAYER, "digest": digest_of(b"%d" % number), "size": 1} for number in range(layers)]
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": each}
    return json.dumps(body).encode()


class Hostile:
    """A registry that the operator named, and that answers as a test says: manifests, then blobs."""

    def __init__(self, host: str, puller: Puller, asked: list[str]) -> None:
        self.host, self.asked, self._puller = host, asked, puller

    async def pull(self) -> None:
        async with asyncio.timeout(60):
            await self._puller.pull("acme", f"{self.host}/team/web:1")


@asynccontextmanager
async def hostile(directory: Path, *, manifests: Answer, blobs: Answer | None = None) -> AsyncIterator[Hostile]:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if "/manifests/" in request.path:
            return manifests(request)
        if request.path.endswith(digest_of(CONFIG)):
            return web.Response(body=CONFIG)
        assert blobs is not None
        return blobs(request)

    app = web.Application()
    app.router.add_get("/v2/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host = f"127.0.0.1:{runner.addresses[0][1]}"
        store = ImageStore(directory / "images")
        store.open()
        policy = dialing.DialPolicy(frozenset({host}))
        async with dialing.session(policy) as session:
            yield Hostile(host, Puller(store, session, policy, platform=("linux", "amd64")), asked)
        assert store.images() == []
    finally:
        await runner.cleanup()


def shown(layers: int) -> Answer:
    return lambda request: web.Response(body=manifest(layers), headers={"Content-Type": MANIFEST})


def led_to(url: str) -> Answer:
    return lambda request: web.Response(status=307, headers={"Location": url})


def realm_at(url: str) -> Answer:
    return lambda request: web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{url}",service="x"'})


async def test_an_image_of_a_thousand_layers_is_refused_before_the_first_is_fetched(tmp_path: Path) -> None:
    async with hostile(tmp_path, manifests=shown(1000)) as registry:
        with pytest.raises(ImageError, match="layers are no list of at most 256"):
            await registry.pull()
        assert not any("/blobs/" in path for path in registry.asked)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/latest/meta-data/",
        "https://[fe80::1]/", "https://[::ffff:169.254.169.254]/", "https://0.0.0.0:2379/", "https://localhost:2379/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["manifests", "blobs"])
async def test_no_redirect_leads_to_the_node_or_to_link_local_addresses(tmp_path: Path, url: str, where: str) -> None:
    manifests, blobs = (led_to(url), None) if where == "manifests" else (shown(1), led_to(url))
    async with hostile(tmp_path, manifests=manifests, blobs=blobs) as registry:
        with pytest.raises(ImageError, match=r"refused to connect to|leads to no address|refused to open http:"):
            await registry.pull()


async def test_a_token_realm_at_a_service_of_the_node_is_not_asked(tmp_path: Path) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        writer.close()

    reached = asyncio.Event()
    async with await asyncio.start_server(take, "127.0.0.1", 0) as etcd:
        port = etcd.sockets[0].getsockname()[1]
        for scheme in ("http", "https"):
            async with hostile(tmp_path, manifests=realm_at(f"{scheme}://127.0.0.1:{port}/token")) as registry:
                with pytest.raises(ImageError):
                    await registry.pull()
    assert not reached.is_set()


async def test_redirects_without_end_end(tmp_path: Path) -> None:
    def again(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"http://{request.host}{request.path}"})

    async with hostile(tmp_path, manifests=again) as registry:
        with pytest.raises(ImageError, match="redirects too often"):
            await registry.pull()
