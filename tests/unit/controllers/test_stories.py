"""The other controllers, each in a small cluster: what happens, and what comes of it."""

from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Node
from hypernetes.controllers.endpoints import EndpointsController
from hypernetes.controllers.endpointslices import EndpointSlices
from hypernetes.controllers.evictions import Evictions
from hypernetes.controllers.garbagecollector import GarbageCollector
from hypernetes.controllers.namespaces import Namespaces
from hypernetes.controllers.networks import Networks
from hypernetes.controllers.nodelifecycle import NodeLifecycle
from hypernetes.controllers.ports import Ports
from hypernetes.controllers.replicationcontrollers import ReplicationControllers
from hypernetes.controllers.serviceaccounts import ServiceAccounts
from hypernetes.providers.network.base import EnsuredNetwork, NetworkError, NetworkSpec
from tests.unit.controllers.fake_cluster import FakeCluster, Story, ready, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]
Json = dict[str, Any]


def thing(kind: str, name: str, api_version: str = "v1", namespace: str | None = "prod", **parts: Any) -> Json:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **parts.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}


def pod(name: str, **parts: Any) -> Json:
    container = {"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]}
    spec = {"containers": [container], **parts.pop("spec", {})}
    return thing("Pod", name, metadata={"labels": {"app": "web"}, **parts.pop("metadata", {})}, spec=spec, **parts)


def owned_by(owner: Json, *, blocking: bool = False) -> Json:
    reference = {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": True, **({"blockOwnerDeletion": True} if blocking else {}),
    }  # fmt: skip
    return {"ownerReferences": [reference]}


async def delete(cluster: FakeCluster, kind: str, name: str, tenant: str = "acme", **options: Any) -> None:
    (place,) = (
        (resource, key)
        for resource, key in cluster.stored
        if (resource.kind, key.name, key.tenant) == (kind, name, tenant)
    )
    await cluster._delete(place, options)


class TestServices:
    @staticmethod
    def service(**spec: Any) -> Json:
        ports = [{"name": "web", "port": 80, "targetPort": "http"}]
        return thing(
            "Service", "web", spec={"selector": {"app": "web"}, "ports": ports, "clusterIP": "10.254.0.9", **spec}
        )

    @staticmethod
    def both(cluster: FakeCluster) -> tuple[Json, Json]:
        (endpoints,), (slice_,) = cluster.all("Endpoints"), cluster.all("EndpointSlice")
        return endpoints, slice_

    async def test_a_ready_pod_is_in_both_forms_and_leaves_both(self) -> None:
        async with Story(EndpointsController, EndpointSlices).running() as cluster:
            await cluster.put(self.service())
            await cluster.put(pod("a"))
            await cluster.put(pod("other", metadata={"labels": {"app": "db"}}))
            await settle()
            endpoints, slice_ = self.both(cluster)
            (subset,), (endpoint,) = endpoints["subsets"], slice_["endpoints"]
            assert subset["ports"] == [{"name": "web", "port": 8080, "protocol": "TCP"}]
            assert slice_["ports"] == [{"name": "web", "port": 8080, "protocol": "TCP"}]
            (address,) = subset["addresses"]
            stored = cluster.find("Pod", "a")
            assert (address["ip"], address["nodeName"]) == (stored["status"]["podIP"], "n1")
            assert (endpoint["addresses"], endpoint["nodeName"]) == ([stored["status"]["podIP"]], "n1")
            assert address["targetRef"] == endpoint["targetRef"]
            assert endpoint["targetRef"]["uid"] == stored["metadata"]["uid"]
            assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
            assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
            await delete(cluster, "Pod", "a")
            await settle()
            endpoints, slice_ = self.both(cluster)
            assert not endpoints.get("subsets")
            assert not slice_.get("endpoints")

    async def test_a_pod_that_is_not_ready_is_told_as_such(self) -> None:
        case = Story(EndpointsController, EndpointSlices)
        case.kubelet.stopped = True
        async with case.running() as cluster:
            await cluster.put(self.service())
            status = {"phase": "Running", "podIP": "10.0.0.9", "conditions": [ready("False")]}
            await cluster.put(pod("a", status=status))
            await settle()
            endpoints, slice_ = self.both(cluster)
            assert "addresses" not in endpoints["subsets"][0]
            assert endpoints["subsets"][0]["notReadyAddresses"][0]["ip"] == "10.0.0.9"
            assert slice_["endpoints"][0]["conditions"] == {"ready": False, "serving": False, "terminating": False}
            await cluster.change("Service", "web", spec=self.service(publishNotReadyAddresses=True)["spec"])
            await settle()
            endpoints, slice_ = self.both(cluster)
            assert endpoints["subsets"][0]["addresses"][0]["ip"] == "10.0.0.9"
            assert slice_["endpoints"][0]["conditions"] == {"ready": True, "serving": False, "terminating": False}

    async def test_a_terminating_pod_still_serves_in_slices_only(self) -> None:
        case = Story(EndpointsController, EndpointSlices)
        async with case.running() as cluster:
            await cluster.put(self.service())
            await cluster.put(pod("a"))
            await settle()
            case.kubelet.stopped = True
            await delete(cluster, "Pod", "a")
            await settle()
            endpoints, slice_ = self.both(cluster)
            assert not endpoints.get("subsets")
            assert slice_["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}

    async def test_a_service_without_a_selector_is_left_to_its_author(self) -> None:
        async with Story(EndpointsController, EndpointSlices).running() as cluster:
            await cluster.put(thing("Endpoints", "web", subsets=[{"addresses": [{"ip": "192.0.2.1"}]}]))
            service = self.service()
            del service["spec"]["selector"]
            await cluster.put(service)
            await settle()
            assert cluster.find("Endpoints", "web")["subsets"] == [{"addresses": [{"ip": "192.0.2.1"}]}]
            assert not cluster.all("EndpointSlice")

    async def test_a_deleted_service_takes_its_endpoints_along(self) -> None:
        async with Story(EndpointsController, EndpointSlices).running() as cluster:
            await cluster.put(self.service())
            await cluster.put(pod("a"))
            await settle()
            await delete(cluster, "Service", "web")
            await settle()
            assert cluster.all("Endpoints") + cluster.all("EndpointSlice") == []

    async def test_a_slice_deleted_by_hand_comes_back(self) -> None:
        async with Story(EndpointsController, EndpointSlices).running() as cluster:
            await cluster.put(self.service())
            await cluster.put(pod("a"))
            await settle()
            (name,) = cluster.names("EndpointSlice")
            await delete(cluster, "EndpointSlice", name)
            await delete(cluster, "Endpoints", "web")
            await settle()
            endpoints, slice_ = self.both(cluster)
            assert len(slice_["endpoints"]) == len(endpoints["subsets"]) == 1


class TestNamespaces:
    async def test_its_content_goes_first_and_then_the_namespace(self) -> None:
        async with Story(Namespaces).running() as cluster:
            await cluster.put(thing("Namespace", "prod", namespace=None))
            await cluster.put(pod("a"))
            await cluster.put(thing("ConfigMap", "settings"))
            await cluster.put(thing("ConfigMap", "settings", namespace="other"))
            await settle()
            await delete(cluster, "Namespace", "prod")
            await settle()
            assert cluster.all("Namespace") + cluster.all("Pod") == []
            assert [obj["metadata"]["namespace"] for obj in cluster.all("ConfigMap")] == ["other"]

    async def test_what_it_waits_for_is_said(self) -> None:
        async with Story(Namespaces).running() as cluster:
            await cluster.put(thing("Namespace", "prod", namespace=None))
            await cluster.put(thing("ConfigMap", "held", metadata={"finalizers": ["example.com/hold"]}))
            await delete(cluster, "Namespace", "prod")
            await settle()
            status = cluster.find("Namespace", "prod")["status"]
            told = {entry["type"]: (entry["status"], entry["message"]) for entry in status["conditions"]}
            assert status["phase"] == "Terminating"
            assert told["NamespaceContentRemaining"] == (
                "True", "Some resources are remaining: configmaps. has 1 resource instances",
            )  # fmt: skip
            assert told["NamespaceFinalizersRemaining"][1].endswith("example.com/hold in 1 resource instances")
            assert told["NamespaceDeletionContentFailure"][0] == "False"
            held = cluster.find("ConfigMap", "held")
            await cluster.change("ConfigMap", "held", metadata={**held["metadata"], "finalizers": []})
            await settle()
            assert not cluster.all("Namespace")

    async def test_a_new_one_gets_its_account(self) -> None:
        async with Story(ServiceAccounts).running() as cluster:
            await cluster.put(thing("Namespace", "prod", namespace=None))
            await settle()
            assert cluster.names("ServiceAccount") == ["default"]
            await delete(cluster, "ServiceAccount", "default")
            await settle()
            assert cluster.names("ServiceAccount") == ["default"]


class TestGarbage:
    @staticmethod
    async def family(cluster: FakeCluster, *, blocking: bool = False) -> None:
        """grandparent <- parent <- child."""
        grandparent = await cluster.put(thing("ConfigMap", "grandparent"))
        parent = await cluster.put(thing("Secret", "parent", metadata=owned_by(grandparent, blocking=blocking)))
        await cluster.put(thing("ServiceAccount", "child", metadata=owned_by(parent, blocking=blocking)))
        await settle()

    @staticmethod
    def left(cluster: FakeCluster) -> list[str]:
        return [name for kind in ("ConfigMap", "Secret", "ServiceAccount") for name in cluster.names(kind)]

    async def test_what_has_lost_its_owner_goes_generation_by_generation(self) -> None:
        async with Story(GarbageCollector).running() as cluster:
            await self.family(cluster)
            assert self.left(cluster) == ["grandparent", "parent", "child"]
            await delete(cluster, "ConfigMap", "grandparent")
            await settle()
            assert self.left(cluster) == []

    async def test_in_the_foreground_the_owner_goes_last(self) -> None:
        async with Story(GarbageCollector).running() as cluster:
            await self.family(cluster, blocking=True)
            await delete(cluster, "ConfigMap", "grandparent", propagation="Foreground")
            await settle()
            assert self.left(cluster) == []
            order = [obj["metadata"]["name"] for _, kind, obj in cluster.history if kind == "DELETED"]
            assert order == ["child", "parent", "grandparent"]

    async def test_orphans_stay_without_their_owner(self) -> None:
        async with Story(GarbageCollector).running() as cluster:
            await self.family(cluster)
            await delete(cluster, "ConfigMap", "grandparent", propagation="Orphan")
            await settle()
            assert self.left(cluster) == ["parent", "child"]
            assert not cluster.find("Secret", "parent")["metadata"].get("ownerReferences")

    async def test_one_of_two_owners_is_enough(self) -> None:
        async with Story(GarbageCollector).running() as cluster:
            first = await cluster.put(thing("ConfigMap", "first"))
            second = await cluster.put(thing("ConfigMap", "second"))
            (other,) = owned_by(second)["ownerReferences"]
            both = {"ownerReferences": [*owned_by(first)["ownerReferences"], {**other, "controller": False}]}
            await cluster.put(thing("Secret", "child", metadata=both))
            await delete(cluster, "ConfigMap", "first")
            await settle()
            references = cluster.find("Secret", "child")["metadata"]["ownerReferences"]
            assert [entry["name"] for entry in references] == ["second"]

    async def test_an_owner_that_was_replaced_under_its_name_is_gone(self) -> None:
        async with Story(GarbageCollector).running() as cluster:
            owner = await cluster.put(thing("ConfigMap", "owner"))
            await cluster.put(thing("Secret", "child", metadata=owned_by(owner)))
        await delete(cluster, "ConfigMap", "owner")
        await cluster.put(thing("ConfigMap", "owner"))
        async with Story(GarbageCollector).running():
            pass
        again = Story(GarbageCollector)
        again.cluster = cluster
        async with again.running():
            await settle()
            assert self.left(cluster) == ["owner"]

    async def test_of_an_owner_that_is_gone_is_asked_once_and_of_what_goes_anyway_not_at_all(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with Story(GarbageCollector).running() as cluster:
            owner = await cluster.put(thing("ConfigMap", "owner"))
            ending = {**owned_by(owner), "finalizers": ["example.com/slow"]}
            await cluster.put(thing("Secret", "ending", metadata=ending))
            for number in range(5):
                await cluster.put(thing("Secret", f"child-{number}", metadata=owned_by(owner)))
            await delete(cluster, "Secret", "ending")
            await settle()
            asked, request = [], cluster.request

            async def counting(method: str, path: str, **rest: Any) -> Any:
                asked.append((method, path.rpartition("/")[2]))
                return await request(method, path, **rest)

            monkeypatch.setattr(cluster, "request", counting)
            await delete(cluster, "ConfigMap", "owner")
            await settle()
            assert cluster.names("Secret") == ["ending"]
            # Those that several workers look at before the first answer ask too.
            assert asked.count(("GET", "owner")) < 5
            assert not [call for call in asked if call[1] == "ending"]

    async def test_an_owner_of_another_tenant_or_an_unknown_kind(self) -> None:
        async with Story(GarbageCollector).running() as cluster:
            owner = await cluster.put(thing("ConfigMap", "owner"), "globex")
            await cluster.put(thing("Secret", "stolen", metadata=owned_by(owner)))
            backup = {"apiVersion": "example.com/v1", "kind": "Backup", "metadata": {"name": "b", "uid": "x"}}
            await cluster.put(thing("Secret", "backed", metadata=owned_by(backup)))
            await settle()
            assert cluster.names("Secret") == ["backed"]


class TestNodes:
    @staticmethod
    async def node(cluster: FakeCluster, name: str = "n1") -> None:
        status = {"conditions": [{**ready(), "lastHeartbeatTime": times.format_time(times.now())}]}
        await cluster.put(thing("Node", name, namespace=None, status=status), "system")
        lease = thing("Lease", name, "coordination.k8s.io/v1", "kube-node-lease", spec={"holderIdentity": name})
        await cluster.put(lease, "system")

    @staticmethod
    async def beat(cluster: FakeCluster, name: str, seconds: int) -> None:
        for _ in range(seconds // 10):
            renewed = times.format_micro_time(times.now())
            await cluster.change("Lease", name, "system", spec={"holderIdentity": name, "renewTime": renewed})
            await settle(10)

    @staticmethod
    def ready_status(cluster: FakeCluster, name: str = "n1") -> str:
        node = Node.from_dict(cluster.find("Node", name, "system"))
        return next(entry.status for entry in node.status.conditions if entry.type == "Ready")

    @staticmethod
    def taints(cluster: FakeCluster, name: str = "n1") -> set[tuple[str, str]]:
        spec = cluster.find("Node", name, "system").get("spec", {})
        return {(taint["key"].rpartition("/")[2], taint["effect"]) for taint in spec.get("taints", ())}

    async def test_a_silent_node_becomes_unknown_and_its_pods_leave_when_another_is_there(self) -> None:
        case = Story(NodeLifecycle, Evictions)
        case.kubelet.stopped = True
        async with case.running() as cluster:
            await self.node(cluster, "n1")
            await self.node(cluster, "n2")
            running = {"phase": "Running", "podIP": "10.0.0.9", "conditions": [ready()]}
            forever = [{"key": "node.kubernetes.io/unreachable", "operator": "Exists"}]
            await cluster.put(pod("a", spec={"nodeName": "n1"}, status=running))
            await cluster.put(pod("faithful", spec={"nodeName": "n1", "tolerations": forever}, status=running))
            await self.beat(cluster, "n2", 30)
            assert (self.ready_status(cluster), self.taints(cluster)) == ("True", set())
            await self.beat(cluster, "n2", 30)
            assert self.ready_status(cluster) == "Unknown"
            assert self.taints(cluster) == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
            assert self.ready_status(cluster, "n2") == "True"
            assert cluster.find("Pod", "a")["status"]["conditions"][0]["status"] == "False"
            await self.beat(cluster, "n2", 250)
            assert "deletionTimestamp" not in cluster.find("Pod", "a")["metadata"]
            await self.beat(cluster, "n2", 60)
            assert "deletionTimestamp" in cluster.find("Pod", "a")["metadata"]
            assert "deletionTimestamp" not in cluster.find("Pod", "faithful")["metadata"]

    async def test_while_no_node_is_ready_nobody_is_evicted(self) -> None:
        case = Story(NodeLifecycle, Evictions)
        case.kubelet.stopped = True
        async with case.running() as cluster:
            await self.node(cluster)
            await cluster.put(pod("a", spec={"nodeName": "n1"}, status={"phase": "Running"}))
            await settle(2000)
            assert self.ready_status(cluster) == "Unknown"
            assert "deletionTimestamp" not in cluster.find("Pod", "a")["metadata"]

    async def test_a_node_that_comes_back_loses_its_taints(self) -> None:
        async with Story(NodeLifecycle).running() as cluster:
            await self.node(cluster)
            await settle(60)
            assert self.ready_status(cluster) == "Unknown"
            status = {"conditions": [{**ready(), "lastHeartbeatTime": times.format_time(times.now())}]}
            await cluster.change("Node", "n1", "system", status=status)
            await self.beat(cluster, "n1", 60)
            assert (self.ready_status(cluster), self.taints(cluster)) == ("True", set())

    async def test_pods_of_a_node_that_was_removed_are_removed(self) -> None:
        case = Story(Evictions)
        case.kubelet.stopped = True
        async with case.running() as cluster:
            await self.node(cluster)
            await cluster.put(pod("a", spec={"nodeName": "n1"}, status={"phase": "Running"}))
            await settle()
            await delete(cluster, "Node", "n1", "system")
            await settle(35)
            assert cluster.names("Pod") == ["a"]
            await settle(10)
            assert cluster.names("Pod") == []

    async def test_a_cordoned_node_is_tainted_and_free_again(self) -> None:
        async with Story(NodeLifecycle).running() as cluster:
            await self.node(cluster)
            await cluster.change("Node", "n1", "system", spec={"unschedulable": True})
            await settle(5)
            assert self.taints(cluster) == {("unschedulable", "NoSchedule")}
            node = cluster.find("Node", "n1", "system")
            await cluster.change("Node", "n1", "system", spec={"taints": node["spec"]["taints"]})
            await settle(5)
            assert self.taints(cluster) == set()


class FakeProvider:
    """Numbers networks as asked, and fails if told so."""

    binds_ports = False

    def __init__(self) -> None:
        self.error: NetworkError | None = None
        self.deleted: list[str] = []

    async def ensure_network(self, network: NetworkSpec, used_segments: frozenset[int]) -> EnsuredNetwork:
        if self.error is not None:
            raise self.error
        free = (number for number in range(1, 100) if number not in used_segments)
        return EnsuredNetwork(network.segment_id or next(free))

    async def delete_network(self, network: NetworkSpec) -> None:
        self.deleted.append(network.name)


class TestNetworks:
    @staticmethod
    def story(provider: FakeProvider) -> Story:
        return Story(lambda *shared: Networks(*shared, provider), Ports)  # type: ignore[arg-type]

    @staticmethod
    async def tenants(cluster: FakeCluster, *names: str) -> None:
        for name in names:
            await cluster.put(thing("Tenant", name, "hypernetes.io/v1", None), "system")
            subnets = {"default": {"cidr": "10.0.0.0/24", "gateway": "10.0.0.1"}}
            network = thing("Network", "default", "hypernetes.io/v1", None, spec={"subnets": subnets})
            await cluster.put(network, name)

    @staticmethod
    async def port(cluster: FakeCluster, owner: Json) -> None:
        reference = {"namespace": "prod", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        spec = {"network": "default", "address": "10.0.0.5", "macAddress": "02:00:00:00:00:01", "podRef": reference}
        await cluster.put(thing("Port", "default.10.0.0.5", "hypernetes.io/v1", None, spec=spec))

    async def test_no_two_networks_share_a_segment_whatever_tenant_and_process(self) -> None:
        provider = FakeProvider()
        case = self.story(provider)
        async with case.running() as cluster:
            await self.tenants(cluster, "acme", "globex")
            await settle()
        async with case.running():
            await self.tenants(cluster, "initech")
            await settle()
            found = [cluster.find("Network", "default", name)["status"] for name in ("acme", "globex", "initech")]
            assert [status["phase"] for status in found] == ["Active"] * 3
            assert sorted(status["segmentID"] for status in found) == [1, 2, 3]

    async def test_a_failure_is_told_and_tried_again(self) -> None:
        provider = FakeProvider()
        provider.error = NetworkError("NoSegmentLeft", "ask the provider for more")
        async with self.story(provider).running() as cluster:
            await self.tenants(cluster, "acme")
            await settle()
            status = cluster.find("Network", "default")["status"]
            assert (status["phase"], status["message"]) == ("Failed", "NoSegmentLeft: ask the provider for more")
            provider.error = None
            await settle(60)
            status = cluster.find("Network", "default")["status"]
            assert (status["phase"], "message" in status) == ("Active", False)

    async def test_a_network_with_ports_stays_until_they_are_gone(self) -> None:
        provider = FakeProvider()
        async with self.story(provider).running() as cluster:
            await self.tenants(cluster, "acme")
            await self.port(cluster, await cluster.put(pod("a")))
            await settle()
            await delete(cluster, "Network", "default")
            await settle()
            status = cluster.find("Network", "default")["status"]
            assert (status["phase"], status["message"]) == (
                "Terminating",
                "1 ports are in use, such as default.10.0.0.5",
            )
            assert provider.deleted == []
            await delete(cluster, "Port", "default.10.0.0.5")
            await settle()
            assert cluster.names("Network") == []
            assert provider.deleted == ["default"]

    async def test_a_claim_whose_pod_is_gone_is_swept_after_a_while(self) -> None:
        async with self.story(FakeProvider()).running() as cluster:
            await self.port(cluster, await cluster.put(pod("a")))
            await settle(300)
            assert cluster.names("Port") == ["default.10.0.0.5"]
            await delete(cluster, "Pod", "a", grace_seconds=0)
            # The name is taken again, by another pod.
            await cluster.put(pod("a"))
            await settle(50)
            assert cluster.names("Port") == ["default.10.0.0.5"]
            await settle(20)
            assert cluster.names("Port") == []


async def test_a_replication_controller_keeps_its_pods() -> None:
    async with Story(ReplicationControllers).running() as cluster:
        template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("x")["spec"]}
        spec = {"replicas": 2, "selector": {"app": "web"}, "template": template}
        await cluster.put(thing("ReplicationController", "web", spec=spec))
        await settle()
        assert len(cluster.all("Pod")) == 2
        status = cluster.find("ReplicationController", "web")["status"]
        assert (status["replicas"], status["readyReplicas"], status["fullyLabeledReplicas"]) == (2, 2, 2)
        await cluster.change("ReplicationController", "web", spec={**spec, "replicas": 1})
        await settle()
        assert len(cluster.all("Pod")) == 1
