"""The store on an etcd cluster, v3 protocol, for production: any number of API servers share it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from aetcd import rpc

from hypernetes.apiserver.storage import etcd_watch, transactions
from hypernetes.apiserver.storage.base import Change, Compacted, Item, Page, SideWrite
from hypernetes.apiserver.storage.etcd_cluster import Cluster
from hypernetes.apiserver.storage.keyspace import prefix_end

_COMPACT_DEADLINE_SECONDS = 60.0
_REVISION_REQUEST = rpc.RangeRequest(key=etcd_watch.PROBE, count_only=True)
_PAGE_ITEMS = 500  # per range request, so that no answer gets very large


class EtcdStore:
    """`Store` on the cluster at `etcd://host:port,host:port`."""

    def __init__(self, location: str) -> None:
        self._cluster = Cluster(location)

    async def get(self, key: str, *, revision: int | None = None) -> Item | None:
        answer = await self._range(rpc.RangeRequest(key=key.encode(), revision=_checked(revision)))
        return _item(answer.kvs[0]) if answer.kvs else None

    async def create(self, key: str, value: bytes, *, also: Sequence[SideWrite] = ()) -> int:
        return await self._transact(transactions.create(key, value, also))

    async def update(self, key: str, value: bytes, expected: int, *, also: Sequence[SideWrite] = ()) -> int:
        return await self._transact(transactions.update(key, value, expected, also))

    async def delete(self, key: str, expected: int, *, also: Sequence[SideWrite] = ()) -> int:
        return await self._transact(transactions.delete(key, expected, also))

    async def write(self, also: Sequence[SideWrite]) -> int:
        return await self._transact(transactions.checked(also)) if also else await self.revision()

    async def revision(self) -> int:
        answer = await self._range(_REVISION_REQUEST)
        revision: int = answer.header.revision
        return revision

    def known_revision(self) -> int | None:
        return None

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[list[Change], None]:
        async with aclosing(etcd_watch.follow(self._cluster, prefix, after)) as batches:
            async for batch in batches:
                yield batch

    async def compact(self, revision: int) -> None:
        try:
            await self._cluster.call("Compact", rpc.CompactionRequest(revision=revision), _COMPACT_DEADLINE_SECONDS)
        except Compacted:
            return  # as far already

    async def close(self) -> None:
        await self._cluster.close()

    async def list(self, prefix: str, *, limit: int = 0, start: str | None = None, revision: int | None = None) -> Page:
        first, end = max(prefix, start or ""), prefix_end(prefix)
        at = _checked(revision)
        items: list[Item] = []
        while True:
            request = rpc.RangeRequest(
                key=first.encode() or b"\0",
                range_end=end.encode() if end else b"\0",
                revision=at,
                limit=min(limit - len(items), _PAGE_ITEMS) if limit else _PAGE_ITEMS,
            )
            answer = await self._range(request)
            at = at or answer.header.revision
            items.extend(map(_item, answer.kvs))
            if not answer.more:
                return Page(items, at, None)
            first = items[-1].key + "\0"
            if limit and len(items) >= limit:
                return Page(items, at, first)

    async def _range(self, request: Any) -> Any:
        try:
            return await self._cluster.read("Range", request)
        except Compacted as compacted:
            raise Compacted(await etcd_watch.oldest_kept(self._cluster)) from compacted

    async def _transact(self, writes: Sequence[SideWrite]) -> int:
        conditional = [write for write in writes if write.expected is not None]
        request = rpc.TxnRequest(
            compare=[_compare(write) for write in conditional],
            success=[_operation(write) for write in writes],
            failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=write.key.encode())) for write in conditional],
        )
        answer = await self._cluster.call("Txn", request)
        if answer.succeeded:
            revision: int = answer.header.revision
            return revision
        for write, response in zip(conditional, answer.responses, strict=True):
            found = response.response_range.kvs
            if (failure := transactions.failure(write, _item(found[0]) if found else None)) is not None:
                raise failure
        raise AssertionError("etcd refused a transaction whose conditions all hold")


def _checked(revision: int | None) -> int:
    """The revision as etcd takes it, to which 0 means now."""
    if revision is not None and revision < 1:
        raise ValueError(f"revision {revision} is none of a store")
    return revision or 0


def _item(kv: Any) -> Item:
    return Item(kv.key.decode(), kv.value, kv.mod_revision)


def _compare(write: SideWrite) -> Any:
    """etcd counts a key that isn't there as of revision 0."""
    return rpc.Compare(
        key=write.key.encode(), target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=write.expected
    )


def _operation(write: SideWrite) -> Any:
    if write.value is None:
        return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=write.key.encode()))
    return rpc.RequestOp(request_put=rpc.PutRequest(key=write.key.encode(), value=write.value))
