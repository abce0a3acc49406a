"""A machine without a pod, for a probe or a template: booted until hn-init answers, gone at the end of the block."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypernetes.nodeagent.runtime import boot, hypervisor, qemu
from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.host import Host, to_the_end
from hypernetes.nodeagent.runtime.processes import ProcessId
from hypernetes.nodeagent.runtime.silent import SilentHandler


@asynccontextmanager
async def bare_machine(
    host: Host,
    kind: str,
    shape: qemu.Shape,
    seconds: float,
    *,
    tap_fd: int | None = None,
    memory: hypervisor.Memory | None = None,
) -> AsyncIterator[boot.Connections]:
    """`kind` begins its id. It is in no control group: it runs nothing of a tenant's. Raises MachineError."""
    id_ = f"{kind}-{uuid.uuid4().hex[:12]}"
    state = host.state_of(id_)

    def start() -> ProcessId:
        state.create()
        return hypervisor.spawn(
            host.name_of(id_),
            shape,
            host.guest,
            state,
            host.claim_uid(id_),
            tap_fd=tap_fd,
            mac_address=None if tap_fd is None else qemu.TEMPLATE_MAC,
            memory=memory,
        )

    try:
        process = boot.watch(await to_the_end(start), state)
        try:
            async with boot.telling_of_kills(process):
                connections = await boot.connect(process, state, SilentHandler(), seconds)
                try:
                    yield connections
                finally:
                    connections.link.close()
                    connections.monitor.close()
        finally:
            process.close()
    except OSError as error:
        raise MachineError("BootFailed", f"a {kind} machine can't be set up on this node: {error}") from error
    finally:
        await host.clean(id_)
