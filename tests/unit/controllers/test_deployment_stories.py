"""Deployments, ReplicaSets and pods together: what a user does, and what comes of it."""

from typing import Any

import pytest

from hypernetes.api.status import StatusError
from hypernetes.controllers.deployments import Deployments
from hypernetes.controllers.replicasets import ReplicaSets
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]


def deployment(replicas: int = 3, image: str = "web:1", **spec: Any) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    full = {
        "replicas": replicas,
        "progressDeadlineSeconds": 600,
        "selector": {"matchLabels": labels},
        "template": template,
        **spec,
    }
    metadata = {"name": "web", "namespace": "prod"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": full}


def story() -> Story:
    return Story(Deployments, ReplicaSets)


def images(cluster: FakeCluster) -> list[str]:
    return sorted(pod["spec"]["containers"][0]["image"] for pod in cluster.all("Pod"))


def sizes(cluster: FakeCluster) -> dict[str, int]:
    return {
        entry["spec"]["template"]["spec"]["containers"][0]["image"]: entry["spec"]["replicas"]
        for entry in cluster.all("ReplicaSet")
    }


def condition(cluster: FakeCluster, type: str) -> tuple[str, str]:
    conditions = cluster.find("Deployment", "web")["status"]["conditions"]
    return next((entry["status"], entry["reason"]) for entry in conditions if entry["type"] == type)


async def test_a_deployment_gets_its_pods_and_says_so() -> None:
    async with story().running() as cluster:
        await cluster.put(deployment(3))
        await settle()
        assert images(cluster) == ["web:1"] * 3
        made = cluster.find("Deployment", "web")
        assert made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        status = made["status"]
        assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (3, 3, 3)
        assert status["observedGeneration"] == made["metadata"]["generation"]
        assert condition(cluster, "Available") == ("True", "MinimumReplicasAvailable")
        assert condition(cluster, "Progressing") == ("True", "NewReplicaSetAvailable")
        (replica_set,) = cluster.all("ReplicaSet")
        digest = replica_set["metadata"]["labels"]["pod-template-hash"]
        assert all(pod["metadata"]["labels"]["pod-template-hash"] == digest for pod in cluster.all("Pod"))
        messages = [event["message"] for event in cluster.all("Event") if event["reason"] == "ScalingReplicaSet"]
        assert messages == [f"Scaled up replica set web-{digest} from 0 to 3"]


async def test_a_rolling_update_keeps_within_its_limits_and_ends() -> None:
    async with story().running() as cluster:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
        await cluster.put(deployment(4, strategy=strategy))
        await settle()
        await cluster.change("Deployment", "web", spec=deployment(4, "web:2", strategy=strategy)["spec"])
        lowest, highest = 9, 0
        for _ in range(60):
            await settle(0.5)
            pods = [pod for pod in cluster.all("Pod") if not pod["metadata"].get("deletionTimestamp")]
            available = [pod for pod in pods if "status" in pod]
            lowest, highest = min(lowest, len(available)), max(highest, len(pods))
        assert images(cluster) == ["web:2"] * 4
        assert (lowest, highest) == (3, 5)
        assert sizes(cluster) == {"web:1": 0, "web:2": 4}


async def test_undo_takes_the_old_replica_set_again_under_a_new_revision() -> None:
    async with story().running() as cluster:
        for image in ("web:1", "web:2", "web:1"):
            if cluster.all("Deployment"):
                await cluster.change("Deployment", "web", spec=deployment(2, image)["spec"])
            else:
                await cluster.put(deployment(2, image))
            await settle()
        assert images(cluster) == ["web:1"] * 2
        assert sizes(cluster) == {"web:1": 2, "web:2": 0}
        revisions = {
            entry["spec"]["template"]["spec"]["containers"][0]["image"]: entry["metadata"]["annotations"]
            for entry in cluster.all("ReplicaSet")
        }
        assert revisions["web:1"]["deployment.kubernetes.io/revision"] == "3"
        assert revisions["web:1"]["deployment.kubernetes.io/revision-history"] == "1"
        assert cluster.find("Deployment", "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


async def test_recreate_ends_all_old_pods_before_the_first_new_one() -> None:
    async with story().running() as cluster:
        await cluster.put(deployment(3, strategy={"type": "Recreate"}))
        await settle()
        await cluster.change("Deployment", "web", spec=deployment(3, "web:2", strategy={"type": "Recreate"})["spec"])
        seen = set()
        for _ in range(60):
            await settle(0.25)
            seen.add(tuple(sorted(set(images(cluster)))))
        assert images(cluster) == ["web:2"] * 3
        assert ("web:1", "web:2") not in seen


async def test_a_broken_image_stops_the_rollout_and_its_deadline_passes() -> None:
    case = story()
    case.kubelet.broken_images = {"web:bad"}
    async with case.running() as cluster:
        await cluster.put(deployment(4, progressDeadlineSeconds=60))
        await settle()
        await cluster.change("Deployment", "web", spec=deployment(4, "web:bad", progressDeadlineSeconds=60)["spec"])
        await settle(30)
        assert condition(cluster, "Progressing") == ("True", "ReplicaSetUpdated")
        await settle(60)
        assert condition(cluster, "Progressing") == ("False", "ProgressDeadlineExceeded")
        assert condition(cluster, "Available") == ("True", "MinimumReplicasAvailable")
        assert images(cluster).count("web:1") == 3
        await cluster.change("Deployment", "web", spec=deployment(4, "web:2", progressDeadlineSeconds=60)["spec"])
        await settle(60)
        assert images(cluster) == ["web:2"] * 4
        assert condition(cluster, "Progressing") == ("True", "NewReplicaSetAvailable")


async def test_while_paused_a_template_change_waits_and_scaling_works() -> None:
    async with story().running() as cluster:
        await cluster.put(deployment(2))
        await settle()
        await cluster.change("Deployment", "web", spec=deployment(4, "web:2", paused=True)["spec"])
        await settle()
        assert images(cluster) == ["web:1"] * 4
        assert condition(cluster, "Progressing") == ("Unknown", "DeploymentPaused")
        await cluster.change("Deployment", "web", spec=deployment(4, "web:2")["spec"])
        await settle()
        assert images(cluster) == ["web:2"] * 4


async def test_scaling_goes_up_and_down_to_nothing() -> None:
    async with story().running() as cluster:
        await cluster.put(deployment(2))
        for replicas in (7, 3, 0, 1):
            await cluster.change("Deployment", "web", spec=deployment(replicas)["spec"])
            await settle()
            assert len(cluster.all("Pod")) == replicas
            assert cluster.find("Deployment", "web")["status"].get("replicas", 0) == replicas


async def test_history_beyond_its_limit_is_removed() -> None:
    async with story().running() as cluster:
        await cluster.put(deployment(1, "web:1", revisionHistoryLimit=2))
        await settle()
        for number in range(2, 7):
            await cluster.change(
                "Deployment", "web", spec=deployment(1, f"web:{number}", revisionHistoryLimit=2)["spec"]
            )
            await settle()
        assert sizes(cluster) == {"web:4": 0, "web:5": 0, "web:6": 1}


async def test_a_process_that_dies_in_the_middle_of_a_rollout_is_succeeded_by_the_next() -> None:
    case = story()
    async with case.running() as cluster:
        await cluster.put(deployment(10))
        await settle()
    await cluster.change("Deployment", "web", spec=deployment(10, "web:2")["spec"])
    for _ in range(12):
        async with case.running():
            await settle(1.3)
            pods = [pod for pod in cluster.all("Pod") if not pod["metadata"].get("deletionTimestamp")]
            assert 8 <= len(pods) <= 13
    async with case.running():
        await settle()
        assert images(cluster) == ["web:2"] * 10


async def test_a_pod_that_is_deleted_is_replaced_once() -> None:
    async with story().running() as cluster:
        await cluster.put(deployment(3))
        await settle()
        before = set(cluster.names("Pod"))
        await cluster.request("DELETE", f"/tenants/acme/api/v1/namespaces/prod/pods/{min(before)}", json={})
        await settle()
        after = set(cluster.names("Pod"))
        assert len(after) == 3
        assert len(after - before) == 1
        created = [obj for _, kind, obj in cluster.history if (kind, obj["kind"]) == ("ADDED", "Pod")]
        assert len(created) == 4


async def test_refused_pods_are_told_and_tried_again_with_patience() -> None:
    case = story()
    refused = []

    def refuse(verb: str, resource: Any, obj: dict[str, Any]) -> None:
        if resource.kind == "Pod":
            refused.append(obj)
            raise StatusError("Forbidden", "exceeded quota")

    async with case.running() as cluster:
        cluster.refuse = refuse
        await cluster.put(deployment(100))
        await settle(20)
        assert condition(cluster, "ReplicaFailure") == ("True", "FailedCreate")
        # One at a time (slow start), further and further apart: not a hundred.
        assert 5 < len(refused) < 30
        cluster.refuse = lambda verb, resource, obj: None
        await settle(60)
        assert len(cluster.all("Pod")) == 100
        assert all(
            entry["type"] != "ReplicaFailure" for entry in cluster.find("Deployment", "web")["status"]["conditions"]
        )


async def test_a_replica_set_of_the_same_labels_is_adopted_and_a_relabelled_pod_is_released() -> None:
    async with story().running() as cluster:
        labels = {"app": "web"}
        lone = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone", "namespace": "prod", "labels": labels},
            "spec": {"containers": [{"name": "web", "image": "web:0"}]},
        }  # fmt: skip
        await cluster.put(lone)
        spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": deployment()["spec"]["template"]}
        metadata = {"name": "rs", "namespace": "prod"}
        await cluster.put({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec})
        await settle()
        assert len(cluster.all("Pod")) == 2
        adopted = cluster.find("Pod", "lone")
        assert adopted["metadata"]["ownerReferences"][0]["name"] == "rs"
        await cluster.change("Pod", "lone", metadata={**adopted["metadata"], "labels": {"app": "other"}})
        await settle()
        assert len(cluster.all("Pod")) == 3
        assert not cluster.find("Pod", "lone")["metadata"].get("ownerReferences")


async def test_two_tenants_deployments_of_one_name_do_not_meet() -> None:
    async with story().running() as cluster:
        await cluster.put(deployment(2, "acme:1"), "acme")
        await cluster.put(deployment(3, "globex:1"), "globex")
        await settle()
        assert images(cluster) == ["acme:1"] * 2
        assert len(cluster.all("Pod", "globex")) == 3


async def test_in_a_namespace_that_ends_nothing_is_tried_again() -> None:
    case = story()
    refused = []

    def refuse(verb: str, resource: Any, obj: dict[str, Any]) -> None:
        if resource.kind == "Pod":
            refused.append(obj)
            raise StatusError("Forbidden", "it ends", causes=[{"reason": "NamespaceTerminating", "message": "it ends"}])

    async with case.running() as cluster:
        cluster.refuse = refuse
        await cluster.put(deployment(3))
        await settle(600)
        assert 0 < len(refused) <= 5
        assert all(event["reason"] != "FailedCreate" for event in cluster.all("Event"))


async def test_in_a_suspended_tenant_pods_are_asked_for_now_and_then_and_are_back_soon_after_it_is_resumed() -> None:
    case = story()
    refused = []

    def refuse(verb: str, resource: Any, obj: dict[str, Any]) -> None:
        if resource.kind == "Pod":
            refused.append(obj)
            raise StatusError("Forbidden", "no", causes=[{"reason": "TenantSuspended", "message": "no"}])

    async with case.running() as cluster:
        cluster.refuse = refuse
        await cluster.put(deployment(3))
        await settle(3600)
        assert 3600 / 15 - 5 <= len(refused) <= 3600 / 15 + 20
        assert all(event["reason"] != "FailedCreate" for event in cluster.all("Event"))
        cluster.refuse = lambda verb, resource, obj: None
        await settle(20)
        assert len(cluster.all("Pod")) == 3


async def test_a_pod_of_another_namespace_that_claims_the_owner_is_neither_counted_nor_deleted() -> None:
    async with story().running() as cluster:
        await cluster.put(deployment(2))
        await settle()
        (replica_set,) = cluster.all("ReplicaSet")
        metadata = replica_set["metadata"]
        stranger = {
            "name": "stranger", "namespace": "elsewhere", "labels": metadata["labels"],
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": metadata["name"], "uid": metadata["uid"],
                "controller": True,
            }],
        }  # fmt: skip
        await cluster.put(
            {"apiVersion": "v1", "kind": "Pod", "metadata": stranger, "spec": replica_set["spec"]["template"]["spec"]}
        )
        (made,) = cluster.all("Deployment")
        await cluster.change("Deployment", "web", spec={**made["spec"], "replicas": 0})
        await settle()
        assert cluster.names("Pod") == ["stranger"]
        assert cluster.find("Deployment", "web")["status"].get("replicas", 0) == 0
