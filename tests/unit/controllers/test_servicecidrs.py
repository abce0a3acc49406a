"""Ranges of services are told to be ready, and go once no service needs them."""

from typing import Any

import pytest

from hypernetes.controllers.servicecidrs import FINALIZER, GRACE_SECONDS, ServiceCIDRs
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.test_stories import delete

Json = dict[str, Any]


def made(name: str, *cidrs: str) -> Json:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name},
            "spec": {"cidrs": list(cidrs)}}  # fmt: skip


def address(ip: str, *, managed: bool = True) -> Json:
    labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"} if managed else {}
    parent = {"resource": "services", "namespace": "web", "name": "s"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": ip, "labels": labels},
            "spec": {"parentRef": parent}}  # fmt: skip


def ready(cluster: FakeCluster, name: str, tenant: str = "acme") -> tuple[str, str]:
    (condition,) = cluster.find("ServiceCIDR", name, tenant)["status"]["conditions"]
    assert condition["type"] == "Ready"
    return condition["status"], condition["reason"]


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
class TestStories:
    async def test_a_new_range_is_held_and_then_ready(self) -> None:
        async with Story(ServiceCIDRs).running() as cluster:
            await cluster.put(made("more", "10.100.0.0/24", "fd00::/112"))
            await settle()
            assert cluster.find("ServiceCIDR", "more")["metadata"]["finalizers"] == [FINALIZER]
            assert ready(cluster, "more") == ("True", "")

    async def test_a_range_waits_for_the_last_address_that_no_other_has(self) -> None:
        async with Story(ServiceCIDRs).running() as cluster:
            await cluster.put(made("more", "10.100.0.0/24"))
            await cluster.put(made("more", "10.0.0.0/8"), tenant="other")  # that of another tenant doesn't count
            await cluster.put(made("part", "10.100.0.0/28"))
            for ip in ("10.100.0.1", "10.100.0.200", "10.101.0.1"):
                await cluster.put(address(ip))
            await cluster.put(address("10.100.0.77", managed=False))
            await settle()
            await delete(cluster, "ServiceCIDR", "more")
            await settle(GRACE_SECONDS + 1)
            assert ready(cluster, "more") == ("False", "Terminating")
            await delete(cluster, "IPAddress", "10.100.0.200")
            await settle()
            assert cluster.names("ServiceCIDR") == ["part"]  # which has 10.100.0.1, too

    async def test_a_range_that_nobody_uses_stays_until_every_server_knows_that_it_ends(self) -> None:
        async with Story(ServiceCIDRs).running() as cluster:
            await cluster.put(made("more", "10.100.0.0/24"))
            await settle()
            await delete(cluster, "ServiceCIDR", "more")
            await settle(GRACE_SECONDS - 2)
            assert cluster.names("ServiceCIDR") == ["more"]
            await settle(4)
            assert cluster.names("ServiceCIDR") == []

    async def test_two_ranges_that_both_end_do_not_release_each_other(self) -> None:
        async with Story(ServiceCIDRs).running() as cluster:
            for name in ("a", "b"):
                await cluster.put(made(name, "10.100.0.0/24"))
            await cluster.put(address("10.100.0.9"))
            await settle()
            for name in ("a", "b"):
                await delete(cluster, "ServiceCIDR", name)
            await settle(GRACE_SECONDS + 1)
            assert cluster.names("ServiceCIDR") == ["a", "b"]
            await cluster.put(made("c", "10.100.0.0/25"))
            await settle()
            assert cluster.names("ServiceCIDR") == ["c"]
