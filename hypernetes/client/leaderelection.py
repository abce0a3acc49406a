"""One of several processes works at a time: whoever holds the Lease.

A holder renews every `retry_period`. If it couldn't for `renew_deadline`, it stops its work; others take the Lease only
when it stood unchanged for `lease_duration`, which is longer, so that two never work at once. Others' clocks don't
matter: how long a Lease stood unchanged is measured from when we saw it change.
"""

import asyncio
import random
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from hypernetes.api import times
from hypernetes.api.models.coordination_v1 import Lease, LeaseSpec
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client.errors import REQUEST_ERRORS, TransportError, is_reason
from hypernetes.client.rest import Client

_log = structlog.get_logger(__name__)


class LeadershipLost(Exception):
    """The Lease couldn't be renewed in time; the work has been stopped."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. The defaults are upstream's."""

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease_duration > self.renew_deadline > self.retry_period > 0:
            raise ValueError("leader election needs lease_duration > renew_deadline > retry_period > 0")


@dataclass(slots=True)
class Observation:
    """The Lease as last seen, and since when (our own monotonic clock) it is unchanged."""

    lease: Lease
    since: float


def next_lease(
    seen: Observation | None, identity: str, now: float, stamp: str, name: str, namespace: str, duration: float
) -> Lease | None:
    """The Lease to write in order to hold it, or None while it is another's. Plain decision."""
    if seen is None:
        spec = LeaseSpec(
            holder_identity=identity, lease_duration_seconds=round(duration), acquire_time=stamp, renew_time=stamp,
            lease_transitions=0,
        )  # fmt: skip
        return Lease(metadata=ObjectMeta(name=name, namespace=namespace), spec=spec)
    spec = seen.lease.spec
    holder = spec.holder_identity or ""
    if holder == identity:
        return seen.lease.model_copy(update={"spec": spec.model_copy(update={"renew_time": stamp})})
    if holder and now - seen.since < (spec.lease_duration_seconds or duration):
        return None
    taken = spec.model_copy(
        update={
            "holder_identity": identity,
            "lease_duration_seconds": round(duration),
            "acquire_time": stamp,
            "renew_time": stamp,
            "lease_transitions": (spec.lease_transitions or 0) + 1,
        }
    )
    return seen.lease.model_copy(update={"spec": taken})


class LeaderElector:
    def __init__(
        self, client: Client, name: str, *, identity: str | None = None, namespace: str = "kube-system",
        tenant: str = SYSTEM_TENANT, timing: Timing | None = None,
    ) -> None:  # fmt: skip
        self._client, self._name, self._namespace, self._tenant = client, name, namespace, tenant
        self.identity = identity or f"{socket.gethostname()}_{uuid.uuid4()}"
        self._timing = timing or Timing()
        self._seen: Observation | None = None

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Waits for the Lease, then runs `work` for as long as it is held. Returns when `work` does.

        Raises LeadershipLost after `work` was cancelled because the Lease couldn't be renewed. A clean end gives the
        Lease up, so that the next one needn't wait for it to expire.
        """
        await self._acquire()
        _log.info("leading", lease=self._name, identity=self.identity)
        working = asyncio.ensure_future(work())
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        finally:
            await _stop(working)
            held = not renewing.done()
            await _stop(renewing)
            if held:
                await self._release()
        raise LeadershipLost(f"lease {self._name} not renewed within {self._timing.renew_deadline:g} s")

    async def _acquire(self) -> None:
        while True:
            if await self._try():
                return
            await asyncio.sleep(self._timing.retry_period * random.uniform(1.0, 1.2))

    async def _renew(self) -> None:
        """Returns when the Lease is lost."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            deadline = renewed + self._timing.renew_deadline
            await asyncio.sleep(min(self._timing.retry_period, deadline - loop.time()))
            started = loop.time()
            if started >= deadline:
                return
            try:
                # Counts from before the write: others measure from when it arrived.
                async with asyncio.timeout_at(deadline):
                    if await self._try():
                        renewed = started
                        continue
            except TimeoutError:
                return
            if self._seen is not None and (self._seen.lease.spec.holder_identity or "") != self.identity:
                return

    async def _try(self) -> bool:
        """One attempt to hold the Lease; False where it is another's or the server didn't let us."""
        loop = asyncio.get_running_loop()
        try:
            self._observe(await self._read(), loop.time())
            stamp = times.format_micro_time(times.now())
            wanted = next_lease(
                self._seen, self.identity, loop.time(), stamp, self._name, self._namespace, self._timing.lease_duration
            )
            if wanted is None:
                return False
            write = self._client.create if self._seen is None else self._client.update
            written = await write(wanted, tenant=self._tenant, timeout=self._timing.renew_deadline)
        except (StatusError, TransportError) as error:
            if not is_reason(error, "Conflict", "AlreadyExists"):
                _log.warning("leader election failed", lease=self._name, error=str(error))
            return False
        self._observe(written, loop.time())
        return True

    async def _read(self) -> Lease | None:
        try:
            return await self._client.get(
                Lease, self._name, namespace=self._namespace, tenant=self._tenant, timeout=self._timing.renew_deadline
            )
        except StatusError as error:
            if is_reason(error, "NotFound"):
                return None
            raise

    def _observe(self, lease: Lease | None, now: float) -> None:
        if lease is None:
            self._seen = None
        elif self._seen is None or lease.spec != self._seen.lease.spec:
            self._seen = Observation(lease, now)
        else:
            self._seen.lease = lease

    async def _release(self) -> None:
        if self._seen is None:
            return
        spec = self._seen.lease.spec.model_copy(update={"holder_identity": "", "lease_duration_seconds": 1})
        try:
            await self._client.update(
                self._seen.lease.model_copy(update={"spec": spec}),
                tenant=self._tenant,
                timeout=self._timing.retry_period,
            )
        except REQUEST_ERRORS as error:
            # It expires by itself; the next holder waits a little longer.
            _log.info("lease not released", lease=self._name, error=str(error))


async def _stop(task: "asyncio.Future[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
