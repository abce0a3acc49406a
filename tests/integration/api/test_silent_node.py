"""A node that falls silent in the middle of a followed log: no packet says that it is gone."""

import asyncio
import os
import socket
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hypernetes.apiserver import dialer
from hypernetes.apiserver.dialer import Agent, Dialer
from hypernetes.pki.contexts import client_context, server_context
from hypernetes.pki.directory import PkiDirectory
from tests.integration.networks.namespaces import Namespace, main_thread_in

HERE, THERE = "192.0.2.1", "192.0.2.2"


async def test_a_followed_log_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dialer, "KEEPALIVE_IDLE_SECONDS", 1)
    monkeypatch.setattr(dialer, "KEEPALIVE_INTERVAL_SECONDS", 1)
    monkeypatch.setattr(dialer, "KEEPALIVE_PROBES", 2)
    pki = PkiDirectory(tmp_path / "pki", "abc123")
    now = datetime.now(UTC)
    pki.ensure_authority(now)
    pki.ensure("node-n1", now, addresses=[THERE])
    pki.ensure("apiserver-kubelet-client", now)
    context = server_context(pki.certificate("node-n1"), pki.key("node-n1"), pki.ca_certificate, require_client=True)
    role = "apiserver-kubelet-client"
    trust = client_context(pki.ca_certificate, pki.certificate(role), pki.key(role))

    async def agent(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        await asyncio.Event().wait()
        return response

    with closing(Namespace()) as here, closing(Namespace()) as there:
        here.command("ip link add here type veth peer name there")
        here.command(f"ip addr add {HERE}/24 dev here")
        here.command("ip link set here up")
        here.command(f"ip link set there netns /proc/{os.getpid()}/fd/{there.descriptor}")
        there.command(f"ip addr add {THERE}/24 dev there")
        there.command("ip link set there up")
        listener = there.run(lambda: socket.create_server((THERE, 0)))
        runner = web.ServerRunner(web.Server(agent), shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listener, ssl_context=context).start()
        try:
            with main_thread_in(here):
                async with Dialer(trust) as dialing:
                    where = Agent("n1", THERE, listener.getsockname()[1])
                    async with dialing.get(where, ["log"], [], silence_seconds=None) as answer, asyncio.timeout(30):
                        assert await answer.content.readany() == b"first\n"
                        there.command("ip link set there down")
                        with pytest.raises((aiohttp.ClientError, OSError)):
                            await answer.content.readany()
        finally:
            await runner.cleanup()
