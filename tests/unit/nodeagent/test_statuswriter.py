"""How often a pod's status is written."""

import asyncio
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Pod, PodStatus
from hypernetes.nodeagent.statuswriter import StatusWriter

pytestmark = pytest.mark.looptime


class Server:
    """Keeps a status in a form of its own, as a server that defaults fields does."""

    def __init__(self) -> None:
        self.written: list[str | None] = []

    async def update_status(self, pod: Pod, *, tenant: str) -> Pod:
        self.written.append(pod.status.phase)
        kept = pod.status.model_copy(update={"qos_class": "BestEffort"})
        metadata = pod.metadata.model_copy(update={"resource_version": str(len(self.written) + 1)})
        return pod.model_copy(update={"status": kept, "metadata": metadata})


async def test_a_status_that_the_server_keeps_in_another_form_is_written_once() -> None:
    server, phases = Server(), ["Pending", "Pending", "Running", "Running", "Pending"]
    pod = Pod.from_dict(
        {"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "1"}, "spec": {"containers": []}}
    )
    client: Any = server
    writer = StatusWriter(client, pod, "acme", lambda _: PodStatus(phase=phases[0]))
    running = asyncio.create_task(writer.run())
    while True:
        writer.notify()
        await writer.flush()
        if len(phases) == 1:
            break
        del phases[0]
    # Somebody else has changed it: it is written again.
    changed = writer.pod.model_copy(update={"status": PodStatus(phase="Failed")})
    writer.update(changed)
    writer.notify()
    await writer.flush()
    running.cancel()
    assert server.written == ["Pending", "Running", "Pending", "Pending"]
