"""Run as a program: writes to the store file it is given and prints what is acknowledged, until it is killed.

python writing_process.py FILE WRITERS     prints "KEY REVISION VALUE" per acknowledged write
"""

import asyncio
import sys
from pathlib import Path

from hypernetes.apiserver.storage.sqlite import SqliteStore


async def write(store: SqliteStore, key: str) -> None:
    item = await store.get(key)
    count, revision = (int(item.value), item.revision) if item else (0, 0)
    if item is None:
        revision = await store.create(key, b"0")
    while True:
        count += 1
        revision = await store.update(key, str(count).encode(), revision)
        print(key, revision, count, flush=True)


async def main(path: Path, writers: int) -> None:
    store = await SqliteStore.open(path)
    async with asyncio.TaskGroup() as tasks:
        for n in range(writers):
            tasks.create_task(write(store, f"/w/{n}"))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
