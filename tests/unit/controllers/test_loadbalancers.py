"""Services of type LoadBalancer, with a provider that only notes what it is asked."""

from typing import Any

import pytest

from hypernetes.controllers.loadbalancers import FINALIZER, LoadBalancers
from hypernetes.providers.fencing import Fenced
from hypernetes.providers.loadbalancer.base import Listener, LoadBalancerError, LoadBalancerSpec, Member, Pending
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.test_stories import delete, thing

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]


class FakeBalancers:
    name = "octavia"

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.made: dict[str, LoadBalancerSpec] = {}
        self.calls = 0

    async def ensure(self, wanted: LoadBalancerSpec) -> str:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.made[wanted.uid] = wanted
        return "198.51.100.7"

    async def delete(self, project: str, uid: str) -> None:
        if self.error is not None:
            raise self.error
        self.made.pop(uid, None)

    async def close(self) -> None: ...


def story(provider: FakeBalancers) -> Story:
    return Story(lambda *shared: LoadBalancers(*shared, provider))


async def tenant(cluster: FakeCluster, **spec: Any) -> None:
    identity = {"identity": {"keystone": {"projectID": "p"}}}
    await cluster.put(thing("Tenant", "acme", "hypernetes.io/v1", None, spec=spec or identity), "system")
    await cluster.put(thing("Namespace", "prod", "v1", None))
    network = thing("Network", "default", "hypernetes.io/v1", None)
    network["status"] = {"phase": "Active", "providerNetworkID": "n"}
    await cluster.put(network, "acme")


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return thing("Service", "web", spec={"type": "LoadBalancer", "ports": ports, **spec})


def endpoints(*ready: str, ending: tuple[str, ...] = ()) -> dict[str, Any]:
    entries = [{"addresses": [each], "conditions": {"ready": True}} for each in ready]
    gone = {"ready": False, "serving": True, "terminating": True}
    entries += [{"addresses": [each], "conditions": gone} for each in ending]
    return thing(
        "EndpointSlice", "web-1", "discovery.k8s.io/v1", metadata={"labels": {"kubernetes.io/service-name": "web"}},
        addressType="IPv4", ports=[{"name": "http", "port": 8080, "protocol": "TCP"}], endpoints=entries,
    )  # fmt: skip


def balanced(*addresses: str) -> tuple[Listener, ...]:
    return (Listener("TCP", 80, frozenset(Member(each, 8080) for each in addresses)),)


async def test_a_service_gets_its_address_follows_its_pods_and_goes_after_its_load_balancer() -> None:
    provider = FakeBalancers()
    async with story(provider).running() as cluster:
        await tenant(cluster)
        await cluster.put(endpoints("10.0.0.5", ending=("10.0.0.6",)))
        await cluster.put(service())
        await settle()
        found = cluster.find("Service", "web")
        assert found["status"]["loadBalancer"] == {"ingress": [{"ip": "198.51.100.7"}]}
        assert found["metadata"]["finalizers"] == [FINALIZER]
        [made] = provider.made.values()
        assert (made.project, made.network_id, made.name) == ("p", "n", "prod/web")
        assert made.listeners == balanced("10.0.0.5")
        calls = provider.calls
        await cluster.change("EndpointSlice", "web-1", endpoints=endpoints(ending=("10.0.0.6",))["endpoints"])
        await settle()
        assert provider.made[made.uid].listeners == balanced("10.0.0.6")
        assert provider.calls == calls + 1
        provider.error = LoadBalancerError("Unavailable", "503")
        await delete(cluster, "Service", "web")
        await settle(10)
        assert cluster.names("Service") == ["web"]
        provider.error = None
        await settle(90)
        assert cluster.names("Service") == []
        assert provider.made == {}


async def test_what_fails_is_told_by_an_event_and_tried_again() -> None:
    provider = FakeBalancers()
    provider.error = LoadBalancerError("QuotaExceeded", "raise the quota")
    async with story(provider).running() as cluster:
        await tenant(cluster)
        await cluster.put(service())
        await settle()
        told = [each for each in cluster.all("Event") if each["reason"] == "SyncLoadBalancerFailed"]
        assert "QuotaExceeded: raise the quota" in told[0]["message"]
        provider.error = None
        await settle(90)
        assert cluster.find("Service", "web")["status"]["loadBalancer"]["ingress"] == [{"ip": "198.51.100.7"}]


