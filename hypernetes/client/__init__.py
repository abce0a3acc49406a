"""How our processes talk to the API server: as any client would, over HTTPS.

    kubeconfig.py ─► credentials.py ─► transport.py ─► rest.py ─► informer.py ─► workqueue.py
     (the file)      (TLS, renewal)    (HTTP, retries)  (models)   (cache)         (keys to work on)

    retries.py, backoff.py     what may be sent again, and when
    watching.py, keys.py, cache.py   watch events; names of objects; what an informer remembers
    leaderelection.py          one process at a time, by a Lease
    events.py                  Events for users: aggregated, never blocking

Imports `hypernetes.api` only. Errors: `StatusError` is the server's refusal, `TransportError` (`Unreachable`,
`Interrupted`) means that there was no answer; `REQUEST_ERRORS` is both.
"""

from hypernetes.client.credentials import ClientConfig
from hypernetes.client.errors import REQUEST_ERRORS, Interrupted, TransportError, Unreachable, has_cause, is_reason
from hypernetes.client.events import EventRecorder
from hypernetes.client.informer import Informer
from hypernetes.client.keys import Key, key_of
from hypernetes.client.leaderelection import LeaderElector, LeadershipLost
from hypernetes.client.rest import Client, Listing
from hypernetes.client.workqueue import WorkQueue

__all__ = [
    "REQUEST_ERRORS",
    "Client",
    "ClientConfig",
    "EventRecorder",
    "Informer",
    "Interrupted",
    "Key",
    "LeaderElector",
    "LeadershipLost",
    "Listing",
    "TransportError",
    "Unreachable",
    "WorkQueue",
    "has_cause",
    "is_reason",
    "key_of",
]
