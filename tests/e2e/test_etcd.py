"""A cluster whose store is a real etcd: the same life, and etcd may die under it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clusters import POD_SECONDS, REGISTRY, Cluster, eventually, free_port
from tests.integration.storage.etcd_process import EtcdProcess, running_etcd

TENANT = "acme"


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    directory = tmp_path / "etcd"
    directory.mkdir()
    with running_etcd(directory) as process:
        yield process


@pytest.fixture
def cluster(tmp_path: Path, etcd: EtcdProcess, registry: str) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "data", free_port(), etcd.location)
    yield cluster
    cluster.kill_everything()


@pytest.mark.vm
@pytest.mark.timeout(600)
def test_a_cluster_on_etcd_lives_through_its_death_and_continues_after_down(cluster: Cluster, etcd: EtcdProcess):
    cluster.up()
    cluster.create_tenant(TENANT)
    cluster.kubectl(TENANT, "run", "one", f"--image={REGISTRY}/busybox", "--", "sleep", "1d")
    cluster.kubectl(
        TENANT, "wait", "--for=condition=Ready", "pod/one", f"--timeout={POD_SECONDS}s", timeout=POD_SECONDS
    )
    machine = cluster.machine_pids()

    etcd.stop()
    refused = cluster.try_kubectl(TENANT, "create", "configmap", "early", "--from-literal=a=b")
    assert refused.returncode != 0
    assert "the store does not answer" in refused.stderr
    etcd.start()
    eventually(
        lambda: cluster.try_kubectl(TENANT, "create", "configmap", "late", "--from-literal=a=b").returncode == 0,
        within=60, why="no write is taken after etcd is back",
    )  # fmt: skip
    cluster.kubectl(TENANT, "run", "two", f"--image={REGISTRY}/busybox", "--", "sleep", "1d")
    cluster.kubectl(
        TENANT, "wait", "--for=condition=Ready", "pod/two", f"--timeout={POD_SECONDS}s", timeout=POD_SECONDS
    )
    assert machine.items() < cluster.machine_pids().items()

    cluster.down()
    assert cluster.host_traces() == []
    cluster.up()
    assert cluster.get(TENANT, "configmap", "late")["data"] == {"a": "b"}
