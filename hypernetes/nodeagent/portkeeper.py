"""Keeps one pod's port as its tenant's NetworkPolicies want it, its network's other nodes in reach, and its Port's
labels as the pod's."""

import asyncio
from collections.abc import Callable

import structlog

from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import REQUEST_ERRORS
from hypernetes.nodeagent.addresses import AddressError, Claim, named_ports
from hypernetes.nodeagent.changes import settled
from hypernetes.nodeagent.parts import Parts
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.providers.network.base import NetworkError, PortPolicy, PortSpec
from hypernetes.providers.network.networkpolicies import Place

log = structlog.get_logger()

# Pods that come and go change what policies refer to many times a second; each change is a transaction of the kernel.
QUIET_SECONDS = 0.1
MAX_DELAY_SECONDS = 0.5
RETRY_SECONDS = 5.0


class PortKeeper:
    """`pod` gives the newest version."""

    def __init__(self, parts: Parts, record: PodRecord, claim: Claim, pod: Callable[[], Pod]) -> None:
        self._parts, self._record, self._claim, self._pod = parts, record, claim, pod
        self._enforced: PortPolicy | None = None  # None: whatever an earlier agent left
        self._wired: PortSpec | None = None  # None: by whatever an earlier agent knew
        self._labelled: dict[str, str] | None = None
        self._unreached = False  # pods of other nodes

    async def enforce(self) -> None:
        """Policies are in force when it returns. Raises NetworkError, AddressError."""
        if self._parts.network.binds_ports:
            # Policies are hn-controllers' work; a port that they had to make anew is wired anew.
            port = await self._parts.addresses.bound(self._claim, self._record.tenant, self._record.uid)
            if port != self._wired:
                await self._parts.network.rebind(port)
                self._wired = port
            return
        await self._tell_peers(anew=self._enforced is None)
        wanted = await self._parts.views.policy(self._record.tenant, self._place())
        if wanted != self._enforced:
            await self._parts.network.set_policy(self._claim.port_spec(self._record.uid), wanted)
            self._enforced = wanted

    async def run(self) -> None:
        """Until cancelled."""
        with self._parts.peers.followed(self._claim.network):
            seen = -1
            while True:
                seen = await self._change(seen)
                seen = await settled(self._change, seen, quiet=QUIET_SECONDS, longest=MAX_DELAY_SECONDS)
                if not await self._kept():
                    await asyncio.sleep(RETRY_SECONDS)
                    seen = -1

    async def _kept(self) -> bool:
        """One attempt; whether all is as it should be."""
        try:
            await self.enforce()
        except NetworkError as error:
            self._complain("NetworkPolicyFailed", "The pod's network policies are not in force", error)
            return False
        except AddressError as error:
            unbound = NetworkError("PortNotBound", str(error))
            self._complain("PortNotBound", "The pod's port is not as it should be", unbound)
            return False
        try:
            await self._label()
        except REQUEST_ERRORS as error:
            log.warning("port.label.failed", pod=self._record.uid, error=str(error))
            return False
        return not self._unreached

    async def _tell_peers(self, *, anew: bool) -> None:
        """A pod that doesn't reach other nodes' starts all the same, and its owner is told."""
        try:
            await self._parts.peers.tell(self._claim.network, anew=anew)
            self._unreached = False
        except NetworkError as error:
            self._unreached = True
            self._complain("NetworkPeersFailed", "The pod doesn't reach its network's pods on other nodes", error)

    async def _label(self) -> None:
        """Later than the pod's own policy: others learn of its labels by the Port."""
        labels = dict(self._pod().metadata.labels)
        if labels != self._labelled:
            await self._parts.addresses.label(self._claim, self._pod(), self._record.tenant)
            self._labelled = labels

    def _complain(self, reason: str, what: str, error: NetworkError) -> None:
        log.warning("port.failed", pod=self._record.uid, reason=error.reason, error=error.message)
        message = f"{what}: {error.message}"
        self._parts.events.event(self._pod(), "Warning", reason, message, tenant=self._record.tenant)

    def _place(self) -> Place:
        pod = self._pod()
        network, address = self._claim.network.name, self._claim.address
        return Place(pod.metadata.namespace or "", pod.metadata.labels, network, address, tuple(named_ports(pod)))

    async def _change(self, seen: int) -> int:
        return await self._parts.views.network_change(self._record.tenant, seen)
