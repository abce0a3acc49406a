"""A watch on etcd that misses and repeats nothing, across reconnects and changes of endpoint.

What makes that true:
* A revision is told once it is complete: etcd may cut one into fragments.
* The watch asks from the last revision seen *inclusively* and drops what it had. So etcd itself says, by cancelling the
  watch, when history no longer reaches back that far. (Asked from the one after, it would let a compaction right there
  pass, which removes the deletions of that revision.)
* The end of a stream, with or without an error, means reconnecting. `hasleader` makes a member that lost the cluster
  end its streams instead of being silent.
* A cluster restored from an older backup is noticed by its revision.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
import structlog
from aetcd import rpc

from hypernetes.apiserver.storage.base import Change, Compacted, Item, Unavailable
from hypernetes.apiserver.storage.etcd_cluster import Cluster
from hypernetes.apiserver.storage.etcd_stream import StreamFailed
from hypernetes.apiserver.storage.keyspace import prefix_end

PROBE = b"\0"  # a key nobody has: asking for it tells the revision
_CREATED_SECONDS = 10.0  # until etcd confirms a watch
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_METHOD = "/etcdserverpb.Watch/Watch"
_REQUIRE_LEADER = (("hasleader", "true"),)

_log = structlog.get_logger()


async def follow(cluster: Cluster, prefix: str, after: int) -> AsyncGenerator[list[Change], None]:
    """Changes after revision `after`, as `Store.watch` promises them."""
    position, pause = after, _FIRST_PAUSE_SECONDS
    while True:
        channel = cluster.channel()
        try:
            async with aclosing(_stream(cluster, prefix, position)) as batches:
                async for batch in batches:
                    position, pause = batch[-1].revision, _FIRST_PAUSE_SECONDS
                    yield batch
            reason = "the stream ended"
        except StreamFailed as error:
            reason = str(error)
        except TimeoutError:
            reason = f"no confirmation within {_CREATED_SECONDS:.0f} s"
        cluster.raise_if_closed()
        cluster.move_on(channel)
        _log.warning("watch of etcd interrupted, reconnecting", reason=reason, after=position)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        await _check_not_reset(cluster, position)


async def oldest_kept(cluster: Cluster) -> int:
    """The revision that etcd was last compacted to. A watch from the first revision is the way to ask."""
    call = rpc.WatchStub(cluster.channel()).Watch()
    try:
        async with asyncio.timeout(_CREATED_SECONDS):
            await call.write(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=PROBE, start_revision=1)))
            response = await call.read()
            while response is not grpc.aio.EOF and response.created and not response.compact_revision:
                response = await call.read()
    except (grpc.aio.AioRpcError, TimeoutError) as error:
        raise Unavailable(f"etcd does not say how far its history reaches: {error}") from error
    finally:
        call.cancel()
    return 0 if response is grpc.aio.EOF else int(response.compact_revision)


async def _stream(cluster: Cluster, prefix: str, after: int) -> AsyncGenerator[list[Change], None]:
    """The batches of one stream, until it ends: all that has arrived at a time."""
    end = prefix_end(prefix)
    request = rpc.WatchCreateRequest(
        key=prefix.encode() or b"\0",
        range_end=end.encode() if end else b"\0",
        start_revision=max(after, 1),
        prev_kv=True,
        fragment=True,
    )
    message = rpc.WatchRequest(create_request=request).SerializeToString()
    async with cluster.stream(_METHOD, _REQUIRE_LEADER, message) as stream:
        async with asyncio.timeout(_CREATED_SECONDS):
            messages = await stream.read()
        events: list[Any] = []
        while True:
            whole = 0  # events at the beginning of which every revision is complete
            for response in map(rpc.WatchResponse.FromString, messages):
                if response.compact_revision:
                    raise Compacted(response.compact_revision)
                if response.canceled:
                    return
                events.extend(response.events)
                if not response.fragment:
                    whole = len(events)
            if changes := [_change(event) for event in events[:whole] if event.kv.mod_revision > after]:
                yield changes
            del events[:whole]
            messages = await stream.read()


def _change(event: Any) -> Change:
    kv, previous = event.kv, event.prev_kv
    deleted = event.type == event.DELETE
    created = not deleted and kv.create_revision == kv.mod_revision
    if not created and not previous.key:
        raise Compacted(kv.mod_revision)  # what was there before was compacted while the watch was behind
    return Change(
        kv.key.decode(),
        kv.mod_revision,
        None if deleted else kv.value,
        None if created else Item(previous.key.decode(), previous.value, previous.mod_revision),
    )


async def _check_not_reset(cluster: Cluster, position: int) -> None:
    try:
        answer = await cluster.read("Range", rpc.RangeRequest(key=PROBE, count_only=True))
    except Unavailable:
        return  # the next attempt finds out
    if answer.header.revision < position:
        raise Unavailable(f"etcd is at revision {answer.header.revision}, behind {position}, which it had reached")
