"""The frequency of the processor's time stamp counter, which a guest under TCG is told (see qemu.py)."""

import ctypes
import functools
import mmap
import time
from collections.abc import Callable

# rdtsc; shl rdx, 32; or rax, rdx; ret
_CODE = bytes.fromhex("0f31 48c1e220 4809d0 c3")
_INTERVAL_SECONDS = 0.1


@functools.cache
def frequency_khz() -> int:
    """Measured once per process against CLOCK_MONOTONIC_RAW; takes 100 ms, so call it in a thread."""
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(_CODE)
        holder = ctypes.c_char.from_buffer(page)
        read: Callable[[], int] = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(holder))
        started, first = time.clock_gettime(time.CLOCK_MONOTONIC_RAW), read()
        time.sleep(_INTERVAL_SECONDS)
        ended, last = time.clock_gettime(time.CLOCK_MONOTONIC_RAW), read()
        del read, holder
    return round((last - first) / (ended - started) / 1000)
