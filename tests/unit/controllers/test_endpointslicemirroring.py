"""Endpoints that people write themselves are found in EndpointSlices, too."""

from typing import Any

import pytest

from hypernetes.controllers.endpoints import EndpointsController
from hypernetes.controllers.endpointslicemirroring import SKIP, EndpointSliceMirroring
from hypernetes.controllers.endpointslices import EndpointSlices
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]
Json = dict[str, Any]

TWO_FAMILIES = [
    {
        "addresses": [{"ip": "192.0.2.1", "hostname": "a"}, {"ip": "2001:db8::1"}],
        "notReadyAddresses": [{"ip": "192.0.2.2"}],
        "ports": [{"name": "db", "port": 5432, "protocol": "TCP"}],
    }
]


def endpoints(subsets: list[Json], labels: Json | None = None, **metadata: Any) -> Json:
    own = {"name": "db", "namespace": "prod", "labels": {"tier": "data", **(labels or {})}, **metadata}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": own, "subsets": subsets}


def service(**spec: Any) -> Json:
    metadata = {"name": "db", "namespace": "prod"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 1}], **spec}}


def shown(cluster: FakeCluster) -> dict[str, list[tuple[str, bool]]]:
    return {
        entry["addressType"]: [(each["addresses"][0], each["conditions"]["ready"]) for each in entry["endpoints"]]
        for entry in cluster.all("EndpointSlice")
    }


def story() -> Story:
    return Story(EndpointSliceMirroring, EndpointsController, EndpointSlices)


async def test_each_family_has_a_slice_that_follows_the_endpoints_and_goes_with_them() -> None:
    async with story().running() as cluster:
        await cluster.put(service())
        await cluster.put(endpoints(TWO_FAMILIES))
        await settle()
        assert shown(cluster) == {
            "IPv4": [("192.0.2.1", True), ("192.0.2.2", False)], "IPv6": [("2001:db8::1", True)],
        }  # fmt: skip
        for entry in cluster.all("EndpointSlice"):
            assert entry["ports"] == [{"name": "db", "port": 5432, "protocol": "TCP"}]
            assert entry["metadata"]["labels"] == {
                "tier": "data", "kubernetes.io/service-name": "db",
                "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
            }  # fmt: skip
            assert entry["metadata"]["ownerReferences"][0]["kind"] == "Endpoints"
        await cluster.change("Endpoints", "db", subsets=[{"addresses": [{"ip": "2001:db8::2"}], "ports": []}])
        await settle()
        assert shown(cluster) == {"IPv6": [("2001:db8::2", True)]}
        writes = len(cluster.history)
        await settle(120)
        assert len(cluster.history) == writes
        (place,) = (place for place in cluster.stored if place[0].kind == "Endpoints")
        await cluster._delete(place, {})
        await settle()
        assert shown(cluster) == {}


@pytest.mark.parametrize(
    "metadata",
    [{"labels": {SKIP: "true"}}, {"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}],
)
async def test_what_asks_not_to_be_mirrored_is_not(metadata: Json) -> None:
    async with story().running() as cluster:
        await cluster.put(service())
        await cluster.put(endpoints(TWO_FAMILIES, **metadata))
        await settle()
        assert shown(cluster) == {}


async def test_without_a_service_or_with_a_selector_nothing_is_mirrored() -> None:
    async with story().running() as cluster:
        await cluster.put(endpoints(TWO_FAMILIES))
        await settle()
        assert shown(cluster) == {}
        await cluster.put(service())
        await settle()
        assert set(shown(cluster)) == {"IPv4", "IPv6"}
        await cluster.change("Service", "db", spec={"selector": {"app": "db"}, "ports": [{"port": 1}]})
        await settle()
        managers = {
            entry["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
            for entry in cluster.all("EndpointSlice")
        }
        assert managers == {"endpointslice-controller.k8s.io"}
