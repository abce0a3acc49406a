"""Pods that are machines, on Neutron's networks: seen with kubectl."""

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.clusters import REGISTRY
from tests.e2e.conftest import registry as registry
from tests.openstack.foreign import PORT, WORD, ForeignMachine
from tests.openstack.octavias import Octavia
from tests.openstack.test_network_provider import KINDS, listed
from tests.openstack.vmclusters import VMCluster, vm_cluster

pytestmark = [pytest.mark.vm, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]
POD_SECONDS = 480  # machines without hardware virtualisation, on a busy machine
RESOURCES = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(
    octavia: Octavia, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[VMCluster]:
    directory = tmp_path_factory.mktemp("vm")
    balancers = f"octavia={octavia.provider_file(directory)}"
    async with vm_cluster(octavia.neutron, directory / "data", balancers) as made:
        yield made


class Customer:
    """A tenant's administrator at a shell."""

    def __init__(self, cluster: VMCluster, name: str, project: str) -> None:
        self.cluster, self.name, self.project = cluster, name, project

    async def kubectl(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        return await self.cluster.plane.kubectl(self.name, *arguments, stdin=stdin, fails=fails)

    async def apply(self, *objects: dict[str, Any]) -> None:
        await self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    async def sh(self, pod: str, script: str) -> str:
        return await self.kubectl("exec", "-i", pod, "--", "sh", stdin=f"({script}\n) 2>&1 || true\n")

    async def address(self, pod: str) -> str:
        return (await self.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}")).strip()

    async def wait_ready(self, *pods: str) -> None:
        end = time.monotonic() + POD_SECONDS
        while time.monotonic() < end:
            said = json.loads(await self.kubectl("get", "pods", *pods, "-o", "json"))
            items = said.get("items", [said])
            if all(_ready(each) for each in items):
                return
            await asyncio.sleep(1)
        raise AssertionError(await self.kubectl("get", "events") + await self.kubectl("get", "pods", "-o", "yaml"))

    async def eventually(self, look: Callable[[], Any], what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not await look():
            assert time.monotonic() < end, f"{what}: {await self.kubectl('get', 'events')}"
            await asyncio.sleep(0.5)


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def machine(name: str, node: str, image: str, *command: str, **labels: str) -> dict[str, Any]:
    container = {"name": "main", "image": f"{REGISTRY}/{image}", "resources": RESOURCES}
    if command:
        container["command"] = [*command]
    if image == "echo":
        container |= {"env": [{"name": "WORD", "value": name}], "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [container]},
    }  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def customers(cluster: VMCluster) -> tuple[Customer, Customer]:
    """Both with a web server on one node and a client on the other, at the same addresses."""
    made = tuple([Customer(cluster, name, await cluster.tenant(name)) for name in ("acme", "globex")])
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"clusterIP": "10.254.0.100", "selector": {"app": "web"},
                 "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }  # fmt: skip
    for each in made:
        server = machine(f"web-{each.name}", "host1", "echo", app="web")
        server["metadata"]["annotations"] = {"hypernetes.io/ip-address": "10.0.0.50"}
        client = machine("client", "host2", "busybox", "sleep", "1000000", app="client")
        await each.apply(service, server, client)
    for each in made:
        await each.wait_ready(f"web-{each.name}", "client")
    return made[0], made[1]


async def test_pods_meet_across_nodes_by_address_service_and_name_in_their_own_tenant(
    customers: tuple[Customer, Customer],
) -> None:
    for each in customers:
        assert await each.address(f"web-{each.name}") == "10.0.0.50"
        for url in ("http://10.0.0.50:8080/", "http://10.254.0.100/", "http://web/", "http://web.default.svc/"):
            # What goes between nodes first waits for the other's address.
            await each.eventually(partial(_answers, each, _fetching(url), f"word: web-{each.name}"), url)
    acme, globex = customers
    assert " 0% packet loss" in await acme.sh("client", "ping -c 2 -W 10 10.0.0.50")
    foreign = await globex.address("client")
    own = {await acme.address("client"), await acme.address("web-acme")}
    if foreign not in own:
        assert "100% packet loss" in await acme.sh("client", f"ping -c 2 -W 2 {foreign}")


async def test_a_network_policy_is_in_force_and_ends(customers: tuple[Customer, Customer]) -> None:
    acme, globex = customers
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}
    policy = {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "none"}, "spec": spec,
    }  # fmt: skip
    fetch = _fetching("http://10.0.0.50:8080/")
    await acme.apply(policy)
    await acme.eventually(lambda: _silent(acme, fetch), "the policy")
    assert "word: web-globex" in await globex.sh("client", fetch)
    spec["ingress"] = [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": "http"}]}]
    await acme.apply(policy)
    await acme.eventually(lambda: _answers(acme, fetch), "the policy that opens")
    assert "100% packet loss" in await acme.sh("client", "ping -c 1 -W 2 10.0.0.50")
    await acme.kubectl("delete", "networkpolicy", "none")
    await acme.eventually(lambda: _answers(acme, "ping -c 1 -W 2 10.0.0.50", " 0% packet loss"), "the end of it")


def _fetching(url: str) -> str:
    return f"timeout 5 wget -q -O - {url}"


async def _silent(customer: Customer, script: str) -> bool:
    return "word:" not in await customer.sh("client", script)


async def _answers(customer: Customer, script: str, wanted: str = "word:") -> bool:
    return wanted in await customer.sh("client", script)


def _says(cluster: VMCluster, address: str, word: str, port: int = 80) -> bool:
    """Whether a web server there says so to somebody outside."""

    def asked() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}:{port}/", timeout=2) as answer:
                return word in answer.read().decode()
        except OSError:
            return False

    return cluster.neutron.ovn.nodes[0].namespace.run(asked)


async def test_a_service_answers_outside_at_a_floating_ip_and_inside_at_its_vip_and_leaves_nothing(
    octavia: Octavia, cluster: VMCluster, customers: tuple[Customer, Customer]
) -> None:
    acme, globex = customers

    def there() -> dict[str, Any]:
        balancers = {f"loadbalancers/{each['id']}": each for each in octavia.load_balancers(acme.project)}
        return listed(cluster.neutron, acme.project, *KINDS, "floatingips") | balancers

    async def swept() -> bool:
        """Whether groups of former policies have gone."""
        groups = listed(cluster.neutron, acme.project, "security-groups").values()
        return {each["name"] for each in groups} <= {"default", "hypernetes-open"}

    await acme.eventually(swept, "groups of former policies to go")
    before = there()
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "public"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }  # fmt: skip
    await acme.apply(service)
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"

    async def answering() -> bool:
        address = (await acme.kubectl("get", "service", "public", "-o", path)).strip()
        return address.startswith("198.51.100.") and _says(cluster, address, "word: web-acme")

    await acme.eventually(answering, "the floating IP to answer")
    [balancer] = octavia.load_balancers(acme.project)
    vip = balancer["vip_address"]
    await acme.eventually(lambda: _answers(acme, _fetching(f"http://{vip}/"), "word: web-acme"), "the VIP to answer")
    assert "word:" not in await globex.sh("client", _fetching(f"http://{vip}/"))
    address = (await acme.kubectl("get", "service", "public", "-o", path)).strip()
    await acme.kubectl("delete", "service", "public", "--timeout=60s")
    after = there()
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set()
    assert not _says(cluster, address, "word:")


