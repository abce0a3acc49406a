"""CertificateSigningRequests go when nobody can want them any more.

An hour after they were approved, denied or failed; a day after they were made, if nobody has decided; and at once when
the certificate has expired. (The hours are those of the Kubernetes documentation on signing requests.)
"""

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509

from hypernetes.api import times
from hypernetes.api.models.certificates_v1 import CertificateSigningRequest
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.writes import Delete, carry_out_one

DECIDED, UNDECIDED = timedelta(hours=1), timedelta(hours=24)
_VERDICTS = ("Approved", "Denied", "Failed")


def expires_in(request: CertificateSigningRequest, now: datetime) -> float | None:
    """Seconds, 0 for one that is over; None for one that is being deleted."""
    if request.metadata.deletion_timestamp is not None:
        return None
    return max(0.0, (min(_ends(request, now)) - now).total_seconds())


def _ends(request: CertificateSigningRequest, now: datetime) -> Iterator[datetime]:
    made = request.metadata.creation_timestamp
    since_made = times.parse_time(made) if made else now
    verdicts = [entry for entry in request.status.conditions if entry.type in _VERDICTS]
    for verdict in verdicts:
        stamp = verdict.last_update_time or verdict.last_transition_time
        yield (times.parse_time(stamp) if stamp else since_made) + DECIDED
    if not verdicts:
        yield since_made + UNDECIDED
    if request.status.certificate:
        try:
            yield x509.load_pem_x509_certificate(base64.b64decode(request.status.certificate)).not_valid_after_utc
        except ValueError:
            return  # a signer of someone else's may write what it likes: the hour holds


class CSRCleaner(Controller):
    name = "csrcleaner"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._requests = informers.of(CertificateSigningRequest)
        self._requests.on_key(self.queue.add)

    async def reconcile(self, key: Key) -> float | None:
        request = self._requests.get(key)
        left = None if request is None else expires_in(request, times.now())
        if request is not None and left == 0:
            await carry_out_one(self.client, key.tenant, Delete(request))
            return None
        return left
