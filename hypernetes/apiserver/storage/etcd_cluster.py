"""Calls to an etcd cluster: endpoints, deadlines, and what its errors mean to us.

Uses the protocol stubs that aetcd ships and none of its client: that one can't lift gRPC's message limits and loses
watches silently. There is one channel per endpoint; calls go to one of them until it fails, then to the next.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from aetcd import rpc

from hypernetes.apiserver.storage.base import CannotOpen, Compacted, Unavailable, ValueTooLarge
from hypernetes.apiserver.storage.etcd_stream import Stream, opened

_DEADLINE_SECONDS = 10.0  # per call; etcd elects a new leader well within

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # a page of large objects is over gRPC's 4 MiB
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),  # finds out about a peer that is gone without a word
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
]


class Cluster:
    """The cluster at `etcd://host:port,host:port`. Connects when first used."""

    def __init__(self, location: str) -> None:
        self._endpoints = [part for part in location.removeprefix("etcd://").rstrip("/").split(",") if part]
        if not self._endpoints or not all(_is_endpoint(endpoint) for endpoint in self._endpoints):
            raise CannotOpen(f"{location!r} is not of the form etcd://host:port,host:port")
        self._channels = [rpc.insecure_channel(endpoint, options=_CHANNEL_OPTIONS) for endpoint in self._endpoints]
        self._stubs = [rpc.KVStub(channel) for channel in self._channels]  # making one takes as long as a call
        self._active = 0
        self._streams: set[Stream] = set()
        self.closed = False

    async def read(self, method: str, request: Any) -> Any:
        """A call that changes nothing, tried on each endpoint once."""
        for _ in self._channels[1:]:
            try:
                return await self.call(method, request)
            except Unavailable:
                continue  # `call` has moved on to the next endpoint
        return await self.call(method, request)

    async def call(self, method: str, request: Any, deadline: float = _DEADLINE_SECONDS) -> Any:
        """One call of etcd's KV service, tried once; raises what `Store` may raise."""
        channel, endpoint = self.channel(), self._endpoints[self._active]
        try:
            return await getattr(self._stubs[self._active], method)(request, timeout=deadline)
        except grpc.aio.AioRpcError as error:
            failure = _translated(error, endpoint)
            if isinstance(failure, Unavailable):
                self.move_on(channel)
            raise failure from error
        except asyncio.CancelledError:
            self.raise_if_closed()
            raise

    def channel(self) -> Any:
        """The channel to use now; Unavailable after `close`."""
        self.raise_if_closed()
        return self._channels[self._active]

    @contextlib.asynccontextmanager
    async def stream(self, method: str, metadata: Sequence[tuple[str, str]], message: bytes) -> AsyncIterator[Stream]:
        """A stream of the endpoint to use now, which has been sent its request. Raises StreamFailed."""
        self.raise_if_closed()
        async with opened(self._endpoints[self._active], method, metadata, message) as stream:
            self._streams.add(stream)
            try:
                yield stream
            finally:
                self._streams.discard(stream)

    def move_on(self, failed: Any) -> None:
        """Uses the next endpoint, if `failed` is still the channel in use."""
        if self._channels[self._active] is failed:
            self._active = (self._active + 1) % len(self._channels)

    def raise_if_closed(self) -> None:
        """Closing a channel cancels its calls, which looks like a cancelled caller: this tells the two apart."""
        task = asyncio.current_task()
        if self.closed and not (task and task.cancelling()):
            raise Unavailable("the store is closed")

    async def close(self) -> None:
        self.closed = True
        for stream in self._streams:
            stream.fail("the store is closed")
        for channel in self._channels:
            await channel.close()


def _is_endpoint(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def _translated(error: grpc.aio.AioRpcError, endpoint: str) -> Exception:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.OUT_OF_RANGE and "compacted" in details:
        return Compacted(0)
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return ValueError(f"etcd at {endpoint}: {details}")
    if "too large" in details or "larger than max" in details or "too many operations" in details:
        return ValueTooLarge(f"etcd at {endpoint} refuses the write: {details}")
    if "space exceeded" in details:
        return Unavailable(f"etcd at {endpoint} is full: raise its quota or defragment it, then disarm its alarm")
    return Unavailable(f"etcd at {endpoint} does not answer: {code.name} {details}")
