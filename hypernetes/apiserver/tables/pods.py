"""Cells of pods: what the status column says, and how often containers restarted.

The order of the rules is upstream's: the pod's own reason, then the first init container that isn't done, then the
containers from last to first, then deletion.
"""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of, since
from hypernetes.apiserver.tables.labels import NONE

Object = dict[str, Any]

_FINISHED = ("Succeeded", "Failed")


def pod(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    count = _Count(spec, status)
    reason = _deletion(obj, count.reason)
    restarts = str(count.restarts)
    if count.restarts and count.last_restart:
        restarts += f" ({since(count.last_restart, now)} ago)"
    addresses = status.get("podIPs") or ({"ip": status.get("podIP")},)
    return [
        obj["metadata"]["name"], f"{count.ready}/{count.total}", reason, restarts, age_of(obj, now),
        addresses[0].get("ip") or NONE, spec.get("nodeName") or NONE, status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, status),
    ]  # fmt: skip


def row_conditions(obj: Object) -> list[Object]:
    """Marks a finished pod's row."""
    phase = obj.get("status", {}).get("phase")
    return [{"type": "Completed", "status": "True", "reason": phase}] if phase in _FINISHED else []


class _Count:
    """What one walk over a pod's container statuses finds."""

    def __init__(self, spec: Object, status: Object) -> None:
        self._status = status
        self._sidecars = {
            container["name"]
            for container in spec.get("initContainers") or ()
            if container.get("restartPolicy") == "Always"
        }
        self._init_total = len(spec.get("initContainers") or ())
        self.total = len(spec.get("containers") or ()) + len(self._sidecars)
        self.ready = 0
        self.restarts = 0
        self.last_restart = ""  # RFC 3339, which sorts by time
        self.reason = self._of_pod()
        initializing = self._init_containers()
        if not initializing or self._condition("Initialized"):
            self._containers()

    def _of_pod(self) -> str:
        for condition in self._status.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
                return "SchedulingGated"
        return str(self._status.get("reason") or self._status.get("phase") or "")

    def _init_containers(self) -> bool:
        """True while an init container is not done; then the reason is about that one."""
        for index, container in enumerate(self._status.get("initContainerStatuses") or ()):
            self._add_restarts(container)
            state = container.get("state") or {}
            terminated = state.get("terminated")
            if terminated and not terminated.get("exitCode"):
                continue
            if container["name"] in self._sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            waiting = (state.get("waiting") or {}).get("reason")
            if terminated:
                self.reason = f"Init:{_exit(terminated)}"
            elif waiting and waiting != "PodInitializing":
                self.reason = f"Init:{waiting}"
            else:
                self.reason = f"Init:{index}/{self._init_total}"
            return True
        return False

    def _containers(self) -> None:
        self.restarts, self.last_restart = 0, ""  # of plain init containers they don't count once the pod runs
        for container in self._status.get("initContainerStatuses") or ():
            if container["name"] in self._sidecars:
                self._add_restarts(container)
        running = False
        for container in reversed(self._status.get("containerStatuses") or ()):
            self._add_restarts(container)
            state = container.get("state") or {}
            waiting, terminated = (state.get("waiting") or {}).get("reason"), state.get("terminated")
            if waiting:
                self.reason = waiting
            elif terminated:
                self.reason = _exit(terminated)
            elif container.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed" and running:
            self.reason = "Running" if self._condition("Ready") else "NotReady"

    def _add_restarts(self, container: Object) -> None:
        self.restarts += container.get("restartCount") or 0
        ended = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        self.last_restart = max(self.last_restart, ended or "")

    def _condition(self, kind: str) -> bool:
        return any(
            condition.get("type") == kind and condition.get("status") == "True"
            for condition in self._status.get("conditions") or ()
        )


def _exit(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _deletion(obj: Object, reason: str) -> str:
    if not obj["metadata"].get("deletionTimestamp"):
        return reason
    status = obj.get("status", {})
    if status.get("reason") == "NodeLost":
        return "Unknown"
    return reason if status.get("phase") in _FINISHED else "Terminating"


def _readiness_gates(spec: Object, status: Object) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return NONE
    true = {condition["type"] for condition in status.get("conditions") or () if condition.get("status") == "True"}
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}"
