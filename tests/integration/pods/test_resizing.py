"""Resources: given others while they run, and exceeded."""

from pathlib import Path
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


@shows("PodSpec.resources")
async def test_the_pods_own_limits_hold_for_all_of_its_containers_together(node: Node) -> None:
    limits = {"cpu": "600m", "memory": "130Mi"}
    # In one call of the kernel: who nears a limit step by step has its own program's pages taken away again and again.
    eats = scripted("sleep 2; dd if=/dev/zero of=/dev/null bs=150000000 count=1", name="eats")
    spec = pod_of(resources={"limits": limits, "requests": limits}, restartPolicy="Never")
    spec["containers"].append(eats)
    async with node.pod(spec) as pod:
        await pod.runs()
        assert int((await pod.sh("cat /proc/meminfo")).split()[1]) > 200_000, "the machine has no more than the limit"
        assert host_quota(pod) == 60_000
        # Its own group has no limit, and the machine has more memory than that.
        assert (await pod.sh("cat /sys/fs/cgroup/memory.max")).strip() == "max"
        await pod.until(lambda: pod.record("eats").ended is not None, "nothing stops it")
        assert pod.record("eats").ended.reason == "OOMKilled"  # type: ignore[union-attr]


async def test_a_container_that_uses_up_its_machine_by_default_is_told_which_field_to_set(node: Node) -> None:
    eats = scripted("awk 'BEGIN { all = sprintf(\"%1000000s\", 0); while (1) all = all all }'")
    async with node.pod(pod_of(eats, restartPolicy="Never")) as pod:
        await pod.until(lambda: pod.record().ended is not None, "it doesn't end")
        ended = pod.record().ended
        assert ended is not None
        assert ended.reason == "OOMKilled"
        assert "set resources.limits.memory of container main" in ended.message
        assert {"MachineSized", "OutOfMemory"} <= set(node.events.reasons)
        assert pod.condition("hypernetes.io/MachineSized") == "True"


def host_quota(pod: RunningPod) -> int:
    """Microseconds of each 100 ms that the host lets the machine have."""
    machine = pod.worker.machine
    assert machine is not None
    lines = [line.split(":", 2) for line in Path(f"/proc/{machine.pid}/cgroup").read_text().splitlines()]
    group = next(path for _, names, path in lines if "cpu" in names.split(",") or not names)
    root = Path("/sys/fs/cgroup")
    places = (root / "cpu" / group[1:] / "cpu.cfs_quota_us", root / group[1:] / "cpu.max")
    return int(next(place for place in places if place.exists()).read_text().split()[0])
