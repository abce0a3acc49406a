"""`hn login`: which tenant one's project is, and a context for it in the kubeconfig."""

import base64
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import TENANT_ANNOTATION
from hypernetes.cli.errors import CommandError
from hypernetes.cli.identity import credential, execcredential
from hypernetes.cli.identity.settings import Settings
from hypernetes.cli.layout import Layout
from hypernetes.client import Client, ClientConfig

_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_PATIENCE_SECONDS = 10.0  # a project that was made just now becomes a tenant within 5 s
_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    authority: bytes | None  # PEM; None: what the machine trusts


@dataclass(frozen=True, slots=True)
class Person:
    """Who the API server takes one for."""

    name: str
    tenant: str


def server(url: str | None, authority: Path | None, directory: Path) -> Server:
    """The API server to log in to: that of the cluster in `directory` if none is named. Raises CommandError."""
    try:
        pem = None if authority is None else authority.read_bytes()
        if url is not None:
            return Server(url.rstrip("/"), pem)
        layout = Layout.of(directory)
        cluster = layout.load()
        return Server(cluster.server, pem or layout.pki_directory(cluster).ca_certificate.read_bytes())
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}; say --server and --certificate-authority") from error
    except CommandError as error:
        raise CommandError(f"{error.message}; or say --server and --certificate-authority") from error


async def person(where: Server, token: str, sleep: Callable[[float], Any]) -> Person:
    """Raises CommandError, and what a client raises."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    until = time.monotonic() + _PATIENCE_SECONDS
    async with Client(ClientConfig(server=where.url, ca_pem=where.authority, token=token)) as client:
        while True:
            try:
                info = (await client.request("POST", _REVIEWS, json=review))["status"]["userInfo"]
                break
            except StatusError as error:
                if error.reason != "Unauthorized":
                    raise
                if time.monotonic() >= until:
                    raise CommandError(
                        "the API server doesn't know this token: is the project a tenant? It must have the tag, "
                        "or be of the domain, that the provider chose"
                    ) from error
                await sleep(_AGAIN_SECONDS)
    tenant = (info.get("extra") or {}).get(TENANT_ANNOTATION) or [""]
    if not tenant[0]:
        raise CommandError(f"{where.url} doesn't say of which tenant {info['username']} is")
    return Person(info["username"], tenant[0])


def entries(where: Server, who: Person, settings: Settings) -> dict[str, Any]:
    """The kubeconfig's parts, each named after the tenant."""
    cluster: dict[str, Any] = {"server": f"{where.url}/tenants/{who.tenant}"}
    if where.authority is not None:
        cluster["certificate-authority-data"] = base64.b64encode(where.authority).decode()
    user = f"{who.name.removeprefix('keystone:')}@{who.tenant}"
    # `hn credential` without the rest of `hn`, which takes longer to import than a cached token to find
    arguments = ["-m", credential.__name__, *(("--os-cloud", settings.cloud) if settings.cloud else ())]
    return {
        "clusters": {"name": who.tenant, "cluster": cluster},
        "users": {"name": user, "user": execcredential.user(sys.executable, arguments, settings.kept)},
        "contexts": {"name": who.tenant, "context": {"cluster": who.tenant, "user": user, "namespace": "default"}},
    }
