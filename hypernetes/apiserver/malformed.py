"""Messages that are no HTTP: their sender's mistake, answered with 400, and no traceback in our log."""

import logging

import structlog
from aiohttp.http_exceptions import HttpProcessingError

log = structlog.get_logger()


class _SenderFault(logging.Filter):
    """Keeps what the HTTP library reports of its senders' mistakes to a line that is shown when debugging."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        log.debug("malformed request", error=type(error).__name__)
        return False


LOGGER = logging.getLogger("hypernetes.apiserver.http")  # for `aiohttp.web.Server`
LOGGER.addFilter(_SenderFault())
