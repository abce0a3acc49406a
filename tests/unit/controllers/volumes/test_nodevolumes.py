"""What drivers that keep volumes on nodes are told of the API."""

import asyncio
from typing import Any

import pytest

from hypernetes.api.models.hypernetes_v1 import NodeVolume
from hypernetes.api.status import conflict
from hypernetes.controllers.volumes.nodevolumes import NodeVolumeObjects
from hypernetes.providers.volume.base import Unavailable
from tests.unit.controllers.fake_cluster import FakeCluster
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("virtual_clock")]


def made(name: str = "v") -> NodeVolume:
    body = {
        "metadata": {"name": name, "finalizers": ["hypernetes.io/node-volume"]},
        "spec": {"nodeName": "n1", "size": "1Gi"},
    }
    return NodeVolume.from_dict(body)


def objects(cluster: FakeCluster) -> NodeVolumeObjects:
    client: Any = cluster
    return NodeVolumeObjects(client)


async def test_one_that_is_there_is_the_answer_to_making_it() -> None:
    there = objects(FakeCluster())
    first = await there.create("acme", made())
    again = await there.create("acme", made())
    assert again.metadata.uid == first.metadata.uid
    assert await there.get("globex", "v") is None


async def test_it_is_settled_when_its_node_has_caught_up() -> None:
    cluster = FakeCluster()
    there = objects(cluster)
    await there.create("acme", made())
    waiting = asyncio.ensure_future(there.settled("acme", "v", 20))
    await asyncio.sleep(5)
    assert not waiting.done()
    await cluster.change("NodeVolume", "v", status={"phase": "Ready", "observedGeneration": 1})
    found = await waiting
    assert found is not None
    assert found.status.phase == "Ready"


async def test_who_waits_too_long_is_told_how_it_stands() -> None:
    there = objects(FakeCluster())
    await there.create("acme", made())
    found = await there.settled("acme", "v", 3)
    assert found is not None
    assert found.status.phase is None
    assert asyncio.get_running_loop().time() == pytest.approx(3, abs=1.1)


async def test_one_that_ends_is_settled_when_it_is_gone() -> None:
    cluster = FakeCluster()
    there = objects(cluster)
    await there.create("acme", made())
    await there.delete("acme", "v")
    await there.delete("acme", "other")
    waiting = asyncio.ensure_future(there.settled("acme", "v", 20))
    await asyncio.sleep(1)
    assert not waiting.done()
    found = cluster.find("NodeVolume", "v")
    await cluster.change("NodeVolume", "v", metadata={**found["metadata"], "finalizers": []})
    assert await waiting is None


async def test_a_change_that_comes_too_late_is_to_be_made_again() -> None:
    cluster = FakeCluster()
    there = objects(cluster)
    first = await there.create("acme", made())

    def refuse(*_: Any) -> None:
        raise conflict("nodevolumes.hypernetes.io", "v", "modified")

    cluster.refuse = refuse
    with pytest.raises(Unavailable):
        await there.create("acme", made("other"))
    cluster.refuse = lambda *_: None
    await cluster.change("NodeVolume", "v", spec={"nodeName": "n1", "size": "2Gi"})
    first.spec.size = "3Gi"
    with pytest.raises(Unavailable):
        await there.update("acme", first)


async def test_nodes_say_what_they_have_left_and_where_they_are() -> None:
    cluster = FakeCluster()
    metadata = {
        "name": "n1", "annotations": {"hypernetes.io/volume-bytes-free": "1000"},
        "labels": {"topology.kubernetes.io/zone": "a"},
    }  # fmt: skip
    await cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": metadata}, "system")
    there = objects(cluster)
    assert await there.free_bytes("n1") == 1000
    assert await there.zone("n1") == "a"
    assert await there.free_bytes("gone") is None
    assert await there.zone("gone") is None
