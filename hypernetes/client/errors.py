"""What can go wrong between us and the API server, apart from the server's own refusals (`api.status.StatusError`)."""

from hypernetes.api.status import StatusError

# The cause by which the server refuses to create anything in a namespace that is being deleted.
NAMESPACE_TERMINATING = "NamespaceTerminating"


class TransportError(Exception):
    """The server gave no answer. Base of what follows."""


class Unreachable(TransportError):
    """No connection came about, so nothing was sent and nothing has happened."""


class Interrupted(TransportError):
    """The connection broke or the deadline passed after the request was sent: it may or may not have happened."""


class Garbled(TransportError):
    """The server, or something in between, sent what isn't the API's form."""


# What a request can raise on purpose; for callers that treat all of it alike, by trying again later.
REQUEST_ERRORS = (StatusError, TransportError)


def is_reason(error: BaseException, *reasons: str) -> bool:
    """Whether the server refused for one of these reasons (`NotFound`, `Conflict`, `AlreadyExists`, …)."""
    return isinstance(error, StatusError) and error.reason in reasons


def has_cause(error: BaseException, reason: str) -> bool:
    """Whether the server names this among the causes of its refusal (`NamespaceTerminating`, …)."""
    return isinstance(error, StatusError) and any(cause.get("reason") == reason for cause in error.causes)
