"""Containers are given what their tenant's podDefaults say."""

import pytest

from hypernetes.apiserver.admission import poddefaults
from tests.unit.apiserver.admission.requests import admitted, asking, made, pod

TENANT = made(
    "Tenant", "acme", "hypernetes.io/v1", spec={"podDefaults": {"cpu": "250m", "memory": "256Mi"}},
    metadata={"tenant": "system"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        ({}, {"cpu": "250m", "memory": "256Mi"}),
        ({"limits": {"memory": "1Gi"}}, {"cpu": "250m"}),
        ({"requests": {"cpu": "1"}}, {"cpu": "1", "memory": "256Mi"}),
        ({"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}, {"cpu": "1"}),
    ],
)
def test_only_what_a_container_says_nothing_of(given, requests):
    containers = [{"name": "c", "image": "x", "resources": given}]
    spec = admitted(asking(pod(containers=containers), TENANT), poddefaults.PLUGIN)["spec"]
    assert spec["containers"][0]["resources"]["requests"] == requests
    assert spec["containers"][0]["resources"].get("limits") == given.get("limits")


def test_a_tenant_without_them_changes_nothing():
    other = made("Tenant", "acme", "hypernetes.io/v1", spec={}, metadata={"tenant": "system"})
    assert admitted(asking(pod(), other), poddefaults.PLUGIN) == pod()
