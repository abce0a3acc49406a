"""Whether a process may still act for a tenant: asked before each call that changes something outside of the cluster.

Several hn-controllers share the tenants. One that has lost its Lease, or that gives a tenant to another, ends what it
does; but what blocks runs in threads, which nothing can cancel. So hn-controllers work on a key under `guarded`, and a
provider asks `check` before every call to the outside, also between the calls of one thread:

    with guarded(lambda: lease is held and tenant is ours):          hn-controllers
        await provider.ensure(…)
            └─ await in_thread(executor, work)                       a provider
                 └─ work: check(); POST …; check(); PUT …            the thread
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")


class Fenced(Exception):
    """Somebody else may act by now: nothing more is done, and nothing is told to anybody."""


_may_act: contextvars.ContextVar[Callable[[], bool]] = contextvars.ContextVar("may_act", default=lambda: True)


@contextmanager
def guarded(may_act: Callable[[], bool]) -> Iterator[None]:
    """`may_act` is asked from any thread."""
    token = _may_act.set(may_act)
    try:
        yield
    finally:
        _may_act.reset(token)


def check() -> None:
    """Raises Fenced. Outside of `guarded` everything is allowed."""
    if not _may_act.get()():
        raise Fenced("another process may act for this tenant by now")


async def in_thread(executor: Executor, work: Callable[[], Result]) -> Result:
    """Runs what blocks under the caller's guard. Once the caller is cancelled, the next `check` in `work` fails."""
    abandoned, allowed = threading.Event(), _may_act.get()

    def watched() -> Result:
        with guarded(lambda: not abandoned.is_set() and allowed()):
            return work()

    try:
        return await asyncio.get_running_loop().run_in_executor(executor, watched)
    except asyncio.CancelledError:
        abandoned.set()
        raise
