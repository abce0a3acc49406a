"""A real registry for tests, and images to put into it."""

import asyncio
import gzip
import hashlib
import io
import json
import os
import socket
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
START_SECONDS = 30.0
USER, PASSWORD = "me", "secret"
_HTPASSWD = "me:$2b$04$6UTyoFgqnOXy.EERimz1WOPhDFBAFDzAW5f7.NWgfIvq1aUJWOJ0u\n"  # bcrypt of the password


def layer(files: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar of files; a TarInfo stands for itself."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
            else:
                header = tarfile.TarInfo(name)
                header.size, header.mode = len(content), 0o644
                archive.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class TestRegistry:
    __test__ = False

    host: str  # 127.0.0.1:port
    directory: Path
    authorization: str | None = None  # the header

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers={"Authorization": self.authorization} if self.authorization else None)

    async def push_image(
        self,
        name: str,
        tag: str,
        layers: Sequence[bytes],
        config: Mapping[str, Any] | None = None,
        platform: tuple[str, str] = ("linux", "amd64"),
    ) -> str:
        """Pushes an image of these (uncompressed) layers; its manifest's digest."""
        compressed = [gzip.compress(each, mtime=0) for each in layers]
        document = {
            "os": platform[0],
            "architecture": platform[1],
            "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [digest(each) for each in layers]},
        }
        body = json.dumps(document).encode()
        for blob in (*compressed, body):
            await self.push_blob(name, blob)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(body), "size": len(body)},
            "layers": [{"mediaType": LAYER, "digest": digest(each), "size": len(each)} for each in compressed],
        }
        return await self.push_manifest(name, tag, json.dumps(manifest).encode(), MANIFEST)

    async def push_index(self, name: str, tag: str, entries: Sequence[tuple[str, tuple[str, str], int]]) -> str:
        document = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                {
                    "mediaType": MANIFEST,
                    "digest": each,
                    "size": size,
                    "platform": {"os": platform[0], "architecture": platform[1]},
                }
                for each, platform, size in entries
            ],
        }
        return await self.push_manifest(name, tag, json.dumps(document).encode(), INDEX)

    async def push_blob(self, name: str, blob: bytes) -> None:
        async with self.session() as session:
            url = f"http://{self.host}/v2/{name}/blobs/uploads/"
            async with session.post(url, raise_for_status=True) as response:
                location = response.headers["Location"]
            separator = "&" if "?" in location else "?"
            target = f"{location}{separator}digest={digest(blob)}"
            async with session.put(target, data=blob, raise_for_status=True):
                pass

    async def push_manifest(self, name: str, tag: str, body: bytes, media_type: str) -> str:
        async with (
            self.session() as session,
            session.put(
                f"http://{self.host}/v2/{name}/manifests/{tag}",
                data=body,
                headers={"Content-Type": media_type},
                raise_for_status=True,
            ),
        ):
            pass
        return digest(body)

    def blob_path(self, blob_digest: str) -> Path:
        hexadecimal = blob_digest.removeprefix("sha256:")
        return self.directory / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def registry(directory: Path, *, private: bool = False) -> AsyncIterator[TestRegistry]:
    """Debian's docker-registry on a free port of the loopback."""
    host = f"127.0.0.1:{free_port()}"
    config = directory / "registry.yml"
    lines = [
        "version: 0.1",
        "log: {level: error}",
        f"storage: {{filesystem: {{rootdirectory: {directory / 'data'}}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '{host}'}}",
    ]
    if private:
        passwords = directory / "htpasswd"
        passwords.write_text(_HTPASSWD)
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {passwords}}}}}")
    config.write_text("\n".join(lines) + "\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
    process = await asyncio.create_subprocess_exec(
        "docker-registry", "serve", str(config), env=environment,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await _until_up(host)
        yield TestRegistry(host, directory / "data", aiohttp.encode_basic_auth(USER, PASSWORD) if private else None)
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def token_front(behind: TestRegistry) -> AsyncIterator[tuple[str, list[str]]]:
    """A registry that wants a token of its token service: its host, and the scopes that were asked for.

    https://distribution.github.io/distribution/spec/auth/token/
    """
    scopes: list[str] = []
    basic = aiohttp.encode_basic_auth(USER, PASSWORD)

    async def token(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != basic or request.query.get("service") != "test":
            return web.Response(status=401)
        scopes.append(request.query["scope"])
        return web.json_response({"token": f"for-{request.query['scope']}", "expires_in": 60})

    async def content(request: web.Request) -> web.Response:
        repository = request.path.removeprefix("/v2/").rpartition("/")[0].rpartition("/")[0]
        if request.headers.get("Authorization") != f"Bearer for-repository:{repository}:pull":
            challenge = f'Bearer realm="http://{request.host}/token",service="test"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        async with aiohttp.ClientSession() as session:
            headers = {name: value for name, value in request.headers.items() if name == "Accept"}
            async with session.get(f"http://{behind.host}{request.path}", headers=headers) as answer:
                shown = {name: answer.headers[name] for name in ("Docker-Content-Digest",) if name in answer.headers}
                return web.Response(
                    body=await answer.read(), status=answer.status, headers=shown, content_type=answer.content_type
                )

    app = web.Application(client_max_size=0)
    app.router.add_get("/token", token)
    app.router.add_get("/v2/{path:.*}", content)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}", scopes
    finally:
        await runner.cleanup()


async def _until_up(host: str) -> None:
    name, _, port = host.partition(":")
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection(name, int(port))
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
