"""Brings a pod's status to the API server: the newest one, as often as it changes and no oftener, until it is taken."""

import asyncio
from collections.abc import Callable

import structlog

from hypernetes.api.models.core_v1 import Pod, PodStatus
from hypernetes.client import REQUEST_ERRORS, Client, is_reason

log = structlog.get_logger()

FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 15.0


class StatusWriter:
    """`build` makes the status for the newest pod it is given. `gone` is set when the API has no such pod any more."""

    def __init__(self, client: Client, pod: Pod, tenant: str, build: Callable[[Pod], PodStatus]) -> None:
        self._client, self._tenant, self._build = client, tenant, build
        self.pod = pod
        self.gone = False
        # What was written last, and as what the server keeps it: it fills in and leaves out.
        self._stored: tuple[PodStatus, PodStatus] | None = None
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def update(self, pod: Pod) -> None:
        """A newer version of the pod, from the informer."""
        if _revision(pod) >= _revision(self.pod):
            self.pod = pod

    def notify(self) -> None:
        """Something that status shows has changed."""
        self._idle.clear()
        self._changed.set()

    async def flush(self) -> None:
        """Until the newest status is written, or the pod is gone."""
        await self._idle.wait()

    async def run(self) -> None:
        """Until cancelled."""
        delay = FIRST_RETRY_SECONDS
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._write()
                delay = FIRST_RETRY_SECONDS
            except REQUEST_ERRORS as error:
                log.warning("pod.status.retry", pod=self.pod.metadata.name, error=str(error), delay=delay)
                self._changed.set()
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_RETRY_SECONDS)
            if not self._changed.is_set():
                self._idle.set()

    async def _write(self) -> None:
        if self.gone:
            return
        status = self._build(self.pod)
        if status == self.pod.status or (status, self.pod.status) == self._stored:
            return
        candidate = self.pod.model_copy(update={"status": status})
        try:
            stored = await self._client.update_status(candidate, tenant=self._tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                self.gone = True
                return
            if not is_reason(error, "Conflict"):
                raise
            await self._refresh()
            self._changed.set()
            return
        self._stored = (status, stored.status)
        self.update(stored)

    async def _refresh(self) -> None:
        meta = self.pod.metadata
        try:
            newest = await self._client.get(Pod, meta.name or "", namespace=meta.namespace, tenant=self._tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                self.gone = True
                return
            raise
        if newest.metadata.uid != meta.uid:
            self.gone = True
        else:
            self.pod = newest


def _revision(pod: Pod) -> int:
    version = pod.metadata.resource_version or "0"
    return int(version) if version.isdecimal() else 0
