"""The least that a server in this language does: aiohttp's low-level server, TLS, uvloop, a token, bytes from a dict.

`python -m benchmarks.load.sketch PKI PORT FILE COUNT TOKEN` serves the bytes of FILE under COUNT names, and a page of
500 of them. What hn-apiserver reaches is compared with it, in the same run, on the same machine.
"""

import asyncio
import hashlib
import ssl
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from benchmarks.load import pods

_PAGE_ITEMS = 500
_ITEMS_PER_CHUNK = 80  # some 256 KiB


async def serve(pki: Path, port: int, body: bytes, count: int, token: str) -> None:
    objects = {f"{pods.PATH}/pod-{number}": bytes(bytearray(body)) for number in range(1, count + 1)}
    page = list(objects.values())[:_PAGE_ITEMS]
    tokens = {hashlib.sha256(token.encode()).digest(): "bench"}

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hashlib.sha256(shown.encode()).digest() not in tokens:
            return web.Response(status=401)
        if request.path == pods.PATH:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for start in range(0, len(page), _ITEMS_PER_CHUNK):
                await response.write(b",".join(page[start : start + _ITEMS_PER_CHUNK]))
            await response.write_eof()
            return response
        found = objects.get(request.path)
        if found is None:
            return web.Response(status=404)
        return web.Response(body=found, headers={"Content-Type": "application/json"})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    listener = await asyncio.get_running_loop().create_server(
        web.Server(handle), "127.0.0.1", port, ssl=context, backlog=1024
    )
    await listener.serve_forever()


if __name__ == "__main__":
    _, pki, port, body, count, token = sys.argv
    uvloop.run(serve(Path(pki), int(port), Path(body).read_bytes(), int(count), token))
