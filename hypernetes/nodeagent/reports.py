"""What the kubelet's API tells of a node beside streams: pods, what they use, metrics, configuration. Pure.

Paths and shapes are upstream's (https://kubernetes.io/docs/reference/instrumentation/node-metrics/), so that what
scrapes kubelets scrapes hn-agent; each series and pod has its tenant beside its namespace, whose names tenants share.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import logs, node
from hypernetes.nodeagent.containers import Phase
from hypernetes.nodeagent.images import garbage
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.nodeagent.runtime.base import ContainerUsage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_POD_LABELS = ("tenant", "namespace", "pod")
_LABELS = (*_POD_LABELS, "container")
_CADVISOR_LABELS = (*_LABELS, "id", "image")


@dataclass(frozen=True, slots=True)
class PodReport:
    """One pod. `counters` are by the container's id in its machine, as the machine told last."""

    pod: Pod
    record: PodRecord
    counters: Mapping[str, ContainerUsage]

    def containers(self) -> Iterator[tuple[str, str, ContainerUsage]]:
        """(name, id, counters) of those that run."""
        for container in self.record.containers.values():
            if container.phase is Phase.RUNNING and container.id in self.counters:
                yield container.name, container.id, self.counters[container.id]

    @property
    def labels(self) -> list[str]:
        return [self.record.tenant, self.record.namespace, self.record.name]

    def image(self, name: str) -> str:
        return self.record.containers[name].image_id


def pod_list(reports: Iterable[PodReport]) -> dict[str, Any]:
    items = [{key: value for key, value in report.pod.to_dict().items() if key not in ("apiVersion", "kind")}
             for report in reports]  # fmt: skip
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}


def summary(told: Mapping[str, Any], node_name: str) -> dict[str, Any]:
    """Of what the sampler tells (stats/summary, v1alpha1)."""
    own = told["node"]
    return {
        "node": {"nodeName": node_name, **(_use(own, own["timestamp"]) if own else {})},
        "pods": [_pod_summary(pod) for pod in told["pods"]],
    }


def _pod_summary(pod: Mapping[str, Any]) -> dict[str, Any]:
    moment, containers = pod["timestamp"], pod["containers"]
    whole = {key: sum(each[key] for each in containers.values()) for key in ("cpu", "memory")}
    return {
        "podRef": {key: pod[key] for key in ("tenant", "name", "namespace", "uid")},
        "containers": [{"name": name, **_use(each, moment)} for name, each in containers.items()],
        **_use(whole, moment),
    }


def _use(amounts: Mapping[str, Any], moment: str) -> dict[str, Any]:
    return {
        "cpu": {"time": moment, "usageNanoCores": amounts["cpu"]},
        "memory": {"time": moment, "workingSetBytes": amounts["memory"]},
    }


def resource_metrics(reports: Sequence[PodReport], meter: tuple[float, int] | None) -> bytes:
    """/metrics/resource. `meter` is of the node itself: (seconds of CPU, bytes of memory)."""
    cpu = CounterMetricFamily(
        "container_cpu_usage_seconds", "CPU time that the container has used, in seconds", labels=_LABELS
    )
    memory = GaugeMetricFamily("container_memory_working_set_bytes", "Working set of the container", labels=_LABELS)
    pod_cpu = CounterMetricFamily("pod_cpu_usage_seconds", "CPU time that the pod has used", labels=_POD_LABELS)
    pod_memory = GaugeMetricFamily("pod_memory_working_set_bytes", "Working set of the pod", labels=_POD_LABELS)
    for report in reports:
        found = list(report.containers())
        for name, _, usage in found:
            cpu.add_metric([*report.labels, name], usage.cpu_seconds)
            memory.add_metric([*report.labels, name], usage.memory_bytes)
        if found:
            pod_cpu.add_metric(report.labels, sum(usage.cpu_seconds for _, _, usage in found))
            pod_memory.add_metric(report.labels, sum(usage.memory_bytes for _, _, usage in found))
    families: list[Metric] = [cpu, memory, pod_cpu, pod_memory]
    if meter is not None:
        families += [
            CounterMetricFamily("node_cpu_usage_seconds", "CPU time that the node has used", value=meter[0]),
            GaugeMetricFamily("node_memory_working_set_bytes", "Working set of the node", value=meter[1]),
        ]
    families.append(GaugeMetricFamily("resource_scrape_error", "1 if the node can't be measured", int(meter is None)))
    return _text(families)


def cadvisor_metrics(reports: Sequence[PodReport], facts: node.MachineFacts) -> bytes:
    """/metrics/cadvisor: the same numbers by the names and labels that dashboards know."""
    cpu = CounterMetricFamily(
        "container_cpu_usage_seconds", "CPU time that the container has used, in seconds", labels=_CADVISOR_LABELS
    )
    memory = GaugeMetricFamily(
        "container_memory_working_set_bytes", "Working set of the container", labels=_CADVISOR_LABELS
    )
    for report in reports:
        for name, id_, usage in report.containers():
            labels = [*report.labels, name, f"/{report.record.uid}/{id_}", report.image(name)]
            cpu.add_metric(labels, usage.cpu_seconds)
            memory.add_metric(labels, usage.memory_bytes)
    cores = GaugeMetricFamily("machine_cpu_cores", "Logical CPUs of the node", value=facts.cpus)
    whole = GaugeMetricFamily("machine_memory_bytes", "Memory of the node", value=facts.memory_bytes)
    return _text([cpu, memory, cores, whole])


def agent_metrics(reports: Sequence[PodReport], node_name: str) -> bytes:
    """/metrics: of hn-agent's own process, and how much it looks after."""
    pods = GaugeMetricFamily(
        "kubelet_running_pods", "Pods that have a machine", sum(bool(report.record.boot_id) for report in reports)
    )
    states = GaugeMetricFamily("kubelet_running_containers", "Containers by state", labels=["container_state"])
    phases = [record.phase for report in reports for record in report.record.containers.values()]
    for phase, state in ((Phase.WAITING, "created"), (Phase.RUNNING, "running"), (Phase.EXITED, "exited")):
        states.add_metric([state], phases.count(phase))
    name = GaugeMetricFamily("kubelet_node_name", "The node's name; the value is always 1", labels=["node"])
    name.add_metric([node_name], 1)
    return _text([pods, states, name]) + generate_latest(REGISTRY)


def configuration(node_name: str) -> dict[str, Any]:
    """/configz, by the names of upstream's KubeletConfiguration."""
    return {
        "kubeletconfig": {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "nodeName": node_name,
            "maxPods": node.MAX_PODS,
            "nodeStatusUpdateFrequency": f"{node.STATUS_SECONDS:g}s",
            "nodeLeaseDurationSeconds": node.LEASE_SECONDS,
            "containerLogMaxSize": f"{logs.MAX_FILE_BYTES >> 20}Mi",
            "containerLogMaxFiles": logs.MAX_FILES,
            "imageGCHighThresholdPercent": garbage.HIGH_PERCENT,
            "imageGCLowThresholdPercent": garbage.LOW_PERCENT,
            "imageMinimumGCAge": f"{garbage.MIN_AGE_SECONDS:g}s",
        }
    }


class _Families:
    """What prometheus_client takes for a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _text(families: Iterable[Metric]) -> bytes:
    return generate_latest(_Families(families))
