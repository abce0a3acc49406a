"""Makes this process one of the active hn-controllers, as `assignment.py` lays down: the I/O around it.

      Lease of this member            Lease hn-controllers                   the work (manager.py)
    ┌──────────────────────┐        ┌──────────────────────────┐  narrow    ┌──────────────────┐
    │ renewed; its         │◄───────│ whose holder leads;      │───────────►│ ends what isn't  │
    │ generation confirmed │confirm │ its assignment of tenants│            │ ours, …          │
    └──────────────────────┘        └──────────────────────────┘  widen     │ begins what is   │
         all of them confirmed, or gone ────────────────────────────────────►└──────────────────┘

Leases are looked at every `retry_period`, and more often while tenants move.
"""

import asyncio
import re
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from hypernetes.api.models.coordination_v1 import Lease
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import REQUEST_ERRORS, Client, LeaderElector, LeadershipLost, is_reason
from hypernetes.client.leaderelection import Timing
from hypernetes.controllers.assignment import Assignment, Member, next_assignment

NAMESPACE = "kube-system"
MEMBER_LABEL = "hypernetes.io/member-of"
GENERATION = "hypernetes.io/assignment-generation"  # annotation of a member's Lease: the one it has confirmed
ASSIGNMENT = "hypernetes.io/assignment"  # annotation of the leader's Lease
DRAIN_SECONDS = 30.0  # until what is being done for tenants that move must have ended
_MOVING_SECONDS = 0.25  # between two looks while tenants move
_log = structlog.get_logger(__name__)


class Work(Protocol):
    """What a member does. `narrow` may come while `widen` is cancelled in the middle, and never beside it."""

    async def run(self) -> None:
        """Until cancelled, after which nothing is done any more."""

    async def narrow(self, members: tuple[str, ...]) -> bool:
        """Ends what a new assignment takes, and only then returns: whether it gives anything."""

    async def widen(self, *, tenants: bool, elected: bool) -> None:
        """Begins with what the assignment gives, and with the work on the cluster as a whole: nobody else does it."""


def new_identity() -> str:
    """Of this process alone; fit for the name of a Lease."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:40]
    return f"{host}-{uuid.uuid4().hex[:12]}".strip("-")


@dataclass(slots=True)
class _Seen:
    """A member's Lease as last read; since when we see it, and see it unchanged (our own monotonic clock)."""

    lease: Lease
    first: float
    since: float


