"""Services and DNS as pods meet them."""

import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.clusters import POD_SECONDS, Cluster, eventually
from tests.e2e.tenants import CLIENT_ADDRESS, SERVICE_ADDRESS, Tenant, container

RESTARTS = 10
REQUESTS = 24


@pytest.fixture(scope="module")
def initech(shared_cluster: Cluster) -> Iterator[Tenant]:
    """A tenant with a client and without the Service."""
    tenant = Tenant(shared_cluster, "initech", "")
    tenant.cluster.create_tenant(tenant.name)
    tenant.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}})
    with tenant.pod("client", containers=[container("sleep 100000")]):
        tenant.wait_phase("client", "Running")
        yield tenant


@pytest.mark.parametrize("host", ["web", "web.web", "web.web.svc", "web.web.svc.cluster.local", SERVICE_ADDRESS])
def test_a_service_answers_by_name_and_by_address_with_its_tenants_word(tenants: tuple[Tenant, ...], host: str):
    for tenant in tenants:
        assert f"word: {tenant.word}\n" in tenant.fetch(f"http://{host}/")


def test_both_tenants_have_the_same_addresses(acme: Tenant, globex: Tenant):
    for tenant in (acme, globex):
        (client,) = tenant.pods("client")
        assert client["status"]["podIP"] == CLIENT_ADDRESS
        assert tenant.get("service", "web")["spec"]["clusterIP"] == SERVICE_ADDRESS


def test_replicas_share_the_requests(acme: Tenant):
    pages = acme.sh(f"for n in $(seq {REQUESTS}); do timeout 15 wget -q -O - http://web/; done")
    served = re.findall(r"^host: (\S+)", pages, re.MULTILINE)
    assert len(served) == REQUESTS
    names = {pod["metadata"]["name"] for pod in acme.pods("web")}
    assert len(names) == 3
    assert set(served) == names
    assert max(served.count(name) for name in names) <= REQUESTS // 2


def test_an_address_without_a_service_answers_nothing(acme: Tenant, initech: Tenant):
    page = initech.sh(f"timeout 10 wget -q -O - http://{SERVICE_ADDRESS}/", pod="client")
    assert "word:" not in page
    assert "word:" not in initech.sh("timeout 10 wget -q -O - http://web.web.svc.cluster.local/", pod="client")
    assert acme.word in acme.fetch(f"http://{SERVICE_ADDRESS}/")


def test_a_pod_calls_itself_through_its_own_service_and_restarts(acme: Tenant):
    """It listens on 0.0.0.0:80 and is the only endpoint of a Service on port 80: the listener of the Service and the
    pod's own must not fight for the port, whichever starts first."""
    name, word = "narcissus", secrets.token_hex(6)
    script = f"""
        mkdir -p /www; echo {word} > /www/index.html
        httpd -f -p 0.0.0.0:80 -h /www &
        until wget -q -O - http://{name}/; do sleep 0.2; done
        exit 1
    """
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    }
    acme.create(service)

    def restarts() -> int:
        statuses = acme.get("pod", name)["status"].get("containerStatuses") or [{}]
        return int(statuses[0].get("restartCount", 0))

    try:
        with acme.pod(name, labels={"app": name}, containers=[container(script)]):
            eventually(
                lambda: restarts() >= RESTARTS,
                within=2 * POD_SECONDS,
                why=f"{name} to answer itself and restart",
            )
            log = acme.kubectl("logs", name, "--previous").splitlines()
            assert log[-1] == word
    finally:
        acme.kubectl("delete", "service", name)


def test_an_init_container_reaches_a_service(acme: Tenant):
    fetch = container("wget -q -O - http://web.web.svc.cluster.local/", name="fetch")
    pod = {"initContainers": [fetch], "containers": [container("echo ready")]}
    with acme.pod("early", restart_policy="Never", **pod):
        finished = acme.wait_phase("early", "Succeeded", "Failed")
        assert finished["status"]["phase"] == "Succeeded"
        assert f"word: {acme.word}\n" in acme.kubectl("logs", "early", "-c", "fetch")


def test_an_endpoint_that_goes_away_gets_no_more_requests(acme: Tenant):
    acme.kubectl("scale", "deployment", "web", "--replicas=2")
    try:
        (left) = eventually(
            lambda: names if len(names := {pod["metadata"]["name"] for pod in acme.pods("web")}) == 2 else None,
            within=POD_SECONDS,
            why="two replicas",
        )
        pages = acme.sh("for n in $(seq 8); do timeout 15 wget -q -O - http://web/; done")
        assert set(re.findall(r"^host: (\S+)", pages, re.MULTILINE)) == left
        assert len(re.findall(r"^word: ", pages, re.MULTILINE)) == 8
    finally:
        acme.kubectl("scale", "deployment", "web", "--replicas=3")
        acme.wait_available(within=POD_SECONDS)
