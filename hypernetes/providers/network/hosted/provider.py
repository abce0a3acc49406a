"""The provider as its callers have it."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from hypernetes.providers import fencing
from hypernetes.providers.network.base import (
    EnsuredNetwork,
    NetworkError,
    NetworkSpec,
    Peer,
    PluggedPort,
    PolicyGroup,
    PortPolicy,
    PortSpec,
)
from hypernetes.providers.network.hosted.process import HostProcess

CALL_SECONDS = 20.0  # shorter than a shard's drain (fencing)
_BACK_OFF_SECONDS = (0.0, 1.0, 5.0, 15.0, 30.0)  # between two starts, by ends in a row
_STEADY_SECONDS = 60.0  # of life, after which an end is the first one again


class HostedNetworkProvider:
    """See hypernetes/providers/network/base.py, which has the promises."""

    def __init__(self, name: str, process: HostProcess, arguments: Mapping[str, Any], seconds: float) -> None:
        self._name, self._process, self._arguments, self._seconds = name, process, arguments, seconds
        self.binds_ports = process.binds_ports
        self._opened = False
        self._ends, self._started = 0, time.monotonic()
        self._starting = asyncio.Lock()

    async def ensure_network(self, network: NetworkSpec, used_segments: frozenset[int]) -> EnsuredNetwork:
        ensured: EnsuredNetwork = await self._ask("ensure_network", network, used_segments, gives=EnsuredNetwork)
        return ensured

    async def delete_network(self, network: NetworkSpec) -> None:
        await self._ask("delete_network", network)

    async def open(self) -> None:
        await self._ask("open")
        self._opened = True

    async def plug(self, port: PortSpec) -> PluggedPort:
        plugged: PluggedPort = await self._ask("plug", port, gives=PluggedPort)
        return plugged

    async def set_policy(self, port: PortSpec, policy: PortPolicy) -> None:
        await self._ask("set_policy", port, policy)

    async def rebind(self, port: PortSpec) -> None:
        await self._ask("rebind", port)

    async def set_peers(self, network: NetworkSpec, peers: frozenset[Peer]) -> None:
        await self._ask("set_peers", network, peers)

    async def unplug(self, port_id: str) -> None:
        await self._ask("unplug", port_id)

    async def sweep(self, keep: frozenset[str]) -> None:
        await self._ask("sweep", keep)

    async def close(self, *, remove: bool) -> None:
        """Raises NetworkError where something may be left to remove."""
        try:
            if remove or self._process.runs:
                await self._ask("close", remove=remove)
        except NetworkError:
            if remove:
                raise
        finally:
            self._process.end()

    async def _ask(self, method: str, *arguments: Any, gives: type | None = None, **named: Any) -> Any:
        """Raises NetworkError and Fenced."""
        fencing.check()
        process = await self._running()
        fencing.check()  # that may have taken its time
        answer = await process.ask(self._seconds, method, arguments, named)
        if gives is not None and not isinstance(answer, gives):
            text = f"the network provider {self._name} answers {method} with {type(answer).__name__}"
            raise NetworkError("ProviderFailed", f"{text}, not {gives.__name__}")
        return answer

    async def _running(self) -> HostProcess:
        """Started again where it has ended. Raises NetworkError."""
        async with self._starting:
            if self._process.runs:
                return self._process
            now = time.monotonic()
            since = now - self._started
            self._ends = 0 if since > _STEADY_SECONDS else self._ends
            wait = _BACK_OFF_SECONDS[min(self._ends, len(_BACK_OFF_SECONDS) - 1)] - since
            if wait > 0:
                text = f"the process of the network provider {self._name} ended; it is started again in {wait:.0f} s"
                raise NetworkError("ProviderExited", text)
            self._ends, self._started = self._ends + 1, now
            try:
                process = await asyncio.to_thread(HostProcess, self._name, self._arguments)
            except ValueError as error:
                raise NetworkError("ProviderExited", str(error)) from error
            if self._opened:
                try:
                    await process.ask(self._seconds, "open", (), {})
                except BaseException:
                    process.end()  # not opened it is of no use, and may let through what it should filter
                    raise
            self._process = process
            return process


class HostedPortBinder(HostedNetworkProvider):
    async def bind_port(self, port: PortSpec, node: str, group: PolicyGroup) -> Mapping[str, str]:
        binding: Mapping[str, str] = await self._ask("bind_port", port, node, group, gives=Mapping)
        return binding

    async def set_group(self, network: NetworkSpec, group: PolicyGroup) -> None:
        await self._ask("set_group", network, group)

    async def release_port(self, port: PortSpec) -> None:
        await self._ask("release_port", port)

    def forget(self) -> None:
        """Told with the next call: what isn't running remembers nothing."""
        if self._process.runs:
            task = asyncio.ensure_future(self._forgotten())
            self._forgetting = task

    async def _forgotten(self) -> None:
        try:
            await self._ask("forget")
        except (NetworkError, fencing.Fenced):
            self._process.end()  # the next one begins with nothing

    async def sweep_ports(self, keep: Mapping[str, str]) -> frozenset[str]:
        lost: frozenset[str] = await self._ask("sweep_ports", dict(keep), gives=frozenset)
        return lost


def make(name: str, *, call_seconds: float = CALL_SECONDS, **arguments: Any) -> HostedNetworkProvider:
    """Raises ValueError for a configuration that can't be used."""
    process = HostProcess(name, arguments)
    kind = HostedPortBinder if process.binds_ports else HostedNetworkProvider
    return kind(name, process, arguments, call_seconds)
