"""The agent's own port: logs, exec, attach, connections to pods' ports, what pods use and metrics, for hn-apiserver
alone.

TLS asks for a certificate of the cluster's authority; here its name is looked at. What the caller may do was decided
by hn-apiserver.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Container
from hypernetes.api.status import StatusError
from hypernetes.client import Key
from hypernetes.nodeagent import channels, forwards, logs, node, reports
from hypernetes.nodeagent.agent import Agent
from hypernetes.nodeagent.containers import ContainerRecord, Phase, all_of
from hypernetes.nodeagent.podworker import PodWorker
from hypernetes.nodeagent.runtime.base import Machine, MachineError, Process
from hypernetes.nodeagent.usage import Sampler

log = structlog.get_logger()

# What hypernetes.pki writes into the certificate of the role apiserver-kubelet-client.
ALLOWED_USER = "system:hn-apiserver"
START_SECONDS = 30.0
HEARTBEAT_SECONDS = 30.0
_TARGET = "/{tenant}/{namespace}/{pod}/{container}"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AgentServer:
    """Routes and their handlers over the agent's workers."""

    def __init__(self, agent: Agent, sampler: Sampler, node_name: str) -> None:
        self._agent, self._sampler, self._node_name = agent, sampler, node_name

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_errors, _caller])
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/containerLogs" + _TARGET, self._logs)
        app.router.add_get("/exec" + _TARGET, self._exec)
        app.router.add_get("/attach" + _TARGET, self._attach)
        app.router.add_get("/stats/pods", self._stats)
        app.router.add_get("/pods", self._pods)
        app.router.add_get("/stats/summary", self._summary)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/metrics/resource", self._resource_metrics)
        app.router.add_get("/metrics/cadvisor", self._cadvisor_metrics)
        app.router.add_get("/configz", self._configuration)
        app.router.add_get("/forward/{tenant}/{namespace}/{pod}/{port}", self._forward)
        return app

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(self._sampler.told())

    def _reports(self) -> list[reports.PodReport]:
        return [
            reports.PodReport(worker.pod, worker.record, self._sampler.counters(worker.record.uid))
            for worker in self._agent.workers()
        ]

    async def _pods(self, request: web.Request) -> web.Response:
        return web.json_response(reports.pod_list(self._reports()))

    async def _summary(self, request: web.Request) -> web.Response:
        return web.json_response(reports.summary(self._sampler.told(), self._node_name))

    async def _metrics(self, request: web.Request) -> web.Response:
        return _exposed(reports.agent_metrics(self._reports(), self._node_name))

    async def _resource_metrics(self, request: web.Request) -> web.Response:
        return _exposed(reports.resource_metrics(self._reports(), self._sampler.metered()))

    async def _cadvisor_metrics(self, request: web.Request) -> web.Response:
        facts = await asyncio.to_thread(node.read_facts, Path("/"))
        return _exposed(reports.cadvisor_metrics(self._reports(), facts))

    async def _configuration(self, request: web.Request) -> web.Response:
        return web.json_response(reports.configuration(self._node_name))

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        worker, container, record = self._find(request)
        options = log_options(request)
        attempt = record.attempt - 1 if request.query.get("previous") == "true" else record.attempt
        if record.attempt < 0 and record.waiting_reason:
            reason = f"container {container.name!r} in pod {worker.record.name!r} is waiting to start: "
            raise StatusError("BadRequest", reason + (record.waiting_message or record.waiting_reason))
        where = f"container {container.name!r} in pod {worker.record.name!r}"
        if record.attempt < 0:
            raise StatusError("BadRequest", f"{where} is waiting to start: ContainerCreating")
        if attempt < 0:
            raise StatusError("BadRequest", f"previous terminated {where} not found")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        attempt_id = f"{container.name}.{attempt}"
        async for chunk in logs.stream(worker.logs, attempt_id, options, worker.running):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        worker, container, record = self._find(request)
        command = request.query.getall("command", [])
        if not command:
            raise StatusError("BadRequest", "you must specify at least 1 command for the container")
        machine = _running_machine(worker, container, record)
        wanted = _wanted(request, kill=True)
        return await self._stream(
            request, wanted, lambda: machine.exec(record.id, command, tty=wanted.tty, stdin=wanted.stdin)
        )

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        worker, container, record = self._find(request)
        machine = _running_machine(worker, container, record)
        asked = _wanted(request, kill=False)
        wanted = channels.Wanted(
            asked.stdin and bool(container.stdin), asked.stdout, asked.stderr, bool(container.tty), kill=False
        )
        return await self._stream(request, wanted, lambda: machine.attach(record.id))

    async def _stream(
        self, request: web.Request, wanted: channels.Wanted, begin: Callable[[], Awaitable[Process]]
    ) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=channels.PROTOCOLS, heartbeat=HEARTBEAT_SECONDS, max_msg_size=channels.MAX_MESSAGE_BYTES
        )
        if not socket.can_prepare(request).ok:
            raise StatusError("BadRequest", "Upgrade request required: streams are WebSockets")
        try:
            async with asyncio.timeout(START_SECONDS):
                process = await begin()
        except MachineError as error:
            raise StatusError("InternalError", error.message) from error
        except TimeoutError as error:
            raise StatusError("InternalError", "the pod's machine did not answer") from error
        await socket.prepare(request)
        await channels.serve(socket, process, wanted)
        await socket.close()
        return socket

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        """A connection to a port of the pod's own address, or of its loopback."""
        worker, port = self._worker(request), request.match_info["port"]
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise StatusError("BadRequest", f"{port[:64]!r} is no port")
        if worker.machine is None or worker.record.claim is None:
            raise StatusError("ServiceUnavailable", f"pod {worker.record.name!r} is not running")
        address = "127.0.0.1" if request.query.get("to") == "loopback" else worker.record.claim.address
        socket = web.WebSocketResponse(
            protocols=(forwards.PROTOCOL,), heartbeat=HEARTBEAT_SECONDS, max_msg_size=channels.MAX_MESSAGE_BYTES
        )
        if not socket.can_prepare(request).ok:
            raise StatusError("BadRequest", "Upgrade request required: connections are WebSockets")
        try:
            async with asyncio.timeout(START_SECONDS):
                stream = await worker.machine.forward(int(port), address)
        except MachineError as error:
            why = f"port {port} of pod {worker.record.name!r} can't be reached: {error.message}"
            raise StatusError("ServiceUnavailable", why) from error
        except TimeoutError as error:
            raise StatusError("ServiceUnavailable", "the pod's machine did not answer") from error
        await socket.prepare(request)
        await forwards.serve(socket, stream)
        return socket

    def _worker(self, request: web.Request) -> PodWorker:
        """The pod by names, and by UID where the caller says which: one that ends has a successor of its name."""
        parts = request.match_info
        worker = self._agent.worker(Key(parts["tenant"], parts["namespace"], parts["pod"]), request.query.get("uid"))
        if worker is None:
            raise StatusError("NotFound", f"pod {parts['pod']!r} is not on this node")
        return worker

    def _find(self, request: web.Request) -> tuple[PodWorker, Container, ContainerRecord]:
        parts, worker = request.match_info, self._worker(request)
        container = next((each for each in all_of(worker.pod) if each.name == parts["container"]), None)
        if container is None:
            raise StatusError("NotFound", f"container {parts['container']!r} is not in pod {parts['pod']!r}")
        return worker, container, worker.record.containers[container.name]


