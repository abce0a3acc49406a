"""Which failed requests may be sent again, and when. Plain decisions; `rest.py` does the sending.

A request is sent again only where that can't do harm: nothing was sent (no connection), the server says it has not
begun (429, or 503 with a time to come back at), or the method only reads.
"""

from hypernetes.api.status import StatusError
from hypernetes.client.backoff import Backoff
from hypernetes.client.errors import TransportError, Unreachable

MAX_ATTEMPTS = 4
_BACKOFF = Backoff(first=0.1, longest=2.0)  # seconds
_LONGEST_RETRY_AFTER = 10.0  # seconds; a server that asks for more gets its refusal reported instead
_READS = frozenset({"GET", "HEAD"})
_PASSING_CODES = frozenset({500, 502, 503, 504})


def next_delay(method: str, attempt: int, error: StatusError | TransportError) -> float | None:
    """Seconds until attempt number `attempt` + 1 (the first is 0), or None: give up and raise `error`."""
    if attempt + 1 >= MAX_ATTEMPTS or not _may_repeat(method, error):
        return None
    delay = _BACKOFF.delay(attempt)
    asked = retry_after(error)
    if asked > _LONGEST_RETRY_AFTER:
        return None
    # Never sooner than the server asked; jitter comes on top.
    return asked + delay


def retry_after(error: StatusError | TransportError) -> float:
    """Seconds that the server asks to be left alone for; 0 where it doesn't say."""
    return float(error.details.get("retryAfterSeconds") or 0) if isinstance(error, StatusError) else 0.0


def _may_repeat(method: str, error: StatusError | TransportError) -> bool:
    if isinstance(error, Unreachable):
        return True
    if isinstance(error, StatusError):
        not_begun = error.code == 429 or (error.code == 503 and retry_after(error) > 0)
        return not_begun or (method in _READS and error.code in _PASSING_CODES)
    return method in _READS
