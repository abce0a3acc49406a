"""The process's memory, measured in a process of its own: settings of the allocator can't be taken back."""

import subprocess
import sys

_PROGRAM = """
import ctypes
from hypernetes.apiserver import memory
memory.tune()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(256 * 1024))  # what makes glibc raise its threshold
buffers = [libc.malloc(256 * 1024) for _ in range(100)]
heap = next(line for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]")).split()[0]
start, end = (int(part, 16) for part in heap.split("-"))
print(sum(start <= buffer < end for buffer in buffers))
"""


def test_buffers_of_connections_lie_apart_from_the_heap() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0\n"
