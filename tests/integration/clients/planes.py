"""A control plane whose pods need no machine, for clients that block: it runs in a thread beside the test."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from hypernetes.cli import tenants
from hypernetes.client import Client
from tests.integration.clients.commands import Kubectl
from tests.integration.control_plane import ControlPlane, running
from tests.integration.hollow_kubelet import HollowKubelet

_CALL_SECONDS = 90.0  # the machine may be busy with other tests


class Plane:
    def __init__(self, do: Callable[[Coroutine[Any, Any, Any]], Any], plane: ControlPlane, client: Client) -> None:
        self._do, self._plane, self._client = do, plane, client

    def tenant(self, name: str) -> Kubectl:
        """kubectl of a new tenant's administrator, once pods can be made in the default namespace."""
        path, _ = self._do(tenants.create(self._client, self._plane.layout, name, None))
        kubectl = Kubectl(path)
        kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        return kubectl

    def provider(self) -> Kubectl:
        return Kubectl(self._plane.layout.admin_kubeconfig)

    def stop_server(self) -> None:
        self._do(self._plane.stop("apiserver"))

    def start_server(self) -> None:
        self._do(self._plane.start("apiserver"))
        self._do(self._plane.wait_ready(self._client))


@contextmanager
def hollow_plane(directory: Path) -> Iterator[Plane]:
    """hn-apiserver and hn-controllers as processes, and a kubelet without machines in the thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="control plane")
    thread.start()

    def do(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(_CALL_SECONDS)

    stack = AsyncExitStack()
    try:
        yield do(_start(stack, directory, do))
    finally:
        do(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(stack: AsyncExitStack, directory: Path, do: Callable[[Coroutine[Any, Any, Any]], Any]) -> Plane:
    plane, client = await stack.enter_async_context(running(directory, "controllers"))
    stack.push_async_callback(_end, asyncio.create_task(HollowKubelet(client).run()))
    return Plane(do, plane, client)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
