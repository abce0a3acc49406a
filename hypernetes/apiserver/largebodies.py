"""Large bodies are read on a thread of their own, so that nobody else waits for them.

Reading one (parsing, checking types, patching) takes up to half a second, and a process has one event loop. So it is
done on a thread, with which the loop shares the processor in slices of milliseconds. One tenant's large bodies take
turns: it has one in the thread's queue at most, and the tenants' ones alternate.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

import orjson

LARGE_BYTES = 64 * 1024
LARGE_YAML_BYTES = 256  # aliases make much of little
LARGE_PROTOBUF_BYTES = 8 * 1024  # two bytes may stand for an object
LARGE_PATCH_BYTES = 4 * 1024  # and so do a patch's copies

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


class LargeBodies:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of who has any, by tenant

    def turn(self, tenant: str) -> asyncio.Lock:
        """To be held by the tenant's request while it is carried out."""
        lock = self._turns.get(tenant)
        if lock is None:
            lock = self._turns[tenant] = asyncio.Lock()
        return lock

    async def read(self, function: Callable[_Args, _Result], *args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
        """What the pure `function` gives, or raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))


def is_large(size: int, content_type: str, body: bytes = b"") -> bool:
    """Whether a body of `size` bytes may take long to read; YAML doesn't that is JSON, if the `body` is known."""
    if size > LARGE_BYTES:
        return True
    if "yaml" in content_type.lower():
        return size > LARGE_YAML_BYTES and not is_json(body)
    return size > LARGE_PROTOBUF_BYTES and "protobuf" in content_type.lower()


def is_json(body: bytes) -> bool:
    """Whether a body that may be YAML is JSON, which is read in no time: what kubectl sends to be applied is."""
    if body.lstrip()[:1] != b"{":
        return False
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True
