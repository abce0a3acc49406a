"""Writes what was decided through the API: bindings, and why a pod has no node."""

from dataclasses import dataclass
from enum import Enum

import structlog

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.status import StatusError
from hypernetes.api.volumes.names import SELECTED_NODE
from hypernetes.client import REQUEST_ERRORS, Client, EventRecorder, Key, TransportError, Unreachable, is_reason
from hypernetes.scheduler.volumes import Choice

_DEADLINE_SECONDS = 15.0
_log = structlog.get_logger(__name__)


class Outcome(Enum):
    BOUND = "bound"
    OBSOLETE = "obsolete"  # gone, bound meanwhile or another pod by now: the informer tells what is true
    REFUSED = "refused"  # did not happen: try again
    UNKNOWN = "unknown"  # may have happened


@dataclass(frozen=True, slots=True)
class Decision:
    key: Key
    pod: Pod
    node: str
    choices: tuple[Choice, ...] = ()  # to be written before the pod can be bound
    victims: tuple[tuple[Key, Pod], ...] = ()  # to be ended before it can


class Binder:
    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client, self._recorder = client, recorder

    async def bind(self, decision: Decision) -> Outcome:
        key, pod = decision.key, decision.pod
        try:
            await self._client.bind(
                key.name, decision.node, namespace=key.namespace, tenant=key.tenant, uid=pod.metadata.uid,
                timeout=_DEADLINE_SECONDS,
            )  # fmt: skip
        except StatusError as error:
            obsolete = is_reason(error, "Conflict", "NotFound", "AlreadyExists", "Gone")
            _log.info("binding refused", pod=str(key), node=decision.node, error=str(error))
            return Outcome.OBSOLETE if obsolete else Outcome.REFUSED
        except TransportError as error:
            _log.warning("binding failed", pod=str(key), node=decision.node, error=str(error))
            return Outcome.REFUSED if isinstance(error, Unreachable) else Outcome.UNKNOWN
        message = f"Successfully assigned {key.namespace}/{key.name} to {decision.node}"
        self._recorder.event(pod, "Normal", "Scheduled", message, tenant=key.tenant)
        return Outcome.BOUND

    async def choose(self, decision: Decision) -> bool:
        """Writes where the pod's claims get their volumes; False where that has to be decided again."""
        tenant = decision.key.tenant
        try:
            for choice in decision.choices:
                if choice.volume is not None:
                    await self._client.update(choice.volume, tenant=tenant, timeout=_DEADLINE_SECONDS)
                else:
                    claim = choice.claim.model_copy(deep=True)
                    claim.metadata.annotations[SELECTED_NODE] = choice.node
                    await self._client.update(claim, tenant=tenant, timeout=_DEADLINE_SECONDS)
        except REQUEST_ERRORS as error:
            _log.info("volumes not chosen", pod=str(decision.key), node=decision.node, error=str(error))
            return False
        return True

    async def preempt(self, decision: Decision) -> bool:
        """Ends the victims, each with its grace period, and says for whom; False where one of them stays."""
        key, pod = decision.key, decision.pod
        ended = [await self._end(decision, victim, there) for victim, there in decision.victims]
        try:
            await self._client.patch(
                Pod, key.name, {"metadata": {"uid": pod.metadata.uid}, "status": {"nominatedNodeName": decision.node}},
                namespace=key.namespace, tenant=key.tenant, subresource="status", timeout=_DEADLINE_SECONDS,
            )  # fmt: skip
        except REQUEST_ERRORS as error:
            _log.info("nomination not written", pod=str(key), node=decision.node, error=str(error))
        return all(ended)

    async def _end(self, decision: Decision, victim: Key, there: Pod) -> bool:
        uid = there.metadata.uid
        by = f"{decision.key.namespace}/{decision.key.name}"
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": f"hn-scheduler: preempting to accommodate the pod {by}, which has a higher priority",
            "lastTransitionTime": times.format_time(times.now()),
        }  # fmt: skip
        try:
            await self._client.patch(
                Pod, victim.name, {"metadata": {"uid": uid}, "status": {"conditions": [condition]}},
                namespace=victim.namespace, tenant=victim.tenant, subresource="status", kind="strategic",
                timeout=_DEADLINE_SECONDS,
            )  # fmt: skip
            await self._client.delete(
                Pod, victim.name, namespace=victim.namespace, tenant=victim.tenant, uid=uid, timeout=_DEADLINE_SECONDS
            )
        except REQUEST_ERRORS as error:
            if is_reason(error, "NotFound", "Conflict"):
                return is_reason(error, "NotFound")
            _log.warning("pod not preempted", pod=str(victim), by=str(decision.key), error=str(error))
            return False
        message = f"Preempted by pod {by} on node {decision.node}"
        self._recorder.event(there, "Normal", "Preempted", message, tenant=victim.tenant)
        return True

    async def explain(self, key: Key, pod: Pod, message: str) -> bool:
        """Says on the pod why it has no node; False if that has to be said again later."""
        self._recorder.event(pod, "Warning", "FailedScheduling", message, tenant=key.tenant)
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": _transition_time(pod),
        }
        try:
            await self._client.patch(
                Pod, key.name, {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}},
                namespace=key.namespace, tenant=key.tenant, subresource="status", kind="strategic",
                timeout=_DEADLINE_SECONDS,
            )  # fmt: skip
        except StatusError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                _log.warning("pod status not written", pod=str(key), error=str(error))
                return False
        except TransportError as error:
            _log.warning("pod status not written", pod=str(key), error=str(error))
            return False
        return True


def explained(pod: Pod) -> str | None:
    """The reason that the pod's status gives for having no node; None if it gives none."""
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return condition.message or ""
    return None


def _transition_time(pod: Pod) -> str:
    """When the condition became False: now, or when it did before."""
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False" and condition.last_transition_time:
            return condition.last_transition_time
    return times.format_time(times.now())
