"""StatefulSets: each step of a decision as a table, and whole sets in a small cluster in virtual time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api import times
from hypernetes.api.models.apps_v1 import ControllerRevision, StatefulSet
from hypernetes.api.models.core_v1 import PersistentVolumeClaim, Pod
from hypernetes.api.status import conflict
from hypernetes.controllers import history
from hypernetes.controllers.statefulsets import StatefulSets, identity, plan
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

NOW = datetime(2030, 1, 1, tzinfo=UTC)
Json = dict[str, Any]


def set_json(replicas: int = 3, image: str = "db:1", status: Json | None = None, **spec: Any) -> Json:
    labels = {"app": "db"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "prod", "uid": "set", "generation": 1},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels}, "template": template, "serviceName": "dbs",
            **spec,
        },
        **({"status": status} if status else {}),
    }  # fmt: skip


def make(*args: Any, **spec: Any) -> StatefulSet:
    return StatefulSet.from_dict(set_json(*args, **spec))


def revision(owner: StatefulSet, number: int = 1) -> ControllerRevision:
    return history.new_revision(owner, number, 0)


OLD, NEW = revision(make()), revision(make(image="db:2"), 2)


def pod(ordinal: int, of: ControllerRevision = OLD, *, ready: bool = True, **extra: Any) -> Pod:
    made = identity.new(make(), ordinal, of).to_dict()
    made["metadata"] |= {"uid": f"pod-{ordinal}", **extra.pop("metadata", {})}
    since = times.format_time(NOW - timedelta(seconds=extra.pop("ready_for", 1000)))
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
    made["status"] = {"phase": "Running", "conditions": [condition], **extra}
    return Pod.from_dict(made)


GOING = {"deletionTimestamp": times.format_time(NOW)}


def decide(
    owner: StatefulSet, pods: list[Pod], current: ControllerRevision = OLD, update: ControllerRevision = OLD,
    claims: dict[str, PersistentVolumeClaim] | None = None,
) -> plan.Plan:  # fmt: skip
    return plan.decide(owner, pods, claims or {}, current, update, NOW)


def names(pods: list[Pod]) -> list[str]:
    return [each.metadata.name or "" for each in pods]


class TestOrder:
    @pytest.mark.parametrize(
        ("policy", "pods", "created"),
        [
            ("OrderedReady", [], ["db-0"]),
            ("OrderedReady", [pod(0, ready=False)], []),
            ("OrderedReady", [pod(0)], ["db-1"]),
            ("OrderedReady", [pod(0), pod(2)], ["db-1"]),
            ("OrderedReady", [pod(0, metadata=GOING)], []),
            ("Parallel", [], ["db-0", "db-1", "db-2"]),
            ("Parallel", [pod(1, ready=False)], ["db-0", "db-2"]),
        ],
    )
    def test_pods_come_one_after_the_other_or_all_at_once(
        self, policy: str, pods: list[Pod], created: list[str]
    ) -> None:
        assert names(decide(make(podManagementPolicy=policy), pods).create) == created

    @pytest.mark.parametrize(
        ("policy", "pods", "deleted"),
        [
            ("OrderedReady", [pod(0), pod(1), pod(2), pod(3), pod(4)], ["db-4"]),
            ("OrderedReady", [pod(0), pod(1), pod(2), pod(3), pod(4, metadata=GOING)], []),
            ("OrderedReady", [pod(0, ready=False), pod(1), pod(2), pod(3)], []),  # first all that stays is well
            ("Parallel", [pod(0, ready=False), pod(1), pod(2), pod(3), pod(4)], ["db-4", "db-3"]),
        ],
    )
    def test_the_highest_go_first(self, policy: str, pods: list[Pod], deleted: list[str]) -> None:
        assert names(decide(make(podManagementPolicy=policy), pods).delete) == deleted

    def test_a_pod_that_has_ended_is_replaced(self) -> None:
        found = decide(make(), [pod(0), pod(1, phase="Failed"), pod(2)])
        assert (names(found.delete), found.create) == (["db-1"], [])

    def test_numbers_may_start_elsewhere(self) -> None:
        found = decide(make(2, ordinals={"start": 5}, podManagementPolicy="Parallel"), [pod(0)])
        assert (names(found.create), names(found.delete)) == (["db-5", "db-6"], ["db-0"])

    def test_a_pod_counts_once_it_has_been_ready_for_long_enough(self) -> None:
        found = decide(make(minReadySeconds=30), [pod(0, ready_for=10)])
        assert (found.create, found.again, found.status.available_replicas) == ([], 20.0, 0)

    def test_a_set_that_is_being_deleted_makes_and_deletes_nothing(self) -> None:
        owner = make()
        owner.metadata.deletion_timestamp = times.format_time(NOW)
        found = decide(owner, [pod(0), pod(5)])
        assert (found.create, found.delete) == ([], [])


class TestUpdate:
    PODS = (pod(0), pod(1), pod(2))

    @pytest.mark.parametrize(
        ("spec", "pods", "deleted"),
        [
            ({}, PODS, ["db-2"]),
            ({}, (pod(0), pod(1), pod(2, NEW)), ["db-1"]),
            ({"updateStrategy": {"type": "OnDelete"}}, PODS, []),
            ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}, PODS, ["db-2"]),
            ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}}, PODS, []),
            (
                {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}},
                PODS,
                ["db-2", "db-1"],
            ),
            (
                {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}},
                PODS,
                ["db-2"],
            ),
            ({}, (pod(0), pod(1), pod(2, NEW, ready=False)), []),
            ({"podManagementPolicy": "Parallel"}, (pod(0), pod(1), pod(2, NEW, ready=False)), []),
            ({"podManagementPolicy": "Parallel"}, (pod(0), pod(1), pod(2, ready=False)), ["db-2"]),
        ],
    )
    def test_the_highest_are_replaced_first_while_the_others_are_well(
        self, spec: Json, pods: tuple[Pod, ...], deleted: list[str]
    ) -> None:
        assert names(decide(make(image="db:2", **spec), list(pods), OLD, NEW).delete) == deleted

    def test_below_the_partition_the_former_template_stays(self) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
        owner = make(image="db:2", updateStrategy=strategy, podManagementPolicy="Parallel")
        found = decide(owner, [], OLD, NEW)
        images = [each.spec.containers[0].image for each in found.create]
        assert images == ["db:1", "db:1", "db:2"]

    def test_the_status_tells_how_far_it_is(self) -> None:
        status = decide(make(image="db:2"), [pod(0), pod(1), pod(2, NEW)], OLD, NEW).status
        assert (status.replicas, status.ready_replicas, status.current_replicas, status.updated_replicas) == (
            3,
            3,
            2,
            1,
        )
        assert (status.current_revision, status.update_revision) == (OLD.metadata.name, NEW.metadata.name)
        done = decide(make(image="db:2"), [pod(each, NEW) for each in range(3)], OLD, NEW).status
        assert (done.current_revision, done.current_replicas) == (NEW.metadata.name, 3)


class TestIdentity:
    def test_a_pod_has_its_number_in_all_its_names(self) -> None:
        claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
        owner = make(volumeClaimTemplates=[claim])
        made = identity.new(owner, 7, OLD)
        assert (made.metadata.name, made.spec.hostname, made.spec.subdomain) == ("db-7", "db-7", "dbs")
        assert made.metadata.labels == {
            "app": "db", "statefulset.kubernetes.io/pod-name": "db-7", "apps.kubernetes.io/pod-index": "7",
            "controller-revision-hash": OLD.metadata.name,
        }  # fmt: skip
        (volume,) = made.spec.volumes
        assert volume.persistent_volume_claim is not None
        assert (volume.name, volume.persistent_volume_claim.claim_name) == ("data", "data-db-7")
        (new,) = decide(make(1, volumeClaimTemplates=[claim]), []).claims
        assert (new.metadata.name, new.metadata.labels) == ("data-db-0", {"app": "db"})

    @pytest.mark.parametrize(
        ("name", "ordinal"), [("db-0", 0), ("db-12", 12), ("db-01", None), ("db-x", None), ("db-1-2", None)]
    )
    def test_a_number_is_read_from_the_name(self, name: str, ordinal: int | None) -> None:
        assert identity.ordinal_of(make(), Pod.from_dict({"metadata": {"name": name}})) == ordinal


CLAIM = {"metadata": {"name": "data"}, "spec": {}}


class TestRetention:
    @pytest.mark.parametrize(
        ("policy", "owners"),
        [
            ({}, {}),
            ({"whenDeleted": "Delete", "whenScaled": "Retain"}, {"data-db-0": "set", "data-db-1": "set"}),
            ({"whenDeleted": "Retain", "whenScaled": "Delete"}, {"data-db-1": "pod-1"}),
            ({"whenDeleted": "Delete", "whenScaled": "Delete"}, {"data-db-0": "set", "data-db-1": "pod-1"}),
        ],
    )
    def test_claims_end_with_the_set_or_with_the_pod_that_is_scaled_away(self, policy: Json, owners: Json) -> None:
        owner = make(1, volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy)
        claims = {
            name: PersistentVolumeClaim.from_dict({"metadata": {"name": name}}) for name in ("data-db-0", "data-db-1")
        }
        found = decide(owner, [pod(0), pod(1)], claims=claims).patches
        assert {
            patch.obj.metadata.name: patch.body["metadata"]["ownerReferences"][0]["uid"] for patch in found
        } == owners

    def test_taking_the_policy_back_takes_the_owner_away(self) -> None:
        owned = {"metadata": {"name": "data-db-0", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "set"},
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "other"},
        ]}}  # fmt: skip
        claims = {"data-db-0": PersistentVolumeClaim.from_dict(owned)}
        (patch,) = decide(make(1, volumeClaimTemplates=[CLAIM]), [pod(0)], claims=claims).patches
        assert patch.body == {"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "set"}]}}


class TestHistory:
    def test_a_revision_gives_its_template_back(self) -> None:
        assert history.template_of(OLD) == make().spec.template
        with pytest.raises(ValueError, match="holds no template"):
            history.template_of(ControllerRevision(revision=1, data={"spec": 5}))

    def test_the_oldest_that_no_pod_has_go_first(self) -> None:
        all_ = [revision(make(image=f"db:{number}"), number) for number in range(6)]
        live = {all_[0].metadata.name or "", all_[5].metadata.name or ""}
        assert [each.revision for each in history.superfluous(all_, live, 2)] == [1, 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), st.integers(0, 4), st.booleans(), st.data())
def test_never_two_pods_of_one_number_and_in_the_end_all_are_new(
    first: int, then: int, ordered: bool, data: st.DataObject
) -> None:
    """From one size and template to another, with pods that become ready or fail in any order."""
    policy = {"podManagementPolicy": "OrderedReady" if ordered else "Parallel"}
    pods: list[Pod] = [pod(ordinal) for ordinal in range(first)]
    owner = make(then, image="db:2", **policy)
    current = OLD
    for step in range(200):
        decided = decide(owner, pods, current, NEW)
        for each in decided.create:
            each.metadata.uid = f"{each.metadata.name}-{step}"
            each.status.phase = "Running"
        gone = {each.metadata.uid for each in decided.delete}
        pods = [each for each in pods if each.metadata.uid not in gone] + decided.create
        assert len(names(pods)) == len(set(names(pods)))
        if ordered:
            assert len(decided.create) + len(decided.delete) <= 1
        current = NEW if decided.status.current_revision == NEW.metadata.name else OLD
        waiting = [each for each in pods if not each.status.conditions]
        for each in waiting:
            if step > 50 or data.draw(st.booleans()):
                each.status.conditions = pod(0).status.conditions
        if not decided.create and not decided.delete and not waiting:
            break
    assert sorted(names(pods)) == [f"db-{ordinal}" for ordinal in range(then)]
    assert all(identity.revision_of(each) == NEW.metadata.name for each in pods)


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
class TestStories:
    async def test_a_set_grows_rolls_and_shrinks(self) -> None:
        async with Story(StatefulSets).running() as cluster:
            await cluster.put(set_json())
            await settle()
            assert cluster.names("Pod") == ["db-0", "db-1", "db-2"]
            assert self.status(cluster)["readyReplicas"] == 3
            await self.apply(cluster, image="db:2")
            await settle(60)
            assert {each["spec"]["containers"][0]["image"] for each in cluster.all("Pod")} == {"db:2"}
            status = self.status(cluster)
            assert status["currentRevision"] == status["updateRevision"]
            assert sorted(each["revision"] for each in cluster.all("ControllerRevision")) == [1, 2]
            await self.apply(cluster)  # back
            await settle(60)
            assert sorted(each["revision"] for each in cluster.all("ControllerRevision")) == [2, 3]
            await self.apply(cluster, replicas=1)
            await settle(60)
            assert cluster.names("Pod") == ["db-0"]

    async def test_a_lost_pod_comes_again_under_its_name(self) -> None:
        async with Story(StatefulSets).running() as cluster:
            await cluster.put(set_json(2))
            await settle()
            before = cluster.find("Pod", "db-0")["metadata"]["uid"]
            place = next(place for place in cluster.stored if place[1].name == "db-0")
            await cluster._delete(place, {"grace_seconds": 0})
            await settle()
            assert cluster.names("Pod") == ["db-0", "db-1"]
            assert cluster.find("Pod", "db-0")["metadata"]["uid"] != before

    async def test_old_revisions_go(self) -> None:
        async with Story(StatefulSets).running() as cluster:
            await cluster.put(set_json(1, revisionHistoryLimit=2))
            for number in range(2, 8):
                await settle()
                await self.apply(cluster, replicas=1, image=f"db:{number}", revisionHistoryLimit=2)
            await settle()
            assert len(cluster.all("ControllerRevision")) == 3

    @staticmethod
    def status(cluster: FakeCluster) -> Json:
        found: Json = cluster.find("StatefulSet", "db")["status"]
        return found

    @staticmethod
    async def apply(cluster: FakeCluster, **parts: Any) -> None:
        await cluster.change("StatefulSet", "db", spec=set_json(**{"replicas": 3, **parts})["spec"])


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
async def test_a_pod_whose_deletion_met_a_conflict_is_not_waited_for_but_deleted_again() -> None:
    async with Story(StatefulSets).running() as cluster:
        await cluster.put(set_json(2))
        await settle()
        refused = []

        async def refuse_once(model: Any, name: str, **options: Any) -> Json:
            cluster.delete = real
            refused.append(name)
            raise conflict("pods", name, "somebody else was faster")

        real, cluster.delete = cluster.delete, refuse_once
        await cluster.change("StatefulSet", "db", spec=set_json(1)["spec"])
        await settle()
        assert refused == ["db-1"]
        assert cluster.names("Pod") == ["db-0"]
