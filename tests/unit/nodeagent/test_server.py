"""Who may use the agent's port, over real TLS on the loopback."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hypernetes.nodeagent import server
from hypernetes.nodeagent.usage import Sampler
from hypernetes.pki.contexts import client_context, server_context
from hypernetes.pki.directory import PkiDirectory
from hypernetes.pki.roles import node_role


class NoPods:
    def workers(self) -> list[Any]:
        return []

    def worker(self, key: Any, uid: str | None = None) -> None:
        return None


@pytest.fixture
def pki(tmp_path: Path) -> PkiDirectory:
    made = PkiDirectory(tmp_path / "pki", "abcdef")
    made.ensure_authority(datetime.now(UTC))
    for role in (node_role("n1"), "apiserver-kubelet-client", "admin"):
        made.ensure(role, datetime.now(UTC), addresses=["127.0.0.1"])
    return made


async def status(pki: PkiDirectory, role: str | None, path: str = "containerLogs/acme/web/app/main") -> int:
    own = node_role("n1")
    context = server_context(pki.certificate(own), pki.key(own), pki.ca_certificate, require_client=True)
    agent: Any = NoPods()
    runner = await server.serve(agent, Sampler(list, None), context, "127.0.0.1", 0, "n1")
    try:
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/{path}"
        shown = (pki.certificate(role), pki.key(role)) if role else (None, None)
        async with aiohttp.ClientSession() as session, session.get(
            url, ssl=client_context(pki.ca_certificate, *shown), timeout=aiohttp.ClientTimeout(total=30)
        ) as response:  # fmt: skip
            return response.status
    finally:
        await runner.cleanup()


async def test_hn_apiserver_is_answered(pki: PkiDirectory) -> None:
    assert await status(pki, "apiserver-kubelet-client") == 404


PATHS = ("stats/pods", "stats/summary", "pods", "metrics", "metrics/resource", "metrics/cadvisor", "configz", "healthz")


@pytest.mark.parametrize("path", PATHS)
async def test_what_pods_use_is_told_to_hn_apiserver_alone(pki: PkiDirectory, path: str) -> None:
    assert await status(pki, "apiserver-kubelet-client", path) == 200
    assert await status(pki, node_role("n1"), path) == 403


async def test_another_certificate_of_the_cluster_is_forbidden(pki: PkiDirectory) -> None:
    assert await status(pki, "admin") == 403
    assert await status(pki, node_role("n1")) == 403


async def test_without_a_certificate_there_is_no_connection(pki: PkiDirectory) -> None:
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await status(pki, None)
