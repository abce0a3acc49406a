import asyncio

from hypernetes.apiserver.storage.base import Compacted, Store
from hypernetes.apiserver.storage.compaction import compact_regularly


async def test_history_goes_interval_by_interval_and_what_is_stays(store: Store, root: str) -> None:
    first = await store.create(root + "a", b"one")
    second = await store.update(root + "a", b"two", first)
    compacting = asyncio.create_task(compact_regularly(store, every=0.05))
    async with asyncio.timeout(30):
        while await _readable(store, root + "a", first):
            await asyncio.sleep(0.02)
    item = await store.get(root + "a")
    assert item is not None
    assert (item.value, item.revision) == (b"two", second)
    compacting.cancel()
    await asyncio.wait([compacting])


async def _readable(store: Store, key: str, revision: int) -> bool:
    try:
        await store.get(key, revision=revision)
    except Compacted:
        return False
    return True
