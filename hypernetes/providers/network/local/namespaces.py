"""Named network namespaces, and the lock that keeps agents on one machine apart.

The names lie where `ip netns` looks for them. Entering changes the namespace of the calling thread only, so
everything here belongs on a thread that does nothing else meanwhile.
"""

import ctypes
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypernetes.providers.network.base import NetworkError

DIRECTORY = Path("/run/netns")
LOCK_DEADLINE = 30.0  # seconds; what is done under the lock takes some 50 ms
_LOCK_RETRY = 0.01  # seconds

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 2
_THIS_THREAD = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: Path, flags: int) -> None:
    _check(_libc.mount(source.encode(), str(target).encode(), b"none", flags, None), f"mount of {target}")


def prepare() -> None:
    """Makes the directory of names, shared between mount namespaces as iproute2 has it."""
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        _mount("", DIRECTORY, _MS_SHARED | _MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _mount(str(DIRECTORY), DIRECTORY, _MS_BIND | _MS_REC)
        _mount("", DIRECTORY, _MS_SHARED | _MS_REC)


@contextmanager
def machine_lock(deadline: float = LOCK_DEADLINE) -> Iterator[None]:
    """One at a time on this machine, whatever the process, node or cluster.

    Routers of a tenant are shared by the nodes on a machine, and uplinks choose their addresses from one range. The
    kernel frees the lock when its holder dies. Raises NetworkError(NodeBusy).
    """
    end = time.monotonic() + deadline
    descriptor = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    message = f"another process has held {DIRECTORY} for {deadline:.0f} s; see who has it open"
                    raise NetworkError("NodeBusy", message) from error
                time.sleep(_LOCK_RETRY)
        yield
    finally:
        os.close(descriptor)


def exists(name: str) -> bool:
    """Whether the name stands for a namespace; a crash between making the name and the mount leaves an empty file."""
    path = DIRECTORY / name
    return path.exists() and path.stat().st_dev == os.stat(_THIS_THREAD).st_dev


def names(prefix: str) -> list[str]:
    """The names that begin with `prefix`, whether a namespace is there or not."""
    if not DIRECTORY.exists():
        return []
    return sorted(path.name for path in DIRECTORY.iterdir() if path.name.startswith(prefix))


def ensure(name: str) -> bool:
    """Makes the namespace unless it is there; whether it was made."""
    if exists(name):
        return False
    remove(name)
    _on_thread_of_its_own(lambda: _create(DIRECTORY / name))
    return True


def _create(path: Path) -> None:
    _check(_libc.unshare(_CLONE_NEWNET), "unshare of the network namespace")
    path.touch(mode=0o444, exist_ok=False)
    _mount(_THIS_THREAD, path, _MS_BIND)


def _on_thread_of_its_own(create: Callable[[], None]) -> None:
    """Runs `create` on a thread that ends with it, and with it the thread's membership in what it unshared."""
    failures: list[OSError] = []

    def run() -> None:
        try:
            create()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="network-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def remove(name: str) -> None:
    """Takes the name away. The namespace itself lives on while a process or an open tap holds it."""
    path = DIRECTORY / name
    if exists(name):
        _check(_libc.umount2(str(path).encode(), _MNT_DETACH), f"umount of {path}")
    path.unlink(missing_ok=True)


@contextmanager
def opened(name: str) -> Iterator[int]:
    """A descriptor of the namespace, for requests that name it."""
    descriptor = os.open(DIRECTORY / name, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Has the calling thread in the namespace for the body."""
    home = os.open(_THIS_THREAD, os.O_RDONLY)
    try:
        with opened(name) as descriptor:
            _check(_libc.setns(descriptor, _CLONE_NEWNET), f"entering network namespace {name}")
        try:
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET), f"leaving network namespace {name}")
    finally:
        os.close(home)