async def test_a_service_that_is_no_longer_balanced_gives_its_address_back() -> None:
    provider = FakeBalancers()
    async with story(provider).running() as cluster:
        await tenant(cluster)
        await cluster.put(service())
        await settle()
        await cluster.change("Service", "web", spec={**service()["spec"], "type": "ClusterIP"})
        await settle()
        found = cluster.find("Service", "web")
        assert provider.made == {}
        assert not found["metadata"].get("finalizers")
        assert not found["status"]["loadBalancer"].get("ingress")


async def test_others_services_are_left_alone() -> None:
    provider = FakeBalancers()
    async with story(provider).running() as cluster:
        await tenant(cluster)
        await cluster.put(service(loadBalancerClass="example.com/other"))
        await settle()
        assert provider.calls == 0
        assert not cluster.find("Service", "web")["metadata"].get("finalizers")


async def test_a_tenant_that_is_no_project_is_told() -> None:
    provider = FakeBalancers()
    async with story(provider).running() as cluster:
        await tenant(cluster, displayName="Acme")
        await cluster.put(service())
        await settle()
        assert any("NoProject" in each["message"] for each in cluster.all("Event"))


async def test_what_is_pending_is_asked_for_soon_and_told_only_after_minutes() -> None:
    provider = FakeBalancers()
    provider.error = Pending("Octavia is at it")
    async with story(provider).running() as cluster:
        await tenant(cluster)
        await cluster.put(service())
        await settle(3)
        assert provider.calls >= 3
        await settle(60)
        assert not any(each["reason"] == "SyncLoadBalancerFailed" for each in cluster.all("Event"))
        calls = provider.calls
        await settle(90)
        assert provider.calls < calls + 15
        assert any("for over 12" in each["message"] for each in cluster.all("Event"))
        provider.error = None
        await settle(90)
        assert cluster.find("Service", "web")["status"]["loadBalancer"]["ingress"] == [{"ip": "198.51.100.7"}]


async def test_a_provider_is_told_which_address_clients_know() -> None:
    provider = FakeBalancers()
    async with story(provider).running() as cluster:
        await tenant(cluster)
        await cluster.put(service())
        await settle()
        [made] = provider.made.values()
        assert made.published == ""
        await cluster.put(endpoints("10.0.0.5"))
        await settle()
        assert provider.made[made.uid].published == "198.51.100.7"


async def test_who_was_fenced_tells_nobody_and_goes_on_when_it_may() -> None:
    provider = FakeBalancers()
    provider.error = Fenced("another process")
    async with story(provider).running() as cluster:
        await tenant(cluster)
        await cluster.put(service())
        await settle()
        assert not any(each["type"] == "Warning" for each in cluster.all("Event"))
        provider.error = None
        await settle(90)
        assert cluster.find("Service", "web")["status"]["loadBalancer"]["ingress"] == [{"ip": "198.51.100.7"}]


async def test_the_originals_type_has_one_for_its_external_address_only() -> None:
    provider = FakeBalancers()
    async with story(provider).running() as cluster:
        await tenant(cluster)
        await cluster.put(service(type="NetworkProvider"))
        await settle()
        assert provider.calls == 0
        await cluster.change("Service", "web", spec={**service()["spec"], "type": "NetworkProvider",
                                                     "externalIPs": ["23.23.0.30"]})  # fmt: skip
        await settle()
        [made] = provider.made.values()
        assert (made.address, made.inside) == ("23.23.0.30", True)
        await cluster.change("Service", "web", spec={**service()["spec"], "type": "NetworkProvider",
                                                     "externalIPs": ["23.23.0.30", "23.23.0.31"]})  # fmt: skip
        await settle()
        assert any("SeveralAddresses" in each["message"] for each in cluster.all("Event"))