class Membership:
    """`active`: how many members at most have tenants (None: all); what the leader was started with counts."""

    def __init__(
        self, client: Client, component: str, work: Work, *, identity: str | None = None,
        timing: Timing | None = None, active: int | None = None,
    ) -> None:  # fmt: skip
        self._client, self._component, self._work = client, component, work
        self.identity = identity or new_identity()
        self._timing, self._active = timing or Timing(), active
        self._member = LeaderElector(
            client, f"{component}-{self.identity}", identity=self.identity, timing=self._timing,
            labels={MEMBER_LABEL: component}, removes=True,
        )  # fmt: skip
        self._wake = asyncio.Event()
        self._leader = LeaderElector(
            client, component, identity=self.identity, timing=self._timing, annotated=self._wake.set
        )  # fmt: skip
        self._seen: dict[str, _Seen] = {}
        self._proposed: Assignment | None = None  # ours, whether it is written yet or not
        self._gains = self._elected = False  # tenants are to be taken over; the elected one's work is done here
        self.assignment: Assignment | None = None  # the one that was confirmed last
        self.leads = False

    @property
    def members(self) -> int:
        """That have a Lease."""
        return len(self._seen)

    def held(self) -> bool:
        """Whether nobody else can be doing yet what is done here; for any thread."""
        return self._member.held() and (not self._elected or self._leader.held())

    async def run(self) -> None:
        """Until cancelled. Raises LeadershipLost once this process may not go on: it should start again."""
        await self._member.run(self._belong)

    async def _belong(self) -> None:
        leading = asyncio.ensure_future(self._leader.run(self._lead))
        working = [asyncio.ensure_future(self._work.run()), asyncio.ensure_future(self._follow())]
        try:
            await asyncio.wait({leading, *working}, return_when=asyncio.FIRST_COMPLETED)
            for each in (leading, *working):
                if each.done():
                    each.result()
        finally:
            # In this order: whoever leads next finds nothing under way here.
            await _cancelled(*working)
            await _cancelled(leading)

    async def _lead(self) -> None:
        self.leads = True
        self._wake.set()
        await asyncio.Event().wait()

    async def _follow(self) -> None:
        widening: asyncio.Task[None] | None = None
        try:
            while True:
                written = self._written()
                if written is not None and written != self.assignment:
                    if widening is not None:
                        await _cancelled(widening)
                        widening = None
                    await self._confirm(written)
                # After the assignment was read: who had no Lease before that may have got one.
                if await self._look():
                    if self.leads:
                        self._coordinate(await self._alive())
                    if widening is None:
                        widening = self._begin()
                await self._pause(widening)
                if widening is not None and widening.done():
                    widening.result()
                    widening = None
        finally:
            if widening is not None:
                await _cancelled(widening)

    async def _confirm(self, written: Assignment) -> None:
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                self._gains = await self._work.narrow(written.members)
        except TimeoutError:
            raise LeadershipLost(f"work for tenants that move didn't end within {DRAIN_SECONDS:g} s") from None
        self.assignment = written
        self._member.annotate(GENERATION, str(written.generation))
        _log.info("assignment confirmed", generation=written.generation, members=len(written.members))

    def _begin(self) -> "asyncio.Task[None] | None":
        """What may be done from now on, if there is something new."""
        tenants = self._gains and self.assignment is not None and self.assignment.settled(self._confirmed())
        elected = self.leads and not self._elected
        if not tenants and not elected:
            return None

        async def widen() -> None:
            await self._work.widen(tenants=tenants, elected=elected)
            self._gains, self._elected = self._gains and not tenants, self._elected or elected
            _log.info("work taken over", tenants=tenants, elected=elected)

        return asyncio.create_task(widen())

    async def _pause(self, widening: "asyncio.Task[None] | None") -> None:
        seconds = min(_MOVING_SECONDS, self._timing.retry_period) if self._gains else self._timing.retry_period
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            waited_for = {waking} if widening is None else {waking, widening}
            await asyncio.wait(waited_for, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(waking)
            self._wake.clear()

    def _written(self) -> Assignment | None:
        lease = self._leader.lease
        text = None if lease is None else lease.metadata.annotations.get(ASSIGNMENT)
        if text is None:
            return None
        try:
            return Assignment.from_json(text)
        except ValueError as error:
            _log.error("the assignment can't be read", lease=self._component, error=str(error))
            return None

    async def _look(self) -> bool:
        """Reads the members' Leases; False where the server doesn't let us."""
        try:
            listing = await self._client.list(
                Lease, tenant=SYSTEM_TENANT, namespace=NAMESPACE, label_selector=f"{MEMBER_LABEL}={self._component}",
                timeout=self._timing.renew_deadline,
            )  # fmt: skip
        except REQUEST_ERRORS as error:
            _log.warning("members not known", error=str(error))
            return False
        now, former = asyncio.get_running_loop().time(), self._seen
        self._seen = {}
        for lease in listing.items:
            name = lease.spec.holder_identity or ""
            seen = former.get(name)
            if seen is None or seen.lease.metadata.uid != lease.metadata.uid:
                self._seen[name] = _Seen(lease, now, now)
            else:
                self._seen[name] = _Seen(lease, seen.first, seen.since if seen.lease.spec == lease.spec else now)
        return True

    async def _alive(self) -> dict[str, Member]:
        """Who has a Lease, without those that haven't renewed it for as long as it lasts: theirs is taken away."""
        now = asyncio.get_running_loop().time()
        for name, seen in list(self._seen.items()):
            lease, lasts = seen.lease, seen.lease.spec.lease_duration_seconds or self._timing.lease_duration
            if name == self.identity or now - seen.since < lasts:
                continue
            try:
                await self._client.delete(
                    Lease, lease.metadata.name or "", namespace=NAMESPACE, tenant=SYSTEM_TENANT,
                    uid=lease.metadata.uid, resource_version=lease.metadata.resource_version,
                    timeout=self._timing.renew_deadline,
                )  # fmt: skip
            except REQUEST_ERRORS as error:
                if not is_reason(error, "NotFound"):  # it has renewed it just now, or we can't know
                    _log.info("a member's lease not removed", member=name, error=str(error))
                    continue
            _log.warning("a member is gone", member=name, silent_for=round(now - seen.since, 1))
            del self._seen[name]
        confirmed = self._confirmed()
        return {name: Member(confirmed[name], seen.since - seen.first) for name, seen in self._seen.items()}

    def _confirmed(self) -> dict[str, int]:
        """By member: the generation that it has confirmed, 0 for none."""
        confirmed = {}
        for name, seen in self._seen.items():
            text = seen.lease.metadata.annotations.get(GENERATION, "")
            confirmed[name] = int(text) if text.isdecimal() else 0
        if self.assignment is not None:
            confirmed[self.identity] = self.assignment.generation
        return confirmed

    def _coordinate(self, members: Mapping[str, Member]) -> None:
        current = self._written()
        written = 0 if current is None else current.generation
        if self._proposed is not None and written < self._proposed.generation:
            return  # it is being written; another one of this generation must never be
        wanted = next_assignment(current, members, ripe=self._timing.lease_duration, active=self._active)
        if wanted is not None:
            self._proposed = wanted
            self._leader.annotate(ASSIGNMENT, wanted.to_json())
            _log.info("tenants assigned", generation=wanted.generation, members=",".join(wanted.members))


async def _cancelled(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