def _running_machine(worker: PodWorker, container: Container, record: ContainerRecord) -> Machine:
    if worker.machine is None or record.phase is not Phase.RUNNING:
        raise StatusError("BadRequest", f"container {container.name!r} of pod {worker.record.name!r} is not running")
    return worker.machine


def _wanted(request: web.Request, *, kill: bool) -> channels.Wanted:
    on = {name for name in ("stdin", "stdout", "stderr", "tty") if request.query.get(name) in ("true", "1")}
    return channels.Wanted("stdin" in on, "stdout" in on, "stderr" in on, "tty" in on, kill)


def log_options(request: web.Request) -> logs.LogOptions:
    """Raises StatusError for numbers that are none."""
    query = request.query

    def number(name: str) -> int | None:
        text = query.get(name)
        if text is None:
            return None
        if not text.isdecimal():
            raise StatusError("BadRequest", f"{name} must be a number, not {text!r}")
        return int(text)

    since: float | None = None
    if (seconds := number("sinceSeconds")) is not None:
        since = time.time() - seconds
    elif "sinceTime" in query:
        try:
            since = times.parse_time(query["sinceTime"]).timestamp()
        except ValueError as error:
            raise StatusError("BadRequest", f"sinceTime: {error}") from error
    return logs.LogOptions(
        tail=number("tailLines"),
        since=since,
        follow=query.get("follow") == "true",
        timestamps=query.get("timestamps") == "true",
        limit_bytes=number("limitBytes"),
    )


def _exposed(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": reports.CONTENT_TYPE})


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@web.middleware
async def _caller(request: web.Request, handler: Handler) -> web.StreamResponse:
    certificate = request.get_extra_info("peercert") or {}
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    if names != [ALLOWED_USER]:
        raise StatusError("Forbidden", "this port is for hn-apiserver only")
    return await handler(request)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except StatusError as error:
        return web.json_response(error.to_dict(), status=error.code)
    except (ConnectionError, web.HTTPException):
        raise
    except Exception:
        log.exception("server.request.failed", path=request.path)
        status = StatusError("InternalError", "hn-agent failed to answer; its log says why")
        return web.json_response(status.to_dict(), status=500)


MAX_LINE_BYTES = 64 * 1024  # an exec's command is in its URL; more than hn-apiserver takes, so that it refuses first


async def serve(
    agent: Agent, sampler: Sampler, context: ssl.SSLContext, host: str, port: int, node_name: str
) -> web.AppRunner:
    """Listens; the caller cleans the runner up. Raises OSError for a port that is taken."""
    runner = web.AppRunner(
        AgentServer(agent, sampler, node_name).application(),
        access_log=None,
        shutdown_timeout=2.0,
        max_line_size=MAX_LINE_BYTES,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner
