"""NetworkPolicies, from kubectl to what pods reach."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.clusters import eventually
from tests.e2e.tenants import Tenant

IN_FORCE_SECONDS = 20.0


@pytest.fixture
def policies(acme: Tenant) -> Iterator[Tenant]:
    yield acme
    acme.kubectl("delete", "networkpolicies", "--all")


def policy(name: str, selects: dict[str, str], **rules: Any) -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": selects}, **rules}
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip


def reached(tenant: Tenant, url: str) -> bool:
    return "word:" in tenant.fetch(url, seconds=3)


def becomes(tenant: Tenant, url: str, expected: bool) -> None:
    why = f"{tenant.name}'s client {'' if expected else 'not '}to reach {url}"
    eventually(lambda: reached(tenant, url) is expected, within=IN_FORCE_SECONDS, why=why)


def test_pods_are_reached_by_whom_policies_allow(policies: Tenant, globex: Tenant):
    acme = policies
    address = acme.pods("web")[0]["status"]["podIP"]
    direct, service = f"http://{address}:8080/", "http://web/"
    assert reached(acme, direct)
    acme.create(policy("closed", {"app": "web"}, ingress=[]))
    becomes(acme, direct, False)
    assert not reached(acme, service)
    # what goes over the guest link passes: probes keep the pods ready, exec and logs work
    acme.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=10s")
    assert acme.kubectl("exec", "deploy/web", "--", "echo", "inside") == "inside\n"
    assert reached(globex, service)  # another tenant's pods of the same names and addresses
    friends = [{"from": [{"podSelector": {"matchLabels": {"friend": "yes"}}}], "ports": [{"port": "http"}]}]
    acme.create(policy("friends", {"app": "web"}, ingress=friends))
    client = acme.pods("client")[0]["metadata"]["name"]
    acme.kubectl("label", "pod", client, "friend=yes")
    becomes(acme, direct, True)
    assert reached(acme, service)
    acme.kubectl("label", "pod", client, "friend-")
    becomes(acme, direct, False)
    acme.kubectl("delete", "networkpolicies", "--all")
    becomes(acme, direct, True)


def test_pods_reach_whom_policies_allow(policies: Tenant):
    acme = policies
    acme.create(policy("inward", {"app": "client"}, policyTypes=["Egress"]))
    becomes(acme, "http://web/", False)
    assert "10.254.0.100" in acme.sh("nslookup web.web.svc.cluster.local")  # names are asked over the guest link
    acme.create(policy("to-web", {"app": "client"}, policyTypes=["Egress"], egress=[
        {"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": "http"}]}]))  # fmt: skip
    becomes(acme, "http://web/", True)
