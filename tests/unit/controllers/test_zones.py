"""At which pace lost nodes are emptied: the documentation's table, and whole controllers in virtual time."""

import math

import pytest

from hypernetes.api import times
from hypernetes.controllers.evictions import Evictions
from hypernetes.controllers.nodelifecycle import NodeLifecycle
from hypernetes.controllers.zones import Census, Pace, Rates, State, Zone
from tests.unit.controllers.fake_cluster import FakeCluster, Json, Story, ready, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

RATES = Rates()
EAST, WEST = ("r", "east"), ("r", "west")


@pytest.mark.parametrize(
    ("up", "lost", "state", "rate"),
    [
        (10, 0, State.NORMAL, 0.1),
        (10, 4, State.NORMAL, 0.1),
        (0, 0, State.NORMAL, 0.1),
        (1, 2, State.NORMAL, 0.1),  # two are no disruption, whatever share they are
        (9, 11, State.PARTIAL, 0.0),  # 55 % of a small zone
        (10, 11, State.NORMAL, 0.1),  # 52 %
        (20, 31, State.PARTIAL, 0.01),  # of a large one
        (20, 30, State.PARTIAL, 0.0),  # 50 nodes aren't large yet
        (0, 1, State.FULL, 0.1),
        (0, 60, State.FULL, 0.1),
    ],
)
def test_a_zones_state_and_rate(up: int, lost: int, state: State, rate: float) -> None:
    zone = Zone(up, lost)
    assert (zone.state(RATES), zone.rate(RATES)) == (state, rate)


def test_the_census_follows_nodes_that_come_go_and_move() -> None:
    census = Census()
    assert census.all_lost, "no node at all"
    census.put("a", EAST, True)
    census.put("b", WEST, False)
    assert (census.rate(EAST, RATES), census.rate(WEST, RATES)) == (0.1, 0.1)
    census.put("a", EAST, False)
    assert census.all_lost
    assert census.rate(WEST, RATES) == 0, "then we are cut off rather than they lost"
    census.put("b", EAST, True)
    census.remove("a")
    assert not census.all_lost
    census.remove("b")
    census.remove("b")
    assert census.all_lost


def test_turns_of_one_zone_dont_hold_up_another() -> None:
    pace = Pace()
    assert pace.wait(EAST, 0.1, now=5) == 0
    former = pace.take(EAST, 5)
    assert pace.wait(EAST, 0.1, now=7) == 8
    assert pace.wait(EAST, 0.0, now=7) == math.inf
    assert pace.wait(WEST, 0.1, now=7) == 0
    pace.give_back(EAST, former)
    assert pace.wait(EAST, 0.1, now=7) == 0


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
class TestStories:
    @staticmethod
    async def nodes(cluster: FakeCluster, zone: str, *names: str) -> None:
        labels = {"topology.kubernetes.io/zone": zone}
        for name in names:
            conditions = [{**ready(), "lastHeartbeatTime": times.format_time(times.now())}]
            metadata = {"name": name, "labels": labels}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"conditions": conditions}}
            await cluster.put(node, "system")
            metadata = {"name": name, "namespace": "kube-node-lease"}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}
            await cluster.put(lease, "system")

    @staticmethod
    async def beat(cluster: FakeCluster, seconds: int, *names: str) -> None:
        """The others are silent."""
        for _ in range(seconds // 5):
            for name in names:
                await cluster.change("Lease", name, "system", spec={"renewTime": times.format_micro_time(times.now())})
            await settle(5)

    @staticmethod
    def tainted(cluster: FakeCluster, effect: str) -> set[str]:
        return {
            node["metadata"]["name"]
            for node in cluster.all("Node", "system")
            for taint in node.get("spec", {}).get("taints", ())
            if taint["effect"] == effect
        }

    async def test_lost_nodes_of_a_zone_are_emptied_one_every_ten_seconds(self) -> None:
        async with Story(NodeLifecycle).running() as cluster:
            up, lost = [f"up-{number}" for number in range(5)], [f"lost-{number}" for number in range(3)]
            await self.nodes(cluster, "east", *up, *lost)
            await self.beat(cluster, 50, *up)
            assert self.tainted(cluster, "NoSchedule") == set(lost), "nothing new goes there, at once"
            first = self.tainted(cluster, "NoExecute")
            assert len(first) == 1
            await self.beat(cluster, 10, *up)
            second = self.tainted(cluster, "NoExecute")
            assert (len(second), first < second) == (2, True)
            await self.beat(cluster, 15, *up)
            assert self.tainted(cluster, "NoExecute") == set(lost)

    async def test_a_zone_of_which_most_is_lost_is_left_alone_and_a_whole_one_is_emptied(self) -> None:
        async with Story(NodeLifecycle).running() as cluster:
            await self.nodes(cluster, "east", "e1", "e2", "e3", "e4")
            await self.nodes(cluster, "west", "w1")
            await self.beat(cluster, 120, "e1")
            assert self.tainted(cluster, "NoSchedule") == {"e2", "e3", "e4", "w1"}
            assert self.tainted(cluster, "NoExecute") == {"w1"}, "e2 to e4 are most of a small zone"

    async def test_when_all_are_lost_nobody_is_to_leave_until_one_is_heard_of(self) -> None:
        async with Story(NodeLifecycle).running() as cluster:
            await self.nodes(cluster, "east", "e1", "e2")
            await self.nodes(cluster, "west", "w1")
            await self.beat(cluster, 60, "e1", "e2")
            assert self.tainted(cluster, "NoExecute") == {"w1"}
            await settle(60)
            assert self.tainted(cluster, "NoSchedule") == {"e1", "e2", "w1"}
            assert self.tainted(cluster, "NoExecute") == set(), "w1's too is taken back"
            status = {"conditions": [{**ready(), "lastHeartbeatTime": times.format_time(times.now())}]}
            await cluster.change("Node", "e1", "system", status=status)
            await self.beat(cluster, 20, "e1")
            assert self.tainted(cluster, "NoExecute") == {"e2", "w1"}

    async def test_what_is_out_of_service_lets_its_pods_go_without_a_word_from_its_agent(self) -> None:
        case = Story(NodeLifecycle, Evictions)
        case.kubelet.stopped = True
        async with case.running() as cluster:
            await self.nodes(cluster, "east", "n1", "n2")
            for name in ("a", "b"):
                await cluster.put(self.pod(name, "n1"))
            await self.beat(cluster, 10, "n2", "n1")
            taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
            await cluster.change("Node", "n1", "system", spec={"taints": [taint]})
            await self.beat(cluster, 10, "n2", "n1")
            told = cluster.find("Pod", "a")
            assert "deletionTimestamp" in told["metadata"], "it doesn't tolerate the taint"
            assert [
                entry["reason"] for entry in told["status"]["conditions"] if entry["type"] == "DisruptionTarget"
            ] == ["DeletionByTaintManager"]
            assert cluster.names("Pod") == ["a", "b"], "the agent still answers, and will say when they have ended"
            await self.beat(cluster, 60, "n2")
            assert cluster.names("Pod") == []

    @staticmethod
    def pod(name: str, node: str) -> Json:
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "x"}]}
        metadata = {"name": name, "namespace": "prod"}
        return {
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Running"},
        }  # fmt: skip
