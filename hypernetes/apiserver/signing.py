"""Signs approved CertificateSigningRequests for the signers `kubernetes.io/…`: the authority's key is here.

Level-triggered: a request is looked at whenever it changes, and all of them after the mirror was loaded. Where several
servers sign, the first one's certificate stays.
"""

import asyncio
import base64
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import structlog

from hypernetes.api import scheme, times
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import TenantSAN
from hypernetes.apiserver import codec
from hypernetes.apiserver.authn import signers
from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Event, Mirror
from hypernetes.apiserver.objects import Objects, Place, Put, missing
from hypernetes.apiserver.registry.signingapprovals import APPROVED, DENIED, FAILED, has
from hypernetes.pki import Authority

Object = dict[str, Any]

log = structlog.get_logger()

RETRY_SECONDS = 5.0


class Signing:
    """Tell it every event of the mirror, and when the mirror has been loaded anew; run `run()` in a task."""

    def __init__(
        self, mirror: Mirror, objects: Objects, lookups: Lookups, authority: Authority, clock: Callable[[], datetime]
    ) -> None:
        self._mirror, self._objects, self._lookups = mirror, objects, lookups
        self._authority, self._clock = authority, clock
        self._requests = scheme.by_name("certificates.k8s.io/v1", "certificatesigningrequests")
        self._waiting: dict[ObjectKey, None] = {}  # each once; bounded by the requests that there are
        self._news = asyncio.Event()

    def observe(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.name.resource == self._requests.name and event.name.group == self._requests.group:
                self._look_at(event.name)

    def reset(self) -> None:
        for entry in self._mirror.range(self._mirror.keys.range(self._requests)):
            assert entry.name is not None
            self._look_at(entry.name)

    def _look_at(self, key: ObjectKey) -> None:
        self._waiting[key] = None
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                key, _ = self._waiting.popitem()
                try:
                    await self._handle(key)
                except StatusError as error:
                    if error.reason not in ("NotFound", "Conflict"):
                        log.warning("a certificate isn't signed yet", request=key.name, error=str(error))
                        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._look_at, key)

    async def _handle(self, key: ObjectKey) -> None:
        entry = self._mirror.object(self._requests, key.tenant, "", key.name)
        tenant_uid = self._lookups.tenant_uid(key.tenant)
        if entry is None or tenant_uid is None or not _is_due(codec.decode(entry.data, entry.revision)):
            return
        place = Place(self._requests, key.tenant, "", key.name)
        san = TenantSAN(self._mirror.keys.cluster_id, key.tenant, tenant_uid)

        def signed(old: Object | None) -> Put:
            if old is None:
                raise missing(place)
            return Put(self._signed(old, san) if _is_due(old) else old)

        await self._objects.change(place, signed)
        log.info("certificate request handled", tenant=key.tenant, request=key.name)

    def _signed(self, request: Object, san: TenantSAN) -> Object:
        """The request with its certificate, or with the reason why there will be none."""
        status = dict(request.get("status") or {})
        now = self._clock()
        try:
            profile, public_key, lifetime = signers.decide(request["spec"], san)
        except signers.Refused as refusal:
            moment = times.format_time(now)
            failed = {
                "type": FAILED, "status": "True", "reason": "SignerValidationFailure", "message": str(refusal),
                "lastUpdateTime": moment, "lastTransitionTime": moment,
            }  # fmt: skip
            return {**request, "status": {**status, "conditions": [*status["conditions"], failed]}}
        pem = self._authority.issue(profile, public_key, now, lifetime)
        return {**request, "status": {**status, "certificate": base64.b64encode(pem).decode()}}


def _is_due(request: Object) -> bool:
    """Whether the request is approved, for one of our signers, and has no outcome yet."""
    return (
        request["spec"].get("signerName") in signers.SIGNERS
        and has(request, APPROVED)
        and not has(request, DENIED)
        and not has(request, FAILED)
        and not request["status"].get("certificate")
    )
