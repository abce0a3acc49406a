"""How this process uses its allocator and its garbage collector: many small objects for good, many connections."""

import ctypes
import gc

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_APART_BYTES = 192 * 1024  # between the pieces that lists are sent in and the buffer that each connection reads into
_YOUNG_OBJECTS = 10_000


def tune() -> None:
    """Call it once, at the start of a process that serves.

    Each TLS connection reads into 256 KiB, of which a page or two are ever touched. In the heap the room between these
    buffers is torn to pieces by what a handshake allocates and frees, some 20 KB for each connection; mapped apart, a
    buffer costs the pages that are touched. glibc would do so by itself, but for raising its threshold with the first
    buffer that is freed.

    The collector by default looks for garbage every 700 objects, a few requests. What requests leave behind is freed
    without it, but for some cycles.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another C library than glibc needs nothing of this
        mallopt(_M_MMAP_THRESHOLD, _APART_BYTES)
    gc.set_threshold(_YOUNG_OBJECTS)


def loaded() -> None:
    """Call it once what was stored is in memory: it is no garbage, and the collector need not look through it again.

    What is replaced later is freed as ever, by its count of references.
    """
    gc.collect()
    gc.freeze()
