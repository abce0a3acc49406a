"""One of several processes works at a time: whoever holds the Lease.

A holder renews every `retry_period`. If it couldn't for `renew_deadline`, it stops its work; others take the Lease only
when it stood unchanged for `lease_duration`, which is longer, so that two never work at once. Others' clocks don't
matter: how long a Lease stood unchanged is measured from when we saw it change.

Renewals want a Client of their own: where they share one with the work, they wait for connections behind it. The holder
writes at once, without reading first, so that a slow server is waited for once and not twice.
"""

import asyncio
import random
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from hypernetes.api import times
from hypernetes.api.models.coordination_v1 import Lease, LeaseSpec
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client.errors import REQUEST_ERRORS, TransportError, is_reason
from hypernetes.client.rest import Client

_AGAIN_SECONDS = 0.2  # after a refusal: the Lease is read, and written again if it is ours
_STANDSTILL_SECONDS = 1.0  # that a timer comes too late, and worth a word
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
    """`labels` are those of a Lease that is made here. `removes`: nobody else is meant to hold the Lease, so a clean
    end deletes it, and when somebody else deletes it, it is lost. `annotated` is called when other annotations are
    seen."""

    def __init__(
        self, client: Client, name: str, *, identity: str | None = None, namespace: str = "kube-system",
        tenant: str = SYSTEM_TENANT, timing: Timing | None = None, labels: Mapping[str, str] | None = None,
        removes: bool = False, annotated: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._client, self._name, self._namespace, self._tenant = client, name, namespace, tenant
        self.identity = identity or f"{socket.gethostname()}_{uuid.uuid4()}"
        self._timing = timing or Timing()
        self._labels, self._removes = dict(labels or {}), removes
        self._annotations: dict[str, str] = {}
        self._annotated = annotated
        self._seen: Observation | None = None
        self._hurry = asyncio.Event()
        self._outdated = False  # the last attempt failed since the Lease isn't what we took it for
        self._trouble = ""  # why the Lease isn't renewed, if it isn't
        self._held_until = 0.0  # time.monotonic()

    @property
    def lease(self) -> Lease | None:
        """As last seen; None where there is none, or none was seen yet."""
        return None if self._seen is None else self._seen.lease

    def held(self) -> bool:
        """Whether nobody else can have the Lease yet. For any thread, also while the loop stands still."""
        return time.monotonic() < self._held_until

    def annotate(self, name: str, value: str) -> None:
        """The Lease says so from its next renewal on, which comes at once. Only the holder writes it."""
        self._annotations[name] = value
        self._hurry.set()

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
            self._held_until = 0.0
            if held:
                await self._release()
        renewing.result()
        raise LeadershipLost(
            f"lease {self._name} not renewed within {self._timing.renew_deadline:g} s: {self._trouble}"
        )

    async def _acquire(self) -> None:
        while True:
            started = time.monotonic()
            if await self._try():
                self._held_until = started + self._timing.lease_duration
                return
            await asyncio.sleep(self._timing.retry_period * random.uniform(1.0, 1.2))

    async def _renew(self) -> None:
        """Returns when the Lease is lost."""
        loop = asyncio.get_running_loop()
        renewed, sure = loop.time(), True
        while True:
            deadline = renewed + self._timing.renew_deadline
            pause = _AGAIN_SECONDS if self._outdated else self._timing.retry_period
            await self._rest(min(pause, deadline - loop.time()))
            started, certain = loop.time(), time.monotonic()
            if started >= deadline:
                return
            try:
                # Counts from before the write: others measure from when it arrived.
                async with asyncio.timeout_at(deadline):
                    held = await self._try(read=not sure, create=not self._removes)
            except TimeoutError:
                self._trouble = f"no answer within {loop.time() - started:.1f} s"
                return
            if held:
                renewed, sure, self._trouble = started, True, ""
                self._held_until = certain + self._timing.lease_duration
                continue
            sure = False
            if self._seen is None and self._removes:
                self._trouble = "it was deleted"
                return
            holder = "" if self._seen is None else self._seen.lease.spec.holder_identity or ""
            if holder != self.identity and self._seen is not None:
                self._trouble = f"it is held by {holder or 'nobody'}"
                return

    async def _rest(self, seconds: float) -> None:
        """Less where there is something to tell."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        try:
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 may lose a cancellation
                await self._hurry.wait()
        except TimeoutError:
            late = loop.time() - due
            if late >= _STANDSTILL_SECONDS:
                self._trouble = f"this process stood still for {late:.1f} s"
                _log.warning("the process stood still", lease=self._name, seconds=round(late, 1))
        self._hurry.clear()

    async def _try(self, read: bool = True, create: bool = True) -> bool:
        """One attempt to hold the Lease; False where it is another's or the server didn't let us."""
        loop = asyncio.get_running_loop()
        self._outdated = False
        try:
            if read:
                self._observe(await self._read(), loop.time())
            stamp = times.format_micro_time(times.now())
            wanted = next_lease(
                self._seen, self.identity, loop.time(), stamp, self._name, self._namespace, self._timing.lease_duration
            )
            if wanted is None or (self._seen is None and not create):
                return False
            write = self._client.create if self._seen is None else self._client.update
            written = await write(self._told(wanted), tenant=self._tenant, timeout=self._timing.renew_deadline)
        except (StatusError, TransportError) as error:
            self._trouble = str(error)
            self._outdated = is_reason(error, "Conflict", "AlreadyExists", "NotFound")
            if not self._outdated:
                _log.warning("leader election failed", lease=self._name, error=str(error))
            return False
        self._observe(written, loop.time())
        return True

    def _told(self, lease: Lease) -> Lease:
        metadata = lease.metadata
        labels, annotations = {**metadata.labels, **self._labels}, {**metadata.annotations, **self._annotations}
        return lease.model_copy(
            update={"metadata": metadata.model_copy(update={"labels": labels, "annotations": annotations})}
        )

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
        former = None if self._seen is None else self._seen.lease.metadata.annotations
        if lease is not None and lease.metadata.annotations != (former or {}) and self._annotated is not None:
            asyncio.get_running_loop().call_soon(self._annotated)
        if lease is None:
            self._seen = None
        elif self._seen is None or lease.spec != self._seen.lease.spec:
            self._seen = Observation(lease, now)
        else:
            self._seen.lease = lease

    async def _release(self) -> None:
        if self._seen is None:
            return
        lease, seconds = self._seen.lease, self._timing.retry_period
        try:
            if self._removes:
                await self._client.delete(
                    Lease, self._name, namespace=self._namespace, tenant=self._tenant, uid=lease.metadata.uid,
                    timeout=seconds,
                )  # fmt: skip
            else:
                spec = lease.spec.model_copy(update={"holder_identity": "", "lease_duration_seconds": 1})
                await self._client.update(
                    lease.model_copy(update={"spec": spec}), tenant=self._tenant, timeout=seconds
                )  # fmt: skip
        except REQUEST_ERRORS as error:
            # It expires by itself; the next holder waits a little longer.
            _log.info("lease not released", lease=self._name, error=str(error))


async def _stop(task: "asyncio.Future[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
