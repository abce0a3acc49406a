"""Tokens that another server knows: asked by a TokenReview, as upstream's webhook token authenticator does.

`--authentication-token-webhook-config-file` names a kubeconfig: its cluster is the server, its user is who asks. The
answer must say the tenant in `status.user.extra["hypernetes.io/tenant"]`; it can't be the provider's.
"""

import asyncio
import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import structlog
import yaml
from yarl import URL

from hypernetes import dialing
from hypernetes.api.tenancy import SYSTEM_TENANT, is_dns_label
from hypernetes.api.usernames import SYSTEM_PREFIX
from hypernetes.apiserver.authn.serviceaccounts import API_AUDIENCE
from hypernetes.providers.identity.base import (
    ConfigurationError,
    ExternalTenant,
    Identity,
    ProviderUnavailable,
    TenantReference,
)

TENANT_EXTRA = "hypernetes.io/tenant"
MAX_ANSWER_BYTES = 256 * 1024
_API_VERSION = "authentication.k8s.io/v1"
_REFUSALS = (400, 413, 422)  # of one token: no reason to leave the webhook alone
_MOST = 512  # groups, or keys of extra

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the other server is, and who we are there."""

    url: str
    context: ssl.SSLContext
    token: str = ""


class TokenWebhook:
    """An identity provider; it brings no tenants. `cache` is how long an answer counts."""

    name = "webhook"

    def __init__(self, path: Path, cache: timedelta) -> None:
        self._path, self.fresh_for, self.stale_for = path, cache, cache
        self._endpoint: Endpoint | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Raises ConfigurationError."""
        self._endpoint = await asyncio.to_thread(read, self._path)
        named = dialing.Policy(frozenset({dialing.place(URL(self._endpoint.url))}))
        self._session = dialing.session(named, "reviews tokens", ssl=self._endpoint.context)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def tenants(self) -> list[ExternalTenant]:
        return []

    async def tenant(self, id: str) -> ExternalTenant | None:
        return None

    def recognises(self, token: str) -> bool:
        return True

    async def identity_of(self, token: str) -> Identity | None:
        assert self._endpoint is not None
        assert self._session is not None
        review = {
            "apiVersion": _API_VERSION, "kind": "TokenReview", "metadata": {"creationTimestamp": None},
            "spec": {"token": token, "audiences": [API_AUDIENCE]},
        }  # fmt: skip
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._endpoint.token:
            headers["Authorization"] = f"Bearer {self._endpoint.token}"
        try:
            body = orjson.dumps(review)
        except TypeError:
            return None  # no text, so no token
        try:
            async with self._session.post(
                self._endpoint.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                answer = await _whole(response)
                if response.status in _REFUSALS:
                    return None
                if response.status not in (200, 201):
                    raise ProviderUnavailable(f"the webhook answers with {response.status}")
        except (aiohttp.ClientError, OSError) as error:
            raise ProviderUnavailable(f"the webhook doesn't answer: {type(error).__name__}") from error
        return identity(answer)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise ProviderUnavailable(f"the webhook answers with more than {MAX_ANSWER_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def identity(answer: bytes) -> Identity | None:
    """Who a TokenReview with its status says it is. Raises ProviderUnavailable for what is no TokenReview."""
    try:
        review = orjson.loads(answer)
        status = review["status"]
        if review["kind"] != "TokenReview" or not isinstance(status, dict):
            raise TypeError("it is no TokenReview with a status")
        if status.get("authenticated") is not True:
            return None
        meant = status.get("audiences")
        if meant and API_AUDIENCE not in meant:
            return None
        user = status["user"]
        name, uid = str(user["username"]), str(user.get("uid") or "")
        groups = tuple(map(str, user.get("groups") or ()))[:_MOST]
        extra = {
            str(key).lower(): tuple(map(str, values)) for key, values in list((user.get("extra") or {}).items())[:_MOST]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProviderUnavailable(f"the webhook's answer is none: {error!r}") from error
    tenants = extra.pop(TENANT_EXTRA, ())
    if len(tenants) != 1 or tenants[0] == SYSTEM_TENANT or not is_dns_label(tenants[0]):
        log.warning("the webhook knows a user whose tenant it doesn't say", user=name, tenants=tenants)
        return None
    if not name or name.startswith(SYSTEM_PREFIX):
        return None
    kept = tuple(group for group in groups if not group.startswith(SYSTEM_PREFIX))
    return Identity(name, TenantReference(tenants[0]), kept, uid, extra)


def read(path: Path) -> Endpoint:
    """The current context of a kubeconfig. Raises ConfigurationError."""
    try:
        document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        context = _named(document, "contexts", "context", document["current-context"])
        cluster = _named(document, "clusters", "cluster", context["cluster"])
        user = _named(document, "users", "user", context["user"]) if context.get("user") else {}
        url = str(cluster["server"])
        if not url.startswith("https://"):
            raise ValueError("its server must begin with https://")
        authority = _data(path, cluster, "certificate-authority")
        made = ssl.create_default_context(cadata=authority.decode() if authority else None)
        certificate, key = _data(path, user, "client-certificate"), _data(path, user, "client-key")
        if certificate and key:
            _show(made, certificate, key)
        token = str(user.get("token") or "")
        if user.get("tokenFile"):
            token = (path.parent / str(user["tokenFile"])).read_text().strip()
        return Endpoint(url, made, token)
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is no kubeconfig that can be used: {error}") from error


def _named(document: Any, plural: str, singular: str, name: str) -> Mapping[str, Any]:
    for entry in document[plural]:
        if entry["name"] == name:
            found: Mapping[str, Any] = entry[singular]
            return found
    raise ValueError(f"it has no {singular} {name!r}")


def _data(path: Path, entry: Mapping[str, Any], name: str) -> bytes:
    if entry.get(f"{name}-data"):
        try:
            return base64.b64decode(entry[f"{name}-data"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"its {name}-data is not base64") from error
    return (path.parent / str(entry[name])).read_bytes() if entry.get(name) else b""


def _show(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The ssl module takes a client's certificate from a file only; this one is readable by us alone, for a moment."""
    descriptor, name = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    finally:
        with suppress(OSError):
            os.unlink(name)
