"""Images that go when the disk fills: the least recently used of those no pod needs.

Thresholds are upstream's: above 85 % of the disk, down to 80 %.
"""

import asyncio
import shutil
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import structlog

from hypernetes.nodeagent.images.store import ImageStore

log = structlog.get_logger()

HIGH_PERCENT = 85
LOW_PERCENT = 80
# An image just pulled may be about to be used.
MIN_AGE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Candidate:
    digest: str
    size_bytes: int
    last_used: float  # seconds since the epoch


def victims(
    images: Iterable[Candidate], in_use: Collection[str], *, used_bytes: int, capacity_bytes: int, now: float
) -> list[str]:
    """Digests to remove, in order."""
    if capacity_bytes <= 0 or used_bytes * 100 < HIGH_PERCENT * capacity_bytes:
        return []
    excess = used_bytes - capacity_bytes * LOW_PERCENT // 100
    free = [image for image in images if image.digest not in in_use and now - image.last_used >= MIN_AGE_SECONDS]
    chosen = []
    for image in sorted(free, key=lambda each: (each.last_used, each.digest)):
        if excess <= 0:
            break
        chosen.append(image.digest)
        excess -= image.size_bytes
    return chosen


async def remove_unused(store: ImageStore, in_use: Collection[str]) -> None:
    """Looks at the disk once. Raises OSError."""
    usage = await asyncio.to_thread(shutil.disk_usage, store.directory)
    images = [Candidate(image.digest, image.size_bytes, store.last_used(image.digest)) for image in store.images()]
    for digest in victims(images, in_use, used_bytes=usage.used, capacity_bytes=usage.total, now=time.time()):
        log.info("image.removed", digest=digest)
        await asyncio.to_thread(store.remove, digest)
