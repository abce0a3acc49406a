"""Signs approved CertificateSigningRequests for the signers `kubernetes.io/…`: the authority's key is here. Approves
those of nodes that may have it so.

Level-triggered: a request is looked at whenever it changes, and all of them after the mirror was loaded. Where several
servers sign, the first one's certificate stays.
"""

import base64
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import structlog

from hypernetes.api import scheme, times
from hypernetes.api.tenancy import SYSTEM_TENANT, TenantSAN
from hypernetes.apiserver import codec
from hypernetes.apiserver.authn import User, signers
from hypernetes.apiserver.authn.users import NODE_USER_PREFIX
from hypernetes.apiserver.authz import Attributes, Authorizer
from hypernetes.apiserver.duekeys import DueKeys
from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Event, Mirror
from hypernetes.apiserver.objects import Objects, Place, Put, missing
from hypernetes.apiserver.registry.signingapprovals import APPROVED, DENIED, FAILED, has
from hypernetes.pki import Authority

Object = dict[str, Any]

log = structlog.get_logger()


class Signing:
    """Tell it every event of the mirror, and when the mirror has been loaded anew; run `run()` in a task."""

    def __init__(
        self, mirror: Mirror, objects: Objects, lookups: Lookups, authorizer: Authorizer, authority: Authority,
        clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._mirror, self._objects, self._lookups, self._authorizer = mirror, objects, lookups, authorizer
        self._authority, self._clock = authority, clock
        self._requests = scheme.by_name("certificates.k8s.io/v1", "certificatesigningrequests")
        self._due = DueKeys(self._handle, "a certificate request")

    def observe(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.name.resource == self._requests.name and event.name.group == self._requests.group:
                self._due.add(event.name)

    def reset(self) -> None:
        for entry in self._mirror.range(self._mirror.keys.range(self._requests)):
            assert entry.name is not None
            self._due.add(entry.name)

    async def run(self) -> None:
        """Until cancelled."""
        await self._due.run()

    async def _handle(self, key: ObjectKey) -> None:
        entry = self._mirror.object(self._requests, key.tenant, "", key.name)
        tenant_uid = self._lookups.tenant_uid(key.tenant)
        if entry is None or tenant_uid is None:
            return
        place = Place(self._requests, key.tenant, "", key.name)
        san = TenantSAN(self._mirror.keys.cluster_id, key.tenant, tenant_uid)
        request = codec.decode(entry.data, entry.revision)
        if not _is_due(request):
            if _is_undecided(request) and self._approves(request["spec"], san):
                await self._objects.change(place, lambda old: _approved(old, place, self._clock()))
                log.info("certificate request of a node approved", request=key.name)
            return

        def signed(old: Object | None) -> Put:
            if old is None:
                raise missing(place)
            return Put(self._signed(old, san) if _is_due(old) else old)

        await self._objects.change(place, signed)
        log.info("certificate request handled", tenant=key.tenant, request=key.name)

    def _approves(self, spec: Object, san: TenantSAN) -> bool:
        """Whether a node's request for a client certificate is approved without anybody, as upstream's controller does.

        By the permissions `nodeclient` (of who has a bootstrap token) and `selfnodeclient` (of the node itself). For
        the first there must be no such node yet: nobody comes by the name of one that is there.
        """
        if san.tenant != SYSTEM_TENANT or spec.get("signerName") != signers.NODE_CLIENT:
            return False
        try:
            profile, _, _ = signers.decide(spec, san)
        except signers.Refused:
            return False
        groups = tuple(spec.get("groups") or ())
        user = User(spec.get("username") or "", groups, san.tenant, san.tenant_uid, uid=spec.get("uid") or "")
        itself = user.name == profile.common_name
        if not itself and self._lookups.node_uid(profile.common_name.removeprefix(NODE_USER_PREFIX)) is not None:
            return False
        way = "selfnodeclient" if itself else "nodeclient"
        asked = Attributes(san.tenant, "create", self._requests.group, self._requests.name, way)
        return self._authorizer.authorize(user, asked).allowed

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


def _is_undecided(request: Object) -> bool:
    return not any(has(request, kind) for kind in (APPROVED, DENIED, FAILED))


def _approved(old: Object | None, place: Place, now: datetime) -> Put:
    if old is None:
        raise missing(place)
    if not _is_undecided(old):
        return Put(old)
    moment = times.format_time(now)
    condition = {
        "type": APPROVED, "status": "True", "reason": "AutoApproved", "lastUpdateTime": moment,
        "message": "Auto approving kubelet client certificate after SubjectAccessReview.", "lastTransitionTime": moment,
    }  # fmt: skip
    status = old.get("status") or {}
    return Put({**old, "status": {**status, "conditions": [*(status.get("conditions") or []), condition]}})


def _is_due(request: Object) -> bool:
    """Whether the request is approved, for one of our signers, and has no outcome yet."""
    return (
        request["spec"].get("signerName") in signers.SIGNERS
        and has(request, APPROVED)
        and not has(request, DENIED)
        and not has(request, FAILED)
        and not request["status"].get("certificate")
    )
