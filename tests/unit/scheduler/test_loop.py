"""The life of pods in the scheduler: told by informers, decided, written, and what happens when writing fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod
from hypernetes.api.models.policy_v1 import PodDisruptionBudget
from hypernetes.api.models.storage_v1 import StorageClass
from hypernetes.api.volumes.names import BIND_COMPLETED, SELECTED_NODE, SOURCE_NODE, class_index, class_name
from hypernetes.client import Key
from hypernetes.scheduler.binder import Decision, Outcome
from hypernetes.scheduler.loop import BYTES_FREE, Scheduler
from hypernetes.scheduler.volumes import Volumes
from tests.unit.scheduler.making import key, node, pod

pytestmark = pytest.mark.looptime


class Cache:
    """What an informer is asked."""

    def __init__(self) -> None:
        self._there: dict[Key, Any] = {}

    def put(self, at: Key, new: Any) -> Any:
        old = self._there.get(at)
        self._there[at] = new
        return old

    def get(self, at: Key) -> Any:
        return self._there.get(at)

    def by_index(self, index: str, value: str) -> list[Any]:
        assert index == "class"
        return [each for at, each in self._there.items() if class_index(at.tenant, class_name(each)) == value]


class World:
    """The API server as the scheduler sees it: pods and nodes, and what it wrote."""

    def __init__(self) -> None:
        self.pods: dict[Key, Pod] = {}
        self.nodes: dict[str, Node] = {}
        self.bound: list[tuple[str, str]] = []
        self.said: list[tuple[str, str]] = []
        self.outcomes: list[Outcome] = []  # of the next bindings; BOUND when empty
        self.tells = True  # whether a binding shows in the informer
        self.claims, self.volumes, self.classes = Cache(), Cache(), Cache()
        self.chosen: list[tuple[str, str]] = []  # (claim, node or volume)
        self.choosing = True  # whether choices can be written
        caches: Any = (self.claims, self.volumes, self.classes)
        self.budgets: list[PodDisruptionBudget] = []
        self.preempted: list[tuple[str, str]] = []  # (victim, node)
        self.ends = True  # whether victims can be told to go
        self.scheduler = Scheduler(self.pods.get, self, Volumes(*caches), lambda *_: self.budgets)

    async def bind(self, decision: Decision) -> Outcome:
        await asyncio.sleep(0.01)
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome.BOUND
        self.bound.append((decision.key.name, decision.node))
        if outcome is Outcome.BOUND and self.tells:
            await asyncio.sleep(0.01)
            self.change(decision.key, _on(decision.pod, decision.node))
        return outcome

    async def choose(self, decision: Decision) -> bool:
        await asyncio.sleep(0.01)
        if not self.choosing:
            return False
        for choice in decision.choices:
            if choice.volume is not None:
                self.chosen.append((choice.claim.metadata.name or "", choice.volume.metadata.name or ""))
                self.change_volume(choice.volume)
            else:
                self.chosen.append((choice.claim.metadata.name or "", choice.node))
                claim = choice.claim.model_copy(deep=True)
                claim.metadata.annotations[SELECTED_NODE] = choice.node
                self.change_claim(claim)
        return True

    def change_claim(self, new: PersistentVolumeClaim) -> None:
        at = key(new.metadata.name or "")
        old = self.claims.put(at, new)
        self.scheduler.claim_changed(at, old, new)

    def change_volume(self, new: PersistentVolume) -> None:
        at = Key("acme", "", new.metadata.name or "")
        old = self.volumes.put(at, new)
        self.scheduler.volume_changed(at, old, new)

    def bind_claim(self, name: str, volume: PersistentVolume) -> None:
        """What the binder and the provisioner do."""
        self.change_volume(volume)
        claim = self.claims.get(key(name)).model_copy(deep=True)
        claim.spec.volume_name = volume.metadata.name
        claim.metadata.annotations[BIND_COMPLETED] = "yes"
        claim.status.phase = "Bound"
        self.change_claim(claim)

    async def preempt(self, decision: Decision) -> bool:
        await asyncio.sleep(0.01)
        for victim, there in decision.victims if self.ends else ():
            self.preempted.append((victim.name, decision.node))
            value = there.to_dict()
            value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.change(victim, Pod.from_dict(value))
        return self.ends

    async def explain(self, key: Key, pod: Pod, message: str) -> bool:
        self.said.append((key.name, message))
        condition = {"type": "PodScheduled", "status": "False", "message": message}
        self.change(key, Pod.from_dict({**pod.to_dict(), "status": {"conditions": [condition]}}))
        return True

    def change(self, at: Key, new: Pod | None) -> None:
        old = self.pods.pop(at, None)
        if new is not None:
            self.pods[at] = new
        self.scheduler.pod_changed(at, old, new)

    def change_node(self, name: str, new: Node | None) -> None:
        old = self.nodes.pop(name, None)
        if new is not None:
            self.nodes[name] = new
        self.scheduler.node_changed(Key("system", "", name), old, new)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(600):  # virtual seconds
            while not condition():
                await asyncio.sleep(0.05)


def _on(each: Pod, name: str) -> Pod:
    value = each.to_dict()
    return Pod.from_dict({**value, "spec": {**value["spec"], "nodeName": name}})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    running = asyncio.ensure_future(world.scheduler.run())
    yield world
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_pod_is_bound_to_the_node_that_fits(world: World) -> None:
    world.change_node("n1", node("n1", cpu="1"))
    world.change_node("n2", node("n2", cpu="4"))
    world.change(key(), pod(cpu="2"))
    await world.until(lambda: bool(world.bound))
    assert world.bound == [("p", "n2")]


async def test_a_node_is_never_overcommitted_by_decisions_in_flight(world: World) -> None:
    world.change_node("n1", node("n1", cpu="3"))
    for n in range(5):
        world.change(key(str(n)), pod(str(n), cpu="1"))
    await world.until(lambda: len(world.bound) == 3 and len(world.said) == 2)
    assert {message for _, message in world.said} == {"0/1 nodes are available: 1 Insufficient cpu."}
    world.change(key("0"), None)
    await world.until(lambda: len(world.bound) == 4)


async def test_the_reason_is_said_once_and_again_when_it_changes(world: World) -> None:
    world.change(key(), pod(cpu="2"))
    await world.until(lambda: len(world.said) == 1)
    for n in range(5):
        world.change_node("n1", node("n1", cpu="1", labels={"beat": str(n)}))
        await asyncio.sleep(20)
    assert [message for _, message in world.said] == [
        "no nodes available to schedule pods",
        "0/1 nodes are available: 1 Insufficient cpu.",
    ]
    world.change_node("n1", node("n1", cpu="2"))
    await world.until(lambda: bool(world.bound))


async def test_a_finished_pod_makes_room_and_a_terminating_one_does_not(world: World) -> None:
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("old"), _on(pod("old", cpu="1"), "n1"))
    world.change(key("new"), pod("new", cpu="1"))
    await world.until(lambda: bool(world.said))
    value = _on(pod("old", cpu="1"), "n1").to_dict()
    value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.change(key("old"), Pod.from_dict(value))
    await asyncio.sleep(30)
    assert world.bound == []
    world.change(key("old"), Pod.from_dict({**value, "status": {"phase": "Succeeded"}}))
    await world.until(lambda: bool(world.bound))
    assert world.bound == [("new", "n1")]


@pytest.mark.parametrize("spec", [{"schedulerName": "other"}, {"schedulingGates": [{"name": "quota"}]}])
async def test_pods_of_others_and_gated_ones_are_left_alone(world: World, spec: dict[str, object]) -> None:
    world.change_node("n1", node("n1"))
    world.change(key(), pod(**spec))
    await asyncio.sleep(60)
    assert (world.bound, world.said) == ([], [])
    world.change(key(), pod())
    await world.until(lambda: bool(world.bound))


async def test_a_terminating_pod_is_left_alone(world: World) -> None:
    world.change(key(), pod())
    await world.until(lambda: bool(world.said))
    value = pod().to_dict()
    value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.change(key(), Pod.from_dict(value))
    world.change_node("n1", node("n1"))
    await asyncio.sleep(60)
    assert world.bound == []


async def test_a_refused_binding_is_tried_again_and_its_room_is_free_meanwhile(world: World) -> None:
    world.outcomes = [Outcome.REFUSED]
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await world.until(lambda: len(world.bound) == 1)
    world.change(key("b"), pod("b", cpu="1"))
    await world.until(lambda: len(world.bound) == 2)
    assert world.bound == [("a", "n1"), ("b", "n1")]
    world.change(key("b"), None)
    await world.until(lambda: len(world.bound) == 3)
    assert world.bound[-1] == ("a", "n1")


async def test_a_pod_bound_meanwhile_counts_where_it_is(world: World) -> None:
    world.outcomes = [Outcome.OBSOLETE]
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await world.until(lambda: len(world.bound) == 1)
    world.change(key("a"), _on(world.pods[key("a")], "n1"))
    world.change(key("b"), pod("b", cpu="1"))
    await world.until(lambda: bool(world.said))
    assert len(world.bound) == 1


async def test_a_binding_that_is_never_seen_is_made_again(world: World) -> None:
    world.tells = False
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await world.until(lambda: len(world.bound) == 1)
    world.change(key("b"), pod("b", cpu="1"))
    await world.until(lambda: bool(world.said))  # a still counts
    world.change(key("b"), None)
    world.tells = True
    await world.until(lambda: len(world.bound) == 2)
    assert world.bound == [("a", "n1"), ("a", "n1")]


async def test_a_binding_with_unknown_outcome_keeps_its_room(world: World) -> None:
    world.outcomes = [Outcome.UNKNOWN]
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await world.until(lambda: len(world.bound) == 1)
    world.change(key("a"), _on(world.pods[key("a")], "n1"))
    await asyncio.sleep(120)
    assert world.bound == [("a", "n1")]


async def test_a_pod_created_again_under_its_name_is_another_pod(world: World) -> None:
    world.outcomes = [Outcome.OBSOLETE]
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key(), pod(cpu="1", uid="one"))
    await asyncio.sleep(0.005)  # its binding is on its way
    world.change(key(), pod(cpu="1", uid="two"))
    await world.until(lambda: len(world.bound) == 2 and world.pods[key()].spec.node_name == "n1")
    assert world.pods[key()].metadata.uid == "two"
    await asyncio.sleep(120)
    assert len(world.bound) == 2


async def test_a_pod_deleted_while_it_is_bound_is_forgotten(world: World) -> None:
    world.tells = False
    world.change_node("n1", node("n1", cpu="1"))
    world.change(key("a"), pod("a", cpu="1"))
    await asyncio.sleep(0.005)
    world.change(key("a"), None)
    world.change(key("b"), pod("b", cpu="1"))
    await world.until(lambda: len(world.bound) == 2)
    assert world.bound[-1] == ("b", "n1")


async def test_a_node_that_says_nonsense_is_not_used(world: World) -> None:
    world.change_node("n1", node("n1", cpu="many"))
    world.change(key(), pod())
    await world.until(lambda: bool(world.said))
    assert world.said == [("p", "no nodes available to schedule pods")]


async def test_many_pods_are_all_placed(world: World) -> None:
    for n in range(20):
        world.change_node(f"n{n}", node(f"n{n}", cpu="10"))
    for n in range(200):
        world.change(key(str(n), tenant=f"t{n % 7}"), pod(str(n), cpu="1"))
    await world.until(lambda: len(world.bound) == 200)
    counts = [sum(on == f"n{n}" for _, on in world.bound) for n in range(20)]
    assert counts == [10] * 20
    assert world.said == []


# Volumes

CLAIMED: dict[str, Any] = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}


def claim(name: str = "data", cls: str = "wait", mode: str = "ReadWriteOnce", **more: Any) -> PersistentVolumeClaim:
    spec = {
        "accessModes": [mode], "storageClassName": cls, "resources": {"requests": {"storage": "1Gi"}}, **more,
    }  # fmt: skip
    return PersistentVolumeClaim.from_dict({"metadata": {"name": name, "namespace": "web", "uid": name}, "spec": spec})


def volume(name: str, cls: str = "wait", on: str = "", **spec: Any) -> PersistentVolume:
    rules = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [on]}]}]
    where = {"nodeAffinity": {"required": {"nodeSelectorTerms": rules}}} if on else {}
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": cls, "capacity": {"storage": "1Gi"}}
    return PersistentVolume.from_dict({"metadata": {"name": name}, "spec": {**common, **where, **spec}})


def classes(world: World) -> None:
    for name, mode, provisioner in (
        ("wait", "WaitForFirstConsumer", "local.hypernetes.io"), ("now", "Immediate", "d"),
        ("static", "WaitForFirstConsumer", "kubernetes.io/no-provisioner"),
    ):  # fmt: skip
        body = {"metadata": {"name": name}, "volumeBindingMode": mode, "provisioner": provisioner}
        world.classes.put(Key("system", "", name), StorageClass.from_dict(body))


def named(name: str, free: str = "", **more: Any) -> Node:
    made = node(name, labels={"kubernetes.io/hostname": name}, **more)
    if free:
        made.metadata.annotations[BYTES_FREE] = free
    return made


async def test_a_pod_chooses_the_node_of_its_volume_and_waits_until_it_is_made(world: World) -> None:
    classes(world)
    world.change_node("n1", named("n1", free=str(1 << 20)))
    world.change_node("n2", named("n2", free=str(2 << 30)))
    world.change_claim(claim())
    world.change(key(), pod(cpu="1", **CLAIMED))
    await world.until(lambda: bool(world.chosen))
    assert world.chosen == [("data", "n2")], "n1 has no room for it"
    await asyncio.sleep(400)
    assert world.bound == []
    world.change(key("greedy"), pod("greedy", cpu="4", nodeSelector={"kubernetes.io/hostname": "n2"}))
    await world.until(lambda: bool(world.said))
    assert "Insufficient cpu" in world.said[0][1], "the pod that waits keeps its place"
    world.bind_claim("data", volume("pv", on="n2"))
    await world.until(lambda: bool(world.bound))
    assert world.bound == [("p", "n2")]


async def test_a_pod_that_goes_before_its_volume_is_made_gives_its_place_back(world: World) -> None:
    classes(world)
    world.change_node("n1", named("n1"))
    world.change_claim(claim())
    world.change(key(), pod(cpu="3", **CLAIMED))
    await world.until(lambda: bool(world.chosen))
    world.change(key("other"), pod("other", cpu="3"))
    await world.until(lambda: bool(world.said))
    world.change(key(), None)
    await world.until(lambda: world.bound == [("other", "n1")])
    assert asyncio.get_running_loop().time() < 60, "at once, and not when it would be looked at anyway"


async def test_a_node_without_room_is_not_chosen_until_it_has_some(world: World) -> None:
    classes(world)
    world.change_node("n1", named("n1", free=str(1 << 20)))
    world.change_claim(claim())
    world.change(key(), pod(**CLAIMED))
    await world.until(lambda: bool(world.said))
    assert world.said == [("p", "0/1 nodes are available: 1 node(s) did not have enough free storage.")]
    world.change_node("n1", named("n1", free=str(1 << 31)))
    await world.until(lambda: world.chosen == [("data", "n1")])


async def test_a_claim_that_is_given_back_is_decided_again_with_patience(world: World) -> None:
    classes(world)
    world.change_node("n1", named("n1"))
    world.change_claim(claim())
    world.change(key(), pod(**CLAIMED))
    loop = asyncio.get_running_loop()
    for count in range(1, 6):
        await world.until(lambda: len(world.chosen) == count)  # noqa: B023
        world.change_claim(claim())
    assert loop.time() > 4, "not as fast as it goes"


async def test_a_free_volume_comes_before_one_that_is_made(world: World) -> None:
    classes(world)
    for name in ("n1", "n2", "n3"):
        world.change_node(name, named(name))
    world.change_volume(volume("there", cls="static", on="n2"))
    world.change_volume(volume("small", cls="static", on="n1", capacity={"storage": "1Mi"}))
    world.change_claim(claim(cls="static"))
    world.change(key(), pod(**CLAIMED))
    await world.until(lambda: bool(world.chosen))
    assert world.chosen == [("data", "there")]
    reference = world.volumes.get(Key("acme", "", "there")).spec.claim_ref
    assert (reference.namespace, reference.name, reference.uid) == ("web", "data", "data")
    world.bind_claim("data", world.volumes.get(Key("acme", "", "there")))
    await world.until(lambda: world.bound == [("p", "n2")])


async def test_a_copy_is_made_where_its_source_is(world: World) -> None:
    classes(world)
    for name in ("n1", "n2", "n3"):
        world.change_node(name, named(name))
    copy = claim()
    copy.metadata.annotations[SOURCE_NODE] = "n3"
    world.change_claim(copy)
    world.change(key(), pod(**CLAIMED))
    await world.until(lambda: world.chosen == [("data", "n3")])


async def test_choices_that_cannot_be_written_are_made_again(world: World) -> None:
    classes(world)
    world.change_node("n1", named("n1"))
    world.change_claim(claim())
    world.choosing = False
    world.change(key(), pod(**CLAIMED))
    await asyncio.sleep(5)
    world.choosing = True
    await world.until(lambda: world.chosen == [("data", "n1")])


async def test_a_bound_volume_says_where_its_pod_goes(world: World) -> None:
    classes(world)
    world.change_node("n1", named("n1"))
    world.change_node("n2", named("n2"))
    world.change_claim(claim())
    world.bind_claim("data", volume("pv", on="n2"))
    world.change(key(), pod(**CLAIMED))
    await world.until(lambda: world.bound == [("p", "n2")])
    world.change_claim(claim("other"))
    world.bind_claim("other", volume("far", on="n9"))
    spec: dict[str, Any] = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "other"}}]}
    world.change(key("q"), pod("q", **spec))
    await world.until(lambda: bool(world.said))
    assert world.said == [("q", "0/2 nodes are available: 2 node(s) had volume node affinity conflict.")]


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (None, 'persistentvolumeclaim "data" not found'),
        (claim(cls="now"), "pod has unbound immediate PersistentVolumeClaims"),
        (claim(cls="nowhere"), "pod has unbound immediate PersistentVolumeClaims"),
        (claim(volumeName="gone"), "pod has unbound immediate PersistentVolumeClaims"),
    ],
)
async def test_a_pod_waits_for_its_claim(world: World, there: PersistentVolumeClaim | None, why: str) -> None:
    classes(world)
    world.change_node("n1", named("n1"))
    if there is not None:
        world.change_claim(there)
    world.change(key(), pod(**CLAIMED))
    await world.until(lambda: bool(world.said))
    assert world.said == [("p", f"0/1 nodes are available: {why}.")]
    world.change_claim(claim())
    world.bind_claim("data", volume("pv"))
    await world.until(lambda: world.bound == [("p", "n1")])


async def test_a_claim_for_one_pod_has_one_pod(world: World) -> None:
    classes(world)
    world.change_node("n1", named("n1"))
    world.change_claim(claim(mode="ReadWriteOncePod"))
    world.bind_claim("data", volume("pv", accessModes=["ReadWriteOncePod"]))
    world.change(key(), pod(**CLAIMED))
    await world.until(lambda: world.bound == [("p", "n1")])
    world.change(key("q"), pod("q", **CLAIMED))
    await world.until(lambda: bool(world.said))
    assert "ReadWriteOncePod" in world.said[0][1]
    world.change(key(), None)
    await world.until(lambda: world.bound[1:] == [("q", "n1")])


async def test_a_node_takes_as_many_volumes_as_it_says(world: World) -> None:
    classes(world)
    world.change_node("n1", named("n1", resources={"attachable-volumes-csi-d": "1"}))
    for name in ("a", "b"):
        world.change_claim(claim(name))
        world.bind_claim(name, volume(f"pv-{name}", csi={"driver": "d", "volumeHandle": name}))
        spec: dict[str, Any] = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]}
        world.change(key(name), pod(name, **spec))
    await world.until(lambda: bool(world.said))
    assert world.said == [("b", "0/1 nodes are available: 1 node(s) exceed max volume count.")]
    world.change_node("n2", named("n2"))
    await world.until(lambda: world.bound == [("a", "n1"), ("b", "n2")])


# Other pods


def beside(app: str, kind: str = "podAffinity") -> dict[str, Any]:
    term = {"topologyKey": "host", "labelSelector": {"matchLabels": {"app": app}}}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def labelled(name: str, app: str, **spec: Any) -> Pod:
    value = pod(name, **spec).to_dict()
    value["metadata"]["labels"] = {"app": app}
    return Pod.from_dict(value)


def hosts(world: World, *names: str, **more: Any) -> None:
    for name in names:
        world.change_node(name, node(name, labels={"host": name}, **more))


async def test_a_pod_waits_for_the_one_that_it_wants_to_be_with(world: World) -> None:
    hosts(world, "n1", "n2", "n3")
    world.change(key("p"), labelled("p", "web", **beside("db")))
    await world.until(lambda: bool(world.said))
    assert world.said == [("p", "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.")]
    world.change(key("db", "globex"), _on(labelled("db", "db"), "n3"))
    await asyncio.sleep(30)
    assert world.bound == []  # another tenant's is none
    world.change(key("db"), _on(labelled("db", "db"), "n2"))
    await world.until(lambda: bool(world.bound))
    assert world.bound == [("p", "n2")]


async def test_decisions_in_flight_keep_apart_and_who_goes_makes_room(world: World) -> None:
    hosts(world, "n1", "n2")
    for name in ("a", "b", "c"):
        world.change(key(name), labelled(name, "web", **beside("web", "podAntiAffinity")))
    await world.until(lambda: len(world.bound) == 2 and bool(world.said))
    assert {on for _, on in world.bound} == {"n1", "n2"}
    name, on = world.bound[0]
    world.change(key(name), None)
    await world.until(lambda: len(world.bound) == 3)
    assert world.bound[2][1] == on


async def test_a_namespace_that_is_labelled_makes_its_pods_meant(world: World) -> None:
    hosts(world, "n1", "n2")
    world.change(key("db"), _on(labelled("db", "db"), "n2"))
    near = beside("db")
    term = near["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    term["namespaceSelector"] = {"matchLabels": {"team": "x"}}
    world.change(key("p"), labelled("p", "web", **near))
    await world.until(lambda: bool(world.said))
    spaces = [Namespace.from_dict({"metadata": {"name": "web", "labels": each}}) for each in ({}, {"team": "x"})]
    world.scheduler.namespace_changed(Key("acme", "", "web"), None, spaces[0])
    await asyncio.sleep(20)
    assert world.bound == []
    world.scheduler.namespace_changed(Key("acme", "", "web"), *spaces)
    await world.until(lambda: bool(world.bound))
    assert world.bound == [("p", "n2")]


# Preemption


def running(world: World, name: str, on: str, priority: int, tenant: str = "acme", **spec: Any) -> None:
    each = labelled(name, name, **{"cpu": "1", "priority": priority, **spec})
    world.change(key(name, tenant), _on(each, on))


async def test_a_pod_takes_the_place_of_one_of_lower_priority_and_nobody_comes_in_between(world: World) -> None:
    world.change_node("n1", node("n1", cpu="2"))
    running(world, "low", "n1", 1)
    running(world, "same", "n1", 10)
    world.change(key("high"), pod("high", cpu="1", priority=10))
    await world.until(lambda: bool(world.preempted))
    assert world.preempted == [("low", "n1")]
    assert world.said == [("high", "0/1 nodes are available: 1 Insufficient cpu.")]
    world.change(key("other", "globex"), pod("other", cpu="1"))
    await asyncio.sleep(60)
    assert (world.bound, len(world.preempted)) == ([], 1)  # it goes already: nobody else is told to
    world.change(key("low"), None)
    await world.until(lambda: bool(world.bound))
    await asyncio.sleep(30)
    assert world.bound == [("high", "n1")]


@pytest.mark.parametrize(
    "spec", [{"priority": 1}, {"priority": 10, "preemptionPolicy": "Never"}, {"priority": 10, "cpu": "3"},
             {"priority": 10, "nodeSelector": {"disk": "none"}}],
)  # fmt: skip
async def test_nobody_goes_for_a_pod_that_may_not_or_that_it_would_not_help(world: World, spec: dict[str, Any]) -> None:
    world.change_node("n1", node("n1", cpu="2"))
    running(world, "a", "n1", 1)
    running(world, "b", "n1", 1)
    world.change(key("p"), pod("p", **{"cpu": "1", **spec}))
    await world.until(lambda: bool(world.said))
    await asyncio.sleep(60)
    assert (world.preempted, world.bound) == ([], [])


async def test_another_tenants_pods_stay_whatever_their_priority(world: World) -> None:
    world.change_node("n1", node("n1", cpu="1"))
    running(world, "theirs", "n1", 0, "globex")
    world.change(key("high"), pod("high", cpu="1", priority=1_000_000))
    await asyncio.sleep(60)
    assert (world.preempted, world.bound) == ([], [])


async def test_as_little_as_can_be_is_lost(world: World) -> None:
    for name, cpu in (("n1", "3"), ("n2", "2"), ("n3", "1")):
        world.change_node(name, node(name, cpu=cpu))
    for name, on, priority in (("a", "n1", 3), ("b", "n1", 1), ("c", "n1", 2), ("d", "n2", 1), ("e", "n2", 1)):
        running(world, name, on, priority)
    running(world, "f", "n3", 9)
    world.change(key("high"), pod("high", cpu="2", priority=10))
    await world.until(lambda: len(world.preempted) == 2)
    assert set(world.preempted) == {("d", "n2"), ("e", "n2")}


async def test_those_that_a_budget_protects_go_last(world: World) -> None:
    world.change_node("n1", node("n1", cpu="1"))
    world.change_node("n2", node("n2", cpu="1"))
    running(world, "kept", "n1", 1)
    running(world, "free", "n2", 5)
    budget = {"metadata": {"name": "b", "namespace": "web"}, "spec": {"selector": {"matchLabels": {"app": "kept"}}}}
    world.budgets.append(PodDisruptionBudget.from_dict({**budget, "status": {"disruptionsAllowed": 0}}))
    world.change(key("high"), pod("high", cpu="1", priority=10))
    await world.until(lambda: bool(world.preempted))
    assert world.preempted == [("free", "n2")]


async def test_a_victim_that_cannot_be_told_is_tried_again(world: World) -> None:
    world.change_node("n1", node("n1", cpu="1"))
    running(world, "low", "n1", 1)
    world.ends = False
    world.change(key("high"), pod("high", cpu="1", priority=10))
    await asyncio.sleep(10)
    world.ends = True
    await world.until(lambda: bool(world.preempted))
    world.change(key("low"), None)
    await world.until(lambda: bool(world.bound))


async def test_who_keeps_a_pod_away_gives_way_to_it(world: World) -> None:
    hosts(world, "n1")
    running(world, "low", "n1", 1)
    running(world, "friend", "n1", 1)
    world.change(key("high"), labelled("high", "high", priority=10, **beside("low", "podAntiAffinity")))
    await world.until(lambda: bool(world.preempted))
    assert world.preempted == [("low", "n1")]
