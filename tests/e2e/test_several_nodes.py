"""`hn up --nodes 2`: pods on different nodes of one machine have a real network between them, and leave nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clusters import POD_SECONDS, Cluster, eventually, free_port
from tests.e2e.tenants import Tenant, container

NODES = 2


@pytest.fixture
def cluster(tmp_path: Path, registry: str) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "data", free_port(), nodes=NODES)
    try:
        yield made
    finally:
        made.kill_everything()


def test_pods_on_different_nodes_reach_each_other_and_nothing_is_left(cluster: Cluster) -> None:
    cluster.up()
    tenant = Tenant(cluster, "acme", "word")
    cluster.create_tenant("acme")
    tenant.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}})
    nodes = [each["metadata"]["name"] for each in cluster.get("system", "nodes")["items"]]
    assert len(nodes) == NODES
    script = "while true; do echo reached | nc -l -p 8080; done"
    with (
        tenant.pod("one", nodeName=nodes[0], containers=[container(script)]),
        tenant.pod("two", nodeName=nodes[1], containers=[container(script)]),
    ):
        tenant.kubectl("wait", "--for=condition=Ready", "pod/one", "pod/two", f"--timeout={POD_SECONDS:.0f}s",
                       timeout=POD_SECONDS + 10)  # fmt: skip
        address = tenant.get("pod", "two")["status"]["podIP"]
        why = "each node to know of the other's pod"
        eventually(lambda: " 0% packet loss" in tenant.sh(f"ping -c 1 -W 2 {address}", pod="one"), within=30, why=why)
        assert tenant.sh(f"nc -w 5 {address} 8080 < /dev/null", pod="one") == "reached\n"
        link = tenant.sh("ip link show eth0", pod="one")
        assert "mtu 1450" in link  # it goes by VXLAN
        unreached = tenant.sh("ping -c 1 -W 2 198.18.0.1; ping -c 1 -W 2 100.64.0.1", pod="one")
        assert unreached.count("100% packet loss") == 2
    cluster.down()
    assert cluster.host_traces() == []
