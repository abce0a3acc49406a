"""Where events are sent, and as whom: the kubeconfig of `--audit-webhook-config-file`."""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class WebhookConfigError(ValueError):
    """The file isn't one; the text says why."""


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    url: str
    context: ssl.SSLContext | None  # None for http://
    headers: Mapping[str, str]


def load(path: Path) -> WebhookConfig:
    """Reads the current context's server and credentials. Raises WebhookConfigError, OSError."""
    try:
        document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        contexts = _by_name(document, "contexts", "context")
        current = document.get("current-context") or next(iter(contexts))
        context = contexts[current]
        cluster = _by_name(document, "clusters", "cluster")[context["cluster"]]
        user = _by_name(document, "users", "user").get(context.get("user") or "", {})
        url = str(cluster["server"])
        return WebhookConfig(
            url, _tls(cluster, user, path) if url.startswith("https://") else None, _headers(user, path)
        )
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration, ssl.SSLError, binascii.Error) as error:
        raise WebhookConfigError(f"{path} is no kubeconfig that names a server: {error!r}") from error


def _by_name(document: Any, plural: str, singular: str) -> dict[str, Any]:
    return {each["name"]: each.get(singular) or {} for each in document.get(plural) or ()}


def _tls(cluster: Any, user: Any, path: Path) -> ssl.SSLContext:
    authority = _pem(cluster, "certificate-authority", path)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _pem(user, "client-certificate", path), _pem(user, "client-key", path)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as file:  # ssl reads them from files only
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _pem(entry: Any, name: str, path: Path) -> bytes:
    if entry.get(f"{name}-data"):
        return base64.b64decode(entry[f"{name}-data"], validate=True)
    return (path.parent / entry[name]).read_bytes() if entry.get(name) else b""


def _headers(user: Any, path: Path) -> dict[str, str]:
    token = user.get("token") or ""
    if not token and user.get("tokenFile"):
        token = (path.parent / user["tokenFile"]).read_text().strip()
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user.get("username"):
        basic = base64.b64encode(f"{user['username']}:{user.get('password', '')}".encode()).decode()
        return {"Authorization": f"Basic {basic}"}
    return {}
