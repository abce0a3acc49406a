"""Large answers compressed with gzip, for clients that take it: kubectl and client-go do.

As upstream: from 128 KiB on, at the quickest level, and never a watch. It is done beside the event loop.
"""

import asyncio
import zlib
from typing import TypeGuard

from aiohttp import web

from hypernetes.apiserver.handlers import negotiation

FROM_BYTES = 128 * 1024
HEADERS = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS


def may_be_compressed(response: web.StreamResponse) -> TypeGuard[web.Response]:
    """Whether it is a whole answer for which that is worth it."""
    if not isinstance(response, web.Response) or response.prepared:
        return False
    body = response.body
    return isinstance(body, bytes) and len(body) >= FROM_BYTES and "Content-Encoding" not in response.headers


async def compressed(request: web.BaseRequest, response: web.Response) -> web.Response:
    """An answer that may be compressed, so where its client takes it."""
    body = response.body
    if isinstance(body, bytes) and negotiation.takes_gzip(request):
        response.body = await asyncio.to_thread(zlib.compress, body, _LEVEL, _GZIP)
        response.headers.update(HEADERS)
    return response


class Stream:
    """Compresses an answer piece by piece."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)

    async def add(self, piece: bytes) -> bytes:
        """What can be sent after this piece; perhaps nothing yet."""
        return await asyncio.to_thread(self._compressor.compress, piece)

    async def end(self) -> bytes:
        return await asyncio.to_thread(self._compressor.flush)
