"""What the agent tells in the kubelet's shapes."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import reports
from hypernetes.nodeagent.containers import Phase
from hypernetes.nodeagent.node import MachineFacts
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.nodeagent.runtime.base import ContainerUsage

WEB = {"tenant": "acme", "namespace": "prod", "pod": "web"}
FACTS = MachineFacts(4, 8 << 30, 4 << 30, 1, 1, 1, 1, "", "", "", "")


def report() -> reports.PodReport:
    containers = [{"name": "main", "image": "i"}, {"name": "side", "image": "i"}, {"name": "late", "image": "i"}]
    metadata = {"name": "web", "namespace": "prod", "uid": "u1"}
    pod = Pod.from_dict({"metadata": metadata, "spec": {"containers": containers}})
    record = PodRecord.of(pod, "acme")
    record.boot_id = "b"
    for name in ("main", "side"):
        record.containers[name].phase, record.containers[name].attempt = Phase.RUNNING, 1
        record.containers[name].image_id = "i@sha256:1"
    # A guest may say anything: of a container that doesn't run, or that there is none of.
    counters = {
        "main.1": ContainerUsage(2.5, 100), "side.1": ContainerUsage(1.0, 50), "late.0": ContainerUsage(9.0, 9),
        'x"}\nevil 1': ContainerUsage(9.0, 9),
    }  # fmt: skip
    return reports.PodReport(pod, record, counters)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def of(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def test_resource_metrics_are_of_running_containers_their_pod_and_the_node() -> None:
    assert samples(reports.resource_metrics([report()], (99.5, 1000))) == {
        of("container_cpu_usage_seconds_total", **WEB, container="main"): 2.5,
        of("container_cpu_usage_seconds_total", **WEB, container="side"): 1.0,
        of("container_memory_working_set_bytes", **WEB, container="main"): 100,
        of("container_memory_working_set_bytes", **WEB, container="side"): 50,
        of("pod_cpu_usage_seconds_total", **WEB): 3.5,
        of("pod_memory_working_set_bytes", **WEB): 150,
        of("node_cpu_usage_seconds_total"): 99.5,
        of("node_memory_working_set_bytes"): 1000,
        of("resource_scrape_error"): 0,
    }


def test_a_node_that_cannot_be_measured_says_so() -> None:
    assert samples(reports.resource_metrics([], None)) == {of("resource_scrape_error"): 1}


def test_cadvisors_names_tell_the_image_too() -> None:
    found = samples(reports.cadvisor_metrics([report()], FACTS))
    labels = {**WEB, "container": "main", "id": "/u1/main.1", "image": "i@sha256:1"}
    assert found[of("container_cpu_usage_seconds_total", **labels)] == 2.5
    assert found[of("machine_cpu_cores")] == 4


def test_the_agents_own_metrics_count_what_it_looks_after() -> None:
    found = samples(reports.agent_metrics([report()], "n1"))
    assert found[of("kubelet_running_pods")] == 1
    assert found[of("kubelet_running_containers", container_state="running")] == 2
    assert found[of("kubelet_running_containers", container_state="created")] == 1
    assert found[of("kubelet_node_name", node="n1")] == 1


def test_a_summary_has_the_node_and_each_pod() -> None:
    containers = {"main": {"cpu": 5, "memory": 7}, "side": {"cpu": 1, "memory": 2}}
    pod = {"tenant": "acme", "namespace": "prod", "name": "web", "uid": "u1", "timestamp": "t", "window": 15}
    told: dict[str, Any] = {
        "node": {"cpu": 10, "memory": 20, "timestamp": "t", "window": 15}, "pods": [{**pod, "containers": containers}],
    }  # fmt: skip
    found = reports.summary(told, "n1")
    assert found["node"] == {
        "nodeName": "n1", "cpu": {"time": "t", "usageNanoCores": 10}, "memory": {"time": "t", "workingSetBytes": 20},
    }  # fmt: skip
    assert found["pods"][0]["podRef"] == {"tenant": "acme", "name": "web", "namespace": "prod", "uid": "u1"}
    assert found["pods"][0]["cpu"]["usageNanoCores"] == 6
    assert reports.summary({"node": None, "pods": []}, "n1") == {"node": {"nodeName": "n1"}, "pods": []}


def test_pods_are_listed_as_they_are() -> None:
    listed = reports.pod_list([report()])
    assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == ("PodList", ["web"])


def test_the_configuration_is_named_as_upstreams() -> None:
    assert reports.configuration("n1")["kubeletconfig"]["maxPods"] == 110
