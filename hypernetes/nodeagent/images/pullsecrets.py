"""imagePullSecrets: which credential a pod has for an image's registry."""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import orjson

from hypernetes.api.models.core_v1 import Secret
from hypernetes.nodeagent.images.references import DEFAULT_REGISTRY, Reference
from hypernetes.nodeagent.images.registry import Credential

_DOCKER_HUB = {DEFAULT_REGISTRY, "index.docker.io", "registry-1.docker.io"}


def credential(secrets: Iterable[Secret], reference: Reference) -> Credential | None:
    """The credential of the most specific entry that names the registry (and a prefix of the repository)."""
    best: tuple[int, Credential] | None = None
    for secret in secrets:
        for server, entry in _entries(secret):
            host, path = _server(server)
            if not _same_registry(host, reference.registry):
                continue
            if path and reference.repository != path and not reference.repository.startswith(path + "/"):
                continue
            found = _credential(entry)
            if found is not None and (best is None or len(path) > best[0]):
                best = (len(path), found)
    return best[1] if best else None


def _entries(secret: Secret) -> Iterable[tuple[str, dict[str, Any]]]:
    """Malformed secrets have none: the pull then fails for want of a credential, which says what to look at."""
    for key, path in ((".dockerconfigjson", ("auths",)), (".dockercfg", ())):
        if key not in secret.data:
            continue
        try:
            document: Any = orjson.loads(base64.b64decode(secret.data[key]))
        except (binascii.Error, ValueError):
            continue
        for part in path:
            document = document.get(part) if isinstance(document, dict) else None
        if isinstance(document, dict):
            yield from ((str(server), entry) for server, entry in document.items() if isinstance(entry, dict))


def _server(server: str) -> tuple[str, str]:
    """(host, path) of an entry's key, which may be a URL such as https://index.docker.io/v1/."""
    bare = server.partition("://")[2] or server
    host, _, path = bare.partition("/")
    path = path.strip("/")
    return host, "" if path in ("v1", "v2") else path


def _same_registry(host: str, registry: str) -> bool:
    return host == registry or (host in _DOCKER_HUB and registry in _DOCKER_HUB)


def _credential(entry: dict[str, Any]) -> Credential | None:
    username, password = entry.get("username"), entry.get("password")
    if isinstance(username, str) and isinstance(password, str) and username:
        return Credential(username, password)
    try:
        text = base64.b64decode(str(entry.get("auth") or "")).decode()
    except (binascii.Error, ValueError):
        return None
    username, colon, password = text.partition(":")
    return Credential(username, password) if colon and username else None
