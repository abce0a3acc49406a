"""Network namespaces without names: they are gone when the last descriptor is."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")

_CLONE_NEWNET = 0x40000000
_THIS_THREAD = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)
_DEADLINE = 60.0  # seconds for one call inside a namespace


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _on_a_thread(work: Callable[[], Result]) -> Result:
    """The calling thread stays in its namespace."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_DEADLINE)
    if thread.is_alive():
        raise TimeoutError(f"a call inside a network namespace took over {_DEADLINE:.0f} s")
    if errors:
        raise errors[0]
    return results[0]


class Namespace:
    def __init__(self, path: str | None = None) -> None:
        """A new one, or the one at `path`."""

        def unshared() -> int:
            if _libc.unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            return os.open(_THIS_THREAD, os.O_RDONLY)

        self.descriptor = os.open(path, os.O_RDONLY) if path else _on_a_thread(unshared)

    def run(self, work: Callable[[], Result]) -> Result:
        """Calls `work` inside; sockets that it opens stay there."""

        def inside() -> Result:
            _enter(self.descriptor)
            return work()

        return _on_a_thread(inside)

    def command(self, line: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(
            lambda: subprocess.run(line.split(), check=check, capture_output=True, text=True, timeout=_DEADLINE)
        )

    def close(self) -> None:
        os.close(self.descriptor)


@contextmanager
def main_thread_in(namespace: Namespace) -> Iterator[None]:
    """Has the calling thread, and the threads and processes it starts, in the namespace."""
    home = os.open(_THIS_THREAD, os.O_RDONLY)
    _enter(namespace.descriptor)
    try:
        yield
    finally:
        _enter(home)
        os.close(home)
