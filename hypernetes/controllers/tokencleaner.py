"""Bootstrap tokens go when they have expired: Secrets of type `bootstrap.kubernetes.io/token` in `kube-system`."""

import base64
import binascii
from datetime import datetime

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Secret
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import BOOTSTRAP_TOKEN, Informers
from hypernetes.controllers.writes import Delete, carry_out_one


def expires_in(secret: Secret, now: datetime) -> float | None:
    """Seconds, 0 for one that is over or says nonsense (nobody is let in with it either); None: never."""
    if secret.type != BOOTSTRAP_TOKEN or secret.metadata.deletion_timestamp is not None:
        return None
    said = secret.data.get("expiration")
    if not said:
        return None
    try:
        moment = times.parse_time(base64.b64decode(said, validate=True).decode())
    except (binascii.Error, ValueError):
        return 0.0
    return max(0.0, (moment - now).total_seconds())


class TokenCleaner(Controller):
    name = "tokencleaner"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._tokens = informers.bootstrap_tokens()
        self._tokens.on_key(self.queue.add)

    async def reconcile(self, key: Key) -> float | None:
        secret = self._tokens.get(key)
        left = None if secret is None else expires_in(secret, times.now())
        if secret is not None and left == 0:
            await carry_out_one(self.client, key.tenant, Delete(secret))
            return None
        return left
