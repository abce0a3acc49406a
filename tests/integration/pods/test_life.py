"""How a pod's containers begin, are watched, end, and begin again."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pods.nodes import Node, RunningPod, pod_of, scripted
from tests.podsupport.marks import shows

pytestmark = pytest.mark.vm

SERVE = "while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nok' | nc -l -p 8080 > /got; cp /got /last; done"
PORTS = [{"name": "web", "containerPort": 8080}]


def term(pod: RunningPod, name: str = "main", *, last: bool = False) -> tuple[int, str | None, str | None]:
    """(exit code, reason, message) of an end."""
    status = pod.container(name)
    state = status.last_state if last else status.state
    assert state is not None
    assert state.terminated is not None
    return state.terminated.exit_code, state.terminated.reason, state.terminated.message


def listening(script: str) -> dict[str, Any]:
    """A sidecar that listens before the main containers start."""
    heard = {"exec": {"command": ["sh", "-c", "grep -q :1F90 /proc/net/tcp /proc/net/tcp6"]}, "periodSeconds": 1}
    return scripted(script, name="server", restartPolicy="Always", startupProbe={**heard, "failureThreshold": 60})


@shows("PodSpec.initContainers", "Container.restartPolicy")
async def test_init_containers_come_first_and_sidecars_stay(node: Node) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    side = scripted("touch /v/side; sleep 1000", name="side", restartPolicy="Always", volumeMounts=mounts)
    init = scripted("until [ -e /v/side ]; do sleep 0.1; done; touch /v/init", name="init", volumeMounts=mounts)
    spec = pod_of({"volumeMounts": mounts}, initContainers=[side, init], volumes=[{"name": "v", "emptyDir": {}}])
    async with node.pod(spec) as pod:
        assert (await pod.sh("ls /v")).split() == ["init", "side"]
        await pod.ready()
        assert pod.container("side").ready


@shows("PodSpec.restartPolicy")
async def test_a_pod_that_never_restarts_ends_with_its_container(node: Node) -> None:
    async with node.pod({"restartPolicy": "Never", "containers": [scripted("exit 3")]}) as pod:
        assert await pod.ended() == "Failed"
        assert term(pod)[:2] == (3, "Error")


@shows(
    "Container.restartPolicyRules", "ContainerRestartRule.action", "ContainerRestartRule.exitCodes",
    "ContainerRestartRuleOnExitCodes.operator", "ContainerRestartRuleOnExitCodes.values",
)  # fmt: skip
async def test_a_container_restarts_by_its_own_rules(node: Node) -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    script = "[ -e /v/seen ] && exit 7; touch /v/seen; exit 42"
    main = scripted(script, restartPolicy="Never", restartPolicyRules=rules)
    main["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    spec = {"containers": [main], "restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}]}
    async with node.pod(spec) as pod:
        assert await pod.ended() == "Failed"
        assert (pod.container().restart_count, term(pod)[0], term(pod, last=True)[0]) == (1, 7, 42)


@shows("Container.terminationMessagePath")
async def test_a_container_leaves_a_message_as_it_ends(node: Node) -> None:
    main = scripted("echo farewell > /var/words; exit 2", terminationMessagePath="/var/words")
    main["securityContext"] = {"runAsUser": 1000, "readOnlyRootFilesystem": True}
    default = scripted("echo by default > /dev/termination-log; exit 1", name="other")
    async with node.pod({"restartPolicy": "Never", "containers": [main, default]}) as pod:
        await pod.ended()
        assert term(pod) == (2, "Error", "farewell\n")
        assert term(pod, "other") == (1, "Error", "by default\n")


@shows("Container.terminationMessagePolicy")
async def test_a_container_that_left_no_message_is_quoted(node: Node) -> None:
    main = scripted("echo last words; exit 2", terminationMessagePolicy="FallbackToLogsOnError")
    async with node.pod({"restartPolicy": "Never", "containers": [main]}) as pod:
        await pod.ended()
        assert term(pod) == (2, "Error", "last words\n")


@shows("PodSpec.activeDeadlineSeconds")
async def test_a_pod_ends_at_its_deadline(node: Node) -> None:
    async with node.pod(pod_of(activeDeadlineSeconds=1)) as pod:
        assert await pod.ended() == "Failed"
        assert pod.status.reason == "DeadlineExceeded"


@shows(
    "Container.lifecycle", "Lifecycle.postStart", "Lifecycle.preStop", "Lifecycle.stopSignal", "LifecycleHandler.exec",
    "ExecAction.command", "PodSpec.terminationGracePeriodSeconds",
)  # fmt: skip
async def test_hooks_run_and_the_signal_is_the_containers(node: Node) -> None:
    script = "trap 'echo usr1; sleep 2; echo slept; exit 0' USR1; while true; do sleep 0.1; done"
    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo begun > /proc/1/fd/1"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo ending > /proc/1/fd/1"]}},
        "stopSignal": "SIGUSR1",
    }
    spec = {"containers": [scripted(script, lifecycle=hooks)], "terminationGracePeriodSeconds": 60}
    async with node.pod(spec) as pod:
        await pod.said("begun")
        log = pod.worker.logs.path("main.0")
        pod.delete(pod.stored.spec.termination_grace_period_seconds or 1)
        text = await last_text(pod, log)
        for word in ("ending", "usr1", "slept"):
            assert word in text


async def last_text(pod: RunningPod, log: Path) -> str:
    """The log of a pod that is being deleted, before it goes with the pod."""
    text = ""
    deadline = time.monotonic() + pod.node.patience
    while pod.node.client.objects.get(("Pod", "acme", "web", pod.name)) is not None and time.monotonic() < deadline:
        if log.exists():
            text = log.read_text() or text
        await asyncio.sleep(0.01)
    return text


@shows("LifecycleHandler.sleep", "SleepAction.seconds")
async def test_a_hook_that_sleeps_holds_the_end_back(node: Node) -> None:
    # Its own process ends by itself after the hook's sleep has begun, and well before it is over.
    main = scripted("trap '' TERM; while true; do sleep 0.1; done", lifecycle={"preStop": {"sleep": {"seconds": 3}}})
    async with node.pod({"containers": [main], "terminationGracePeriodSeconds": 30}) as pod:
        await pod.runs()
        machine = pod.worker.machine
        assert machine is not None
        sent: list[tuple[float, int]] = []
        forward = machine.signal_container

        async def signalled(container_id: str, number: int) -> None:
            sent.append((time.monotonic(), number))
            await forward(container_id, signal.SIGKILL)

        machine.signal_container = signalled  # type: ignore[method-assign]
        begun = time.monotonic()
        pod.delete(30)
        await pod.until(lambda: sent, "no signal")
        assert sent[0][0] - begun >= 3


@shows(
    "LifecycleHandler.httpGet", "HTTPGetAction.path", "HTTPGetAction.port", "HTTPGetAction.httpHeaders",
    "HTTPHeader.name", "HTTPHeader.value", "Container.ports", "ContainerPort.name", "ContainerPort.containerPort",
)  # fmt: skip
async def test_a_hook_asks_by_http(node: Node) -> None:
    action = {"path": "/stop", "port": "web", "httpHeaders": [{"name": "X-Why", "value": "over"}]}
    asker = scripted("sleep 1000", name="asker", lifecycle={"postStart": {"httpGet": action}}, ports=PORTS)
    async with node.pod({"initContainers": [listening(SERVE)], "containers": [asker]}) as pod:

        async def asked() -> None:
            got = await pod.sh("cat /last", "server")
            assert got.startswith("GET /stop HTTP/1.1\r\n")
            assert "X-Why: over\r\n" in got

        await pod.until_not_failing(asked, "the hook did not ask")


@shows("LifecycleHandler.tcpSocket", "TCPSocketAction.port")
async def test_a_hook_connects(node: Node) -> None:
    server = listening("echo x | nc -l -p 8080; touch /connected; sleep 1000")
    asker = scripted("sleep 1000", name="asker", lifecycle={"postStart": {"tcpSocket": {"port": 8080}}})
    async with node.pod({"initContainers": [server], "containers": [asker]}) as pod:

        async def connected() -> None:
            await pod.sh("test -e /connected", "server")

        await pod.until_not_failing(connected, "the hook did not connect")


@shows(
    "Container.readinessProbe", "Probe.exec", "Probe.periodSeconds", "Probe.successThreshold",
    "Probe.initialDelaySeconds",
)  # fmt: skip
async def test_a_container_is_ready_when_its_probe_says_so_often_enough(node: Node) -> None:
    ask = "echo x >> /asked; [ -e /first ] || date +%s > /first; test -e /ready"
    probe = {
        "exec": {"command": ["sh", "-c", ask]}, "periodSeconds": 1, "successThreshold": 3, "initialDelaySeconds": 8,
    }  # fmt: skip
    async with node.pod(pod_of({"readinessProbe": probe})) as pod:
        await pod.runs()
        started = pod.worker.record.containers["main"].started_at
        assert started is not None

        async def asked(times: int) -> None:
            assert int(await pod.sh("cat /asked 2>/dev/null | wc -l")) >= times

        await pod.until_not_failing(lambda: asked(1), "it is never asked")
        assert int(await pod.sh("cat /first")) >= int(started) + 7
        begun = time.monotonic()
        await pod.until_not_failing(lambda: asked(5), "it is asked too seldom")
        assert time.monotonic() - begun < pod.node.patience / 2, "it is asked too seldom"
        assert pod.condition("Ready") == "False"
        await pod.sh("rm /asked; touch /ready")
        await pod.ready()
        assert int(await pod.sh("wc -l < /asked")) >= 3


@shows("Container.livenessProbe", "Probe.failureThreshold", "Probe.terminationGracePeriodSeconds")
async def test_a_container_that_isnt_alive_is_restarted_after_its_own_grace(node: Node) -> None:
    probe = {
        "exec": {"command": ["test", "!", "-e", "/v/dead"]}, "periodSeconds": 1, "failureThreshold": 1,
        "terminationGracePeriodSeconds": 1,
    }  # fmt: skip
    main = {
        "command": ["sh", "-c", "trap '' TERM; rm -f /v/dead; touch /begun; while true; do sleep 0.1; done"],
        "livenessProbe": probe,
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    spec = pod_of(main, volumes=[{"name": "v", "emptyDir": {}}], terminationGracePeriodSeconds=600)
    async with node.pod(spec) as pod:
        await pod.ready()
        await pod.sh("until [ -e /begun ]; do sleep 0.1; done; touch /v/dead")
        begun = time.monotonic()
        await pod.until(lambda: pod.container().restart_count == 1, "it is not restarted")
        failures = [message for reason, message in node.events.seen if reason == "Unhealthy"]
        assert len(failures) <= 1 + (time.monotonic() - begun > 10), failures


@shows("Container.startupProbe")
async def test_a_container_that_is_slow_to_start_is_given_its_time(node: Node) -> None:
    startup = {"exec": {"command": ["test", "-e", "/started"]}, "periodSeconds": 1, "failureThreshold": 100}
    liveness = {"exec": {"command": ["test", "-e", "/started"]}, "periodSeconds": 1, "failureThreshold": 1}
    main = {"startupProbe": startup, "livenessProbe": liveness}
    async with node.pod(pod_of(main)) as pod:
        await pod.until(lambda: sum(reason == "Unhealthy" for reason, _ in node.events.seen) >= 3, "it isn't asked")
        assert pod.container().restart_count == 0
        assert not pod.container().started
        await pod.sh("touch /started")
        await pod.ready()


@shows("Probe.httpGet", "HTTPGetAction.scheme", "HTTPGetAction.host", "Probe.tcpSocket", "TCPSocketAction.host")
async def test_probes_ask_by_http_and_tcp_where_they_are_told(node: Node) -> None:
    # On the loopback address only, which a probe reaches where its host says so.
    local = "mkdir /www; echo ok > /www/index.html; httpd -f -p 127.0.0.1:8080 -h /www"
    http = {"httpGet": {"port": 8080, "host": "127.0.0.1"}, "periodSeconds": 1, "failureThreshold": 100}
    tcp = {"tcpSocket": {"port": 8080, "host": "127.0.0.1"}, "periodSeconds": 1, "failureThreshold": 100}
    https = {"httpGet": {"port": 8080, "host": "127.0.0.1", "scheme": "HTTPS"}, "periodSeconds": 1}
    containers = [
        scripted(local, readinessProbe=http),
        scripted("sleep 1000", name="tcp", readinessProbe=tcp),
        scripted("sleep 1000", name="https", readinessProbe=https),
        scripted("sleep 1000", name="none", readinessProbe={**tcp, "tcpSocket": {"port": 9, "host": "127.0.0.1"}}),
    ]
    async with node.pod({"containers": containers}) as pod:
        await pod.until(lambda: pod.container().ready and pod.container("tcp").ready, "the probes don't get through")
        await pod.until(
            lambda: any("TLS" in message or "SSL" in message for _, message in node.events.seen), "no TLS was tried"
        )
        assert not pod.container("https").ready
        assert not pod.container("none").ready


@shows("Probe.timeoutSeconds")
async def test_a_probe_is_given_the_time_that_it_says(node: Node) -> None:
    probe = {"exec": {"command": ["sh", "-c", "sleep 4; true"]}, "timeoutSeconds": 100, "periodSeconds": 1}
    async with node.pod(pod_of({"readinessProbe": probe})) as pod:
        await pod.ready()


@shows("Probe.grpc", "GRPCAction.port", "GRPCAction.service")
async def test_a_probe_asks_by_grpc(node: Node) -> None:
    """What it sends is seen; what answers mean is unit-tested."""
    probe = {"grpc": {"port": 8080, "service": "shop.v1"}, "periodSeconds": 1, "timeoutSeconds": 5}
    server = scripted("while true; do nc -l -p 8080 > /got; cp /got /last; done", readinessProbe=probe)
    async with node.pod({"containers": [server]}) as pod:

        async def asked() -> None:
            got = await pod.sh("cat /last")
            assert got.startswith("PRI * HTTP/2.0")
            assert "shop.v1" in got

        await pod.until_not_failing(asked, "nothing was asked")


@shows("PodSpec.readinessGates", "PodReadinessGate.conditionType")
async def test_a_pod_isnt_ready_before_its_gates_are(node: Node) -> None:
    async with node.pod(pod_of(readinessGates=[{"conditionType": "shop/open"}])) as pod:
        await pod.until(lambda: pod.condition("ContainersReady") == "True", "its containers aren't ready")
        assert pod.condition("Ready") == "False"
        opened = {"type": "shop/open", "status": "True"}
        pod.change(lambda body: body["status"]["conditions"].append(opened))
        await pod.ready()


@shows("Container.resources", "ResourceRequirements.limits")
async def test_a_container_beyond_its_memory_is_killed_and_says_so(node: Node) -> None:
    main = scripted("dd if=/dev/zero of=/dev/null bs=48M count=1", resources={"limits": {"memory": "16Mi"}})
    async with node.pod({"restartPolicy": "Never", "containers": [main]}) as pod:
        await pod.ended()
        assert term(pod)[:2] == (137, "OOMKilled")