async def test_beside_what_others_have_a_pod_and_a_foreign_machine_meet_and_nothing_of_theirs_changes(
    cluster: VMCluster, tmp_path: Path
) -> None:
    """Network, router and security group are made by the `openstack` client, under names that ours would have."""
    neutron = cluster.neutron
    project = await cluster.tenant("beside")
    beside = Customer(cluster, "beside", project)

    def client(*words: str) -> str:
        return neutron.keystone.openstack(*words, "--project", project, "-f", "value", "-c", "id")

    network = client("network", "create", "hypernetes-default")
    subnet = client("subnet", "create", "default", "--network", network, "--subnet-range", "10.9.0.0/24")
    router = client("router", "create", "hypernetes-beside")
    neutron.keystone.openstack("router", "add", "subnet", router, subnet)
    group = client("security", "group", "create", "hypernetes-open")
    for protocol in ("icmp", "tcp"):
        rule = ("--remote-ip", "0.0.0.0/0", "--protocol", protocol)
        neutron.keystone.openstack("security", "group", "rule", "create", group, *rule)
    port = neutron.create(
        "port", network_id=network, project_id=project, name="pod", device_owner="compute:nova",
        security_groups=[group], **{"binding:host_id": "host2"},
    )  # fmt: skip
    theirs = {f"networks/{network}", f"subnets/{subnet}", f"routers/{router}", f"security-groups/{group}",
              f"ports/{port['id']}"}  # fmt: skip
    before = {name: each for name, each in listed(neutron, project).items() if name in theirs}
    assert before.keys() == theirs
    foreign = ForeignMachine(neutron, neutron.ovn.nodes[1], port, tmp_path, "10.9.0.77")
    try:
        meta, adopts = {"name": "shared"}, {"providerNetworkID": network}
        await beside.apply(
            {"apiVersion": "hypernetes.io/v1", "kind": "Network", "metadata": meta, "spec": adopts},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": meta, "spec": {"network": "shared"}},
        )  # fmt: skip
        pod = machine("meets", "host1", "busybox", "sleep", "1000000")
        pod["metadata"] |= {"namespace": "shared", "annotations": {"hypernetes.io/ip-address": "10.9.0.77"}}
        await beside.apply(pod)
        await beside.wait_ready("meets", "-n", "shared")

        async def met() -> bool:
            fetch = f"{_fetching(f'http://{foreign.address}:{PORT}/')} || true\n"
            said = await beside.kubectl("exec", "-i", "-n", "shared", "meets", "--", "sh", stdin=fetch)
            return WORD in said and foreign.reaches("10.9.0.77")

        await beside.eventually(met, "the two to meet")
        await beside.kubectl("delete", "pod", "meets", "-n", "shared", "--timeout=60s")
        await beside.kubectl("delete", "namespace", "shared", "--timeout=60s")
        await beside.kubectl("delete", "network", "shared", "--timeout=60s")
        assert {name: each for name, each in listed(neutron, project).items() if name in theirs} == before
    finally:
        foreign.close()


