"""The HorizontalPodAutoscaler controller: reads scale and metrics, and carries out what decision.py decides."""

import asyncio
from collections.abc import Sequence

from hypernetes.api import selectors, times
from hypernetes.api.models.autoscaling_v2 import HorizontalPodAutoscaler
from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import REQUEST_ERRORS, Client, EventRecorder, Key
from hypernetes.controllers.autoscaling import decision, proposals, scales
from hypernetes.controllers.autoscaling.behavior import History, Recommendation, Told
from hypernetes.controllers.autoscaling.decision import ABLE, Decision, Verdict
from hypernetes.controllers.autoscaling.metricssource import ApiMetrics, MetricsSource, Scope
from hypernetes.controllers.autoscaling.replicacounts import Situation
from hypernetes.controllers.autoscaling.scales import NoScale, Scale
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, namespace_index

PERIOD_SECONDS = 15.0


class HorizontalPodAutoscalers(Controller):
    name = "horizontalpodautoscaler"
    workers = 32  # each waits for nodes' agents, or tenants' own servers, most of the time

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, source: MetricsSource | None = None
    ) -> None:
        super().__init__(client, informers, recorder)
        self._source = source or ApiMetrics(client)
        self._autoscalers = informers.of(HorizontalPodAutoscaler)
        self._pods = informers.of(Pod)
        self._histories: dict[Key, History] = {}
        self._selectors: dict[Key, str] = {}  # which pods each was last seen to be responsible for
        self._autoscalers.on_change(self._changed)

    def _changed(self, key: Key, old: HorizontalPodAutoscaler | None, new: HorizontalPodAutoscaler | None) -> None:
        """Not for our own writes of its status."""
        if old is None or new is None or old.metadata.generation != new.metadata.generation:
            self.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        hpa = self._autoscalers.get(key)
        if hpa is None or hpa.metadata.deletion_timestamp is not None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            return None
        try:
            scale = await scales.read(self.client, key, hpa.spec.scale_target_ref)
        except (NoScale, *REQUEST_ERRORS) as error:
            self._warn(hpa, Told("FailedGetScale", str(error)))
            told = Told("FailedGetScale", f"the HPA controller was unable to get the target's current scale: {error}")
            await self._tell(key, hpa, Decision(None, verdicts=[Verdict(ABLE, False, told)]), None)
            return PERIOD_SECONDS
        history = self._histories.setdefault(key, History([Recommendation(self._moment(), scale.replicas)]))
        decided = decision.without_metrics(hpa, scale.replicas) or await self._by_metrics(key, hpa, scale, history)
        for warning in decided.warnings:
            self._warn(hpa, warning)
        got = Told("SucceededGetScale", "the HPA controller was able to get the target's current scale")
        decided.verdicts.insert(0, Verdict(ABLE, True, got))  # what is decided later says more
        await self._carry_out(key, hpa, scale, decided, history)
        return PERIOD_SECONDS

    async def _by_metrics(self, key: Key, hpa: HorizontalPodAutoscaler, scale: Scale, history: History) -> Decision:
        if not scale.selector:
            return decision.refused(Told("InvalidSelector", "the HPA target's scale is missing a selector"))
        selects = selectors.all_of(selectors.parse_labels(scale.selector))
        everyone = self._pods.by_index("namespace", namespace_index(key.tenant, key.namespace))
        found = [pod for pod in everyone if selects(pod.metadata.labels)]
        self._selectors[key] = scale.selector
        if rivals := self._rivals(key, found):
            names = ", ".join(sorted(f"{rival.namespace}/{rival.name}" for rival in [key, *rivals]))
            message = f"pods by selector {scale.selector} are controlled by multiple HPAs: [{names}]"
            return decision.refused(Told("AmbiguousSelector", message))
        scope = Scope(key.tenant, key.namespace, scale.selector)
        readings = await asyncio.gather(*(proposals.read(self._source, scope, spec) for spec in hpa.spec.metrics))
        situation = Situation(scale.replicas, found, times.now(), decision.tolerance(hpa))
        return decision.decide(hpa, readings, situation, scale.observed, history, self._moment())

    def _rivals(self, key: Key, found: Sequence[Pod]) -> list[Key]:
        """Other HPAs that are responsible for one of these pods: two would pull at each other."""
        others = [
            (rival, selectors.all_of(selectors.parse_labels(text)))
            for rival, text in self._selectors.items()
            if rival != key and rival[:2] == key[:2]
        ]
        return [rival for rival, selects in others if any(selects(pod.metadata.labels) for pod in found)]

    async def _carry_out(
        self, key: Key, hpa: HorizontalPodAutoscaler, scale: Scale, decided: Decision, history: History
    ) -> None:
        wanted = scale.replicas if decided.replicas is None else decided.replicas
        if wanted == scale.replicas:
            await self._tell(key, hpa, decided, scale)
            return
        try:
            await scales.write(self.client, scale, wanted)
        except REQUEST_ERRORS as error:
            self._warn(hpa, Told("FailedRescale", f"New size: {wanted}; reason: {decided.reason}; error: {error}"))
            message = f"the HPA controller was unable to update the target scale: {error}"
            decided.verdicts.append(Verdict(ABLE, False, Told("FailedUpdateScale", message)))
            await self._tell(key, hpa, decided, scale, failed=True)
            return
        history.scaled(self._moment(), scale.replicas, wanted, hpa)
        self.recorder.event(
            hpa, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {decided.reason}", tenant=key.tenant
        )
        message = f"the HPA controller was able to update the target scale to {wanted}"
        decided.verdicts.append(Verdict(ABLE, True, Told("SucceededRescale", message)))
        await self._tell(key, hpa, decided, scale, rescaled=True)

    async def _tell(
        self,
        key: Key,
        hpa: HorizontalPodAutoscaler,
        decided: Decision,
        scale: Scale | None,
        *,
        rescaled: bool = False,
        failed: bool = False,
    ) -> None:
        desired = decided.replicas
        if desired is None or failed:
            desired = hpa.status.desired_replicas
        current, metrics = (None, None) if scale is None else (scale.replicas, decided.metrics)
        status = decision.status(hpa, decided.verdicts, current, desired, metrics, times.now(), rescaled=rescaled)
        if status != hpa.status:
            await self.client.update_status(hpa.model_copy(update={"status": status}), tenant=key.tenant)

    def _warn(self, hpa: HorizontalPodAutoscaler, told: Told) -> None:
        self.recorder.event(hpa, "Warning", told.reason, told.message)

    def _moment(self) -> float:
        return asyncio.get_running_loop().time()
