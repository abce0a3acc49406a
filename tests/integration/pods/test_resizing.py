"""Resources: given others while they run, and exceeded."""

from typing import Any

import pytest

from tests.integration.pods.nodes import Node, RunningPod, pod_of, scripted
from tests.podsupport.marks import shows

pytestmark = pytest.mark.vm


def resized(pod: RunningPod, index: int = 0, **limits: str) -> None:
    def change(body: dict[str, Any]) -> None:
        body["spec"]["containers"][index]["resources"] = {"limits": limits, "requests": limits}

    pod.change(change)


@shows("Container.resources", "ResourceRequirements.limits")
async def test_limits_move_while_the_container_runs(node: Node) -> None:
    limits = {"cpu": "500m", "memory": "32Mi"}
    async with node.pod(pod_of({"resources": {"limits": limits, "requests": limits}})) as pod:
        read = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"
        assert (await pod.sh(read)).split() == [str(32 << 20), "50000", "100000"]
        resized(pod, cpu="700m", memory="48Mi")

        async def moved() -> None:
            assert (await pod.sh(read)).split() == [str(48 << 20), "70000", "100000"]

        await pod.until_not_failing(moved, "the limits stay")
        await pod.until(lambda: pod.container().allocated_resources == {"cpu": "700m", "memory": "48Mi"}, "no status")
        assert pod.container().restart_count == 0
        resized(pod, cpu="700m", memory="8Gi")
        await pod.until(lambda: pod.condition("PodResizePending") == "True", "it isn't said to be infeasible")
        assert (await pod.sh(read)).split()[0] == str(48 << 20)
        assert pod.container().resources.limits["memory"] == "48Mi"  # type: ignore[union-attr]
        resized(pod, cpu="700m", memory="40Mi")
        await pod.until(lambda: pod.condition("PodResizePending") is None, "it stays infeasible")


@shows("Container.resizePolicy", "ContainerResizePolicy.resourceName", "ContainerResizePolicy.restartPolicy")
async def test_a_container_that_wants_to_be_restarted_is(node: Node) -> None:
    limits = {"cpu": "500m", "memory": "32Mi"}
    policy = [
        {"resourceName": "cpu", "restartPolicy": "NotRequired"},
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    ]
    async with node.pod(pod_of({"resources": {"limits": limits, "requests": limits}, "resizePolicy": policy})) as pod:
        await pod.ready()
        resized(pod, cpu="700m", memory="32Mi")
        await pod.until(lambda: pod.container().allocated_resources.get("cpu") == "700m", "the CPU limit stays")
        assert pod.container().restart_count == 0
        resized(pod, cpu="700m", memory="48Mi")
        await pod.until(lambda: pod.container().restart_count == 1, "it isn't restarted")
        assert (await pod.sh("cat /sys/fs/cgroup/memory.max")).strip() == str(48 << 20)


@shows("EmptyDirVolumeSource.sizeLimit", "ResourceRequirements.limits")
async def test_a_pod_that_fills_more_of_its_disk_than_it_may_is_evicted(node: Node) -> None:
    fill = "dd if=/dev/zero of={}/big bs=1M count=4; sleep 1000"
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    spec = {"terminationGracePeriodSeconds": 1, "volumes": volumes}
    async with node.pod({**spec, "containers": [scripted(fill.format("/v"), volumeMounts=mounts)]}) as pod:
        assert await pod.ended() == "Failed"
        assert (pod.status.reason, pod.status.message) == (
            "Evicted",
            'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
        )
    limited = scripted(fill.format("/root"), resources={"limits": {"ephemeral-storage": "2Mi"}})
    limited["command"][2] = "mkdir -p /root; " + limited["command"][2]
    async with node.pod({**spec, "containers": [limited]}, name="layer") as pod:
        assert await pod.ended() == "Failed"
        assert pod.status.message == 'Container main exceeded its local ephemeral storage limit "2Mi". '
