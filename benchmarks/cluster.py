"""How long a person waits: from `hn up` to the node, to the examples' pods, and from `kubectl run` to a running pod.

python -m benchmarks.cluster [--json FILE] [--pods N]

Guest and demo images must be built (`make guest images`). The cluster is made in a directory of its own and taken down.
"""

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import click

from benchmarks.report import Figure, report
from tests.e2e.clusters import REGISTRY, Cluster, eventually, free_port
from tests.e2e.tenants import NAMESPACE, Tenant

READY_GOAL_SECONDS = 30.0
EXAMPLES_GOAL_SECONDS = 60.0
POD_GOAL_SECONDS = 4.0
SETTLE_SECONDS = 10.0  # between pods: the node's other work is not what is measured


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--pods", default=5, show_default=True)
def main(path: Path | None, pods: int) -> None:
    with tempfile.TemporaryDirectory(prefix="hypernetes-benchmark-") as directory:
        cluster = Cluster(Path(directory) / "data", free_port())
        try:
            figures = _bring_up(cluster)
            tenant = Tenant(cluster, "acme", "benchmark")
            starts = [_start_pod(tenant, number) for number in range(pods)]
        finally:
            cluster.kill_everything()
    figures += [
        Figure("kubectl run to Running, median", statistics.median(starts), "s", POD_GOAL_SECONDS, True),
        Figure("kubectl run to Running, worst", max(starts), "s", None, True),
    ]
    report(figures, path)


def _bring_up(cluster: Cluster) -> list[Figure]:
    began = time.monotonic()
    cluster.up()
    ready = time.monotonic() - began
    tenants = [Tenant(cluster, name, name) for name in ("acme", "globex")]
    for tenant in tenants:
        tenant.deploy_examples()
    eventually(lambda: all(_all_running(tenant) for tenant in tenants), within=600, why="the examples to run")
    running = time.monotonic() - began
    return [
        Figure("hn up to node Ready", ready, "s", READY_GOAL_SECONDS, True),
        Figure("hn up to all example pods Running (8 VMs)", running, "s", EXAMPLES_GOAL_SECONDS, True),
    ]


def _all_running(tenant: Tenant) -> bool:
    pods = tenant.get("pods")["items"]
    return len(pods) == 4 and all(pod["status"].get("phase") == "Running" for pod in pods)


def _start_pod(tenant: Tenant, number: int) -> float:
    """Seconds from the start of `kubectl run` until a watch tells that the pod is Running."""
    time.sleep(SETTLE_SECONDS)
    name = f"pod-{number}"
    arguments = (
        "--namespace",
        NAMESPACE,
        "get",
        "pods",
        "--watch",
        "--output=json",
        f"--field-selector=metadata.name={name}",
    )
    with subprocess.Popen(
        tenant.cluster.kubectl_argv(tenant.name, *arguments), stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        began = time.monotonic()
        tenant.kubectl("run", name, f"--image={REGISTRY}/busybox", "--restart=Never", "--", "sleep", "3600")
        decoder, text = json.JSONDecoder(), ""
        while True:
            text = (text + watch.stdout.readline()).lstrip()
            try:
                pod, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                continue
            text = text[end:]
            if pod["status"].get("phase") == "Running":
                took = time.monotonic() - began
                break
        watch.terminate()
    tenant.kubectl("delete", "pod", name, "--grace-period=1")
    return took


if __name__ == "__main__":
    main()
