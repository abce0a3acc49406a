"""One connection of a port-forward that goes wrong, and the others beside it."""

import asyncio
from typing import Any

from hypernetes.apiserver.portforward import sessions


class DeafPod:
    def write(self, data: bytes) -> None:
        raise ConnectionResetError

    async def drain(self) -> None:
        raise AssertionError("nothing was written")


async def test_a_pod_that_takes_no_more_holds_up_nobody() -> None:
    """All connections of a session come over one socket: what waits for one would hold the others."""
    forward, pod = sessions._Forward(error=1, data=3, port=80), DeafPod()
    writer: Any = pod
    sending = asyncio.create_task(sessions._send(forward, writer))
    async with asyncio.timeout(5):
        for _ in range(1000):  # more than the queue takes
            await forward.incoming.put(b"x")
        await forward.incoming.put(None)
        await sending
