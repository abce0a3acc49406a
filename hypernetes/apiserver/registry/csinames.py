"""Names of CSI drivers."""

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

_MAX_CHARACTERS = 63


def driver(name: str, path: str) -> Causes:
    if not name:
        return validation.required(path)
    causes = validation.too_long(path, _MAX_CHARACTERS) if len(name) > _MAX_CHARACTERS else []
    return causes + validation.dns_subdomain(name.lower(), path)
