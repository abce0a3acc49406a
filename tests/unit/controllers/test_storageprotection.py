"""Claims and volumes stay while they are used, and go once they aren't."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.volumes.names import claims_of
from hypernetes.controllers.storageprotection import ClaimProtection, VolumeProtection, is_used
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock
from tests.unit.controllers.test_stories import delete, pod, thing

Json = dict[str, Any]
VOLUMES = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]


def of(phase: str = "Running", node: str = "n1") -> Pod:
    return Pod.from_dict({"metadata": {"name": "p"}, "spec": {"nodeName": node, "volumes": VOLUMES, "containers": []},
                          "status": {"phase": phase}})  # fmt: skip


@pytest.mark.parametrize(
    ("pods", "used"),
    [
        ([], False),
        ([of()], True),
        ([of("Succeeded")], False),
        ([of("Pending", node="")], False),
        ([of("Pending")], True),
    ],
)
def test_a_claim_is_used_by_pods_on_nodes(pods, used):
    assert is_used("data", pods) is used
    assert not is_used("other", pods)


def test_ephemeral_volumes_have_claims_named_after_pod_and_volume():
    spec = {"volumes": [{"name": "scratch", "ephemeral": {}}, {"name": "e", "emptyDir": {}}], "containers": []}
    assert claims_of(Pod.from_dict({"metadata": {"name": "p"}, "spec": spec})) == {"scratch": "p-scratch"}


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
class TestStories:
    @staticmethod
    def protected(kind: str, name: str, **parts: Any) -> Json:
        finalizer = {"PersistentVolumeClaim": "kubernetes.io/pvc-protection"}.get(kind, "kubernetes.io/pv-protection")
        namespace = "prod" if kind == "PersistentVolumeClaim" else None
        return thing(kind, name, namespace=namespace, metadata={"finalizers": [finalizer]}, **parts)

    async def test_a_claim_goes_with_the_last_pod_that_uses_it(self) -> None:
        async with Story(ClaimProtection).running() as cluster:
            await cluster.put(self.protected("PersistentVolumeClaim", "data"))
            await cluster.put(pod("a", spec={"volumes": VOLUMES}))
            await settle()
            await delete(cluster, "PersistentVolumeClaim", "data")
            await settle()
            assert cluster.names("PersistentVolumeClaim") == ["data"]
            await delete(cluster, "Pod", "a")
            await settle()
            assert cluster.names("PersistentVolumeClaim") == []

    async def test_a_claim_that_is_not_deleted_keeps_its_finalizer(self) -> None:
        async with Story(ClaimProtection).running() as cluster:
            await cluster.put(self.protected("PersistentVolumeClaim", "data"))
            await settle()
            assert cluster.find("PersistentVolumeClaim", "data")["metadata"]["finalizers"]

    async def test_a_volume_goes_once_it_is_not_bound(self) -> None:
        async with Story(VolumeProtection).running() as cluster:
            await self._bound(cluster, "v", "Bound")
            await self._bound(cluster, "free", "Available")
            for name in ("v", "free"):
                await delete(cluster, "PersistentVolume", name)
            await settle()
            assert cluster.names("PersistentVolume") == ["v"]
            await cluster.change("PersistentVolume", "v", status={"phase": "Released"})
            await settle()
            assert cluster.names("PersistentVolume") == []

    async def _bound(self, cluster: FakeCluster, name: str, phase: str) -> None:
        await cluster.put(self.protected("PersistentVolume", name, status={"phase": phase}))
