"""Volumes while Cinder fails: half-made ones, answers that get lost, states that it doesn't leave."""

from dataclasses import replace

import pytest

from hypernetes.providers.volume.base import (
    Exhausted,
    Handle,
    Owner,
    Refused,
    Topology,
    Unavailable,
    VolumeError,
    VolumeRequest,
)
from hypernetes.providers.volume.cinder import volumes, waiting
from hypernetes.providers.volume.cinder.api import failure
from hypernetes.providers.volume.cinder.attachments import Attachments
from hypernetes.providers.volume.cinder.volumes import GIB, Volumes
from tests.unit.providers.volume.cinder.fakeapi import FakeAPI

OWNER = Owner("acme", "uid-1", "project-1")
REQUEST = VolumeRequest("pvc-1", OWNER, GIB)


async def no_snapshot(volume: str) -> str:
    raise AssertionError("nothing is cloned")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeAPI:
    monkeypatch.setattr(waiting.settled, "__defaults__", (0.0,))  # looks once
    return FakeAPI()


@pytest.fixture
def made(api: FakeAPI) -> Volumes:
    return Volumes(api, "c1", None)  # type: ignore[arg-type]


async def test_a_call_whose_answer_was_lost_makes_no_second_volume(api: FakeAPI, made: Volumes) -> None:
    api.lost_answers = 1
    with pytest.raises(Unavailable):
        await made.create(REQUEST, no_snapshot)
    volume = await made.create(REQUEST, no_snapshot)
    assert list(api.volumes) == [volume["id"]]


async def test_two_that_were_made_become_one(api: FakeAPI, made: Volumes) -> None:
    first = await made.create(REQUEST, no_snapshot)
    api.volumes["v-late"] = {**api.volumes[first["id"]], "id": "v-late", "created_at": "9"}
    assert (await made.create(REQUEST, no_snapshot))["id"] == first["id"]
    assert list(api.volumes) == [first["id"]]


async def test_one_that_failed_is_removed_and_made_again(api: FakeAPI, made: Volumes) -> None:
    api.made_as = {"status": "error"}
    api.messages = ["schedule allocate volume:Could not find any available weighted backend."]
    with pytest.raises(Exhausted) as refusal:
        await made.create(REQUEST, no_snapshot)
    assert "weighted backend" in refusal.value.message
    assert api.volumes == {}
    api.made_as = {}
    await made.create(REQUEST, no_snapshot)


async def test_one_that_is_being_made_is_waited_for(api: FakeAPI, made: Volumes) -> None:
    api.made_as = {"status": "creating"}
    for _ in range(2):
        with pytest.raises(Unavailable):
            await made.create(REQUEST, no_snapshot)
    assert len(api.volumes) == 1


@pytest.mark.parametrize("asked", [{"access_modes": ("ReadOnlyMany",)}, {}])
async def test_what_a_type_cannot_do_or_does_besides_is_refused(api: FakeAPI, made: Volumes, asked: dict) -> None:
    api.made_as = {} if asked else {"encrypted": True}
    with pytest.raises(Refused):
        await made.create(replace(REQUEST, **asked), no_snapshot)
    assert api.volumes == {}


async def test_an_unknown_type_is_refused_before_anything_is_made(api: FakeAPI, made: Volumes) -> None:
    with pytest.raises(Refused):
        await made.create(replace(REQUEST, parameters={"type": "fast"}), no_snapshot)
    assert api.calls == []


@pytest.mark.parametrize("status", ["detaching", "in-use", "error_deleting", "maintenance", "attaching"])
async def test_what_is_stuck_is_not_deleted_and_says_so(api: FakeAPI, made: Volumes, status: str) -> None:
    volume = await made.create(REQUEST, no_snapshot)
    api.volumes[volume["id"]]["status"] = status
    with pytest.raises(Unavailable) as refusal:
        await made.delete(Handle(OWNER, volume["id"]))
    assert status in refusal.value.message
    assert ("DELETE", f"/volumes/{volume['id']}") not in api.calls