async def test_a_port_that_was_deleted_behind_our_back_is_made_anew_under_the_running_pod(
    cluster: VMCluster, customers: tuple[Customer, Customer]
) -> None:
    acme, _ = customers
    path = "{.status.binding.portID}"
    former = await acme.kubectl("get", "port", "default.10.0.0.50", "-o", f"jsonpath={path}")
    cluster.neutron.rest.delete(f"/ports/{former}")

    async def another() -> bool:
        return await acme.kubectl("get", "port", "default.10.0.0.50", "-o", f"jsonpath={path}") not in ("", former)

    await acme.eventually(another, "another port")
    await acme.eventually(lambda: _answers(acme, _fetching("http://web/")), "the pod to answer again")


async def test_a_host_that_neutron_does_not_know_is_told_to_the_pods_owner(
    cluster: VMCluster, customers: tuple[Customer, Customer]
) -> None:
    acme, _ = customers
    # The claim of a pod on a node that isn't there at all: what an agent would make.
    await acme.apply(machine("nowhere", "host99", "busybox", "sleep", "1000000"))
    uid = (await acme.kubectl("get", "pod", "nowhere", "-o", "jsonpath={.metadata.uid}")).strip()
    reference = {"kind": "Pod", "namespace": "default", "name": "nowhere", "uid": uid}
    port = {
        "apiVersion": "hypernetes.io/v1", "kind": "Port", "metadata": {"name": "default.10.0.0.77"},
        "spec": {"network": "default", "subnet": "default", "address": "10.0.0.77", "macAddress": "02:00:00:00:00:77",
                 "nodeName": "host99", "podRef": reference},
    }  # fmt: skip
    await cluster.client.request("POST", "/tenants/acme/apis/hypernetes.io/v1/ports", json=port)

    async def told() -> bool:
        said = await acme.kubectl(
            "get", "port", "default.10.0.0.77", "-o", "jsonpath={.status.reason} {.status.message}"
        )
        return said.startswith("BindingFailed") and "host99" in said

    await acme.eventually(told, "the port's status")
    await acme.kubectl("delete", "pod", "nowhere", "--force", "--grace-period=0")


async def test_what_is_deleted_leaves_nothing_in_neutron(
    cluster: VMCluster, customers: tuple[Customer, Customer]
) -> None:
    """The last test here: it takes the pods away."""
    _, globex = customers
    await globex.kubectl("delete", "pods", "--all", "--wait=true", "--timeout=100s")

    async def gone() -> bool:
        ports = listed(cluster.neutron, globex.project, "ports").values()
        return not any(each["device_owner"] == "compute:hypernetes" for each in ports)

    await globex.eventually(gone, "its ports to go")
    for node in cluster.neutron.ovn.nodes:
        taps = node.vsctl("--columns=name", "--format=csv", "--no-headings", "find", "Interface", 'type=""')
        owners = node.vsctl("--columns=external_ids", "find", "Interface", 'external_ids:hypernetes-cluster!=""')
        assert "globex" not in f"{taps}{owners}"