async def test_a_deletion_that_cinder_gives_up_is_no_success(api: FakeAPI, made: Volumes) -> None:
    """RBD says busy while something watches the image: the volume is available again."""
    volume = await made.create(REQUEST, no_snapshot)
    api.on_delete = lambda kept: kept.update(status="available")
    with pytest.raises(Unavailable):
        await made.delete(Handle(OWNER, volume["id"]))


async def test_what_others_made_is_never_deleted(api: FakeAPI, made: Volumes) -> None:
    api.volumes["v-foreign"] = {"id": "v-foreign", "name": "x", "status": "available", "metadata": {}, "size": 1}
    with pytest.raises(Refused) as refusal:
        await made.delete(Handle(OWNER, "v-foreign"))
    assert refusal.value.reason == "NotOurs"
    with pytest.raises(Refused):
        await Volumes(api, "other-cluster", None).delete(Handle(OWNER, (await made.create(REQUEST, no_snapshot))["id"]))  # type: ignore[arg-type]


async def test_a_tenant_without_a_project_sees_its_own_of_the_shared_one(api: FakeAPI) -> None:
    shared = Volumes(api, "c1", "shared")  # type: ignore[arg-type]
    own, other = Owner("a", "uid-a"), Owner("b", "uid-b")
    volume = await shared.create(replace(REQUEST, owner=own), no_snapshot)
    assert await shared.find(Handle(own, volume["id"]))
    assert await shared.find(Handle(other, volume["id"])) is None
    with pytest.raises(Refused):
        Volumes(api, "c1", None).project(own)  # type: ignore[arg-type]


async def test_an_attachment_that_was_half_made_is_finished(api: FakeAPI, made: Volumes) -> None:
    attachments = Attachments(api, made, "c1")  # type: ignore[arg-type]
    volume = Handle(OWNER, (await made.create(REQUEST, no_snapshot))["id"])
    api.lost_answers = 1
    with pytest.raises(Unavailable):
        await attachments.ensure(volume, "n1", read_only=False)
    attachment = await attachments.ensure(volume, "n1", read_only=False)
    assert attachment["connection_info"]
    assert list(api.attachments) == [attachment["id"]]
    with pytest.raises(Refused):
        await attachments.ensure(volume, "n2", read_only=False)


async def test_a_volume_that_is_detaching_is_not_attached(api: FakeAPI, made: Volumes) -> None:
    volume = await made.create(REQUEST, no_snapshot)
    api.volumes[volume["id"]]["status"] = "detaching"
    with pytest.raises(Unavailable) as refusal:
        await Attachments(api, made, "c1").ensure(Handle(OWNER, volume["id"]), "n1", read_only=False)  # type: ignore[arg-type]
    assert "detaching" in refusal.value.message


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (413, {"overLimit": {"message": "VolumeLimitExceeded"}}, Exhausted),
        (400, {"badRequest": {"message": "Invalid input"}}, Refused),
        (403, {"forbidden": {}}, Unavailable),
        (500, {"computeFault": {"message": "oops"}}, Unavailable),
        (503, {}, Unavailable),
        (302, {"x": "not an object"}, Unavailable),
    ],
)
def test_what_answers_mean(status: int, answer: dict, kind: type[VolumeError]) -> None:
    assert type(failure(status, answer, "POST /volumes")) is kind


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"tpye": "fast"}},
        {"parameters": {"type": "secret"}},
        {"mutable_parameters": {"iops": "1"}},
        {"parameters": {"availability": "z1"}, "topology": Topology(zone="z2")},
    ],
)
def test_parameters_that_cannot_be_honoured_are_refused(changes: dict) -> None:
    with pytest.raises(Refused):
        volumes.check(replace(REQUEST, **changes), frozenset({"fast"}))


def test_sizes_are_whole_gibibytes() -> None:
    assert [volumes.gibibytes(size) for size in (1, GIB, GIB + 1)] == [1, 1, 2]
    asked = replace(REQUEST, size_bytes=GIB + 1, parameters={"type": "fast", "availability": "z1"})
    volumes.check(asked, frozenset({"fast"}))
    body = volumes.body(asked, "c1")["volume"]
    assert (body["size"], body["volume_type"], body["availability_zone"]) == (2, "fast", "z1")
