"""What StorageClasses may ask of a real Cinder, and what comes of it; quotas, states, and a Cinder that is away."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from hypernetes.providers.volume.base import Exhausted, Handle, Owner, Refused, Topology, Unavailable, VolumeRequest
from hypernetes.providers.volume.cinder import CinderVolumeProvider
from hypernetes.providers.volume.cinder.volumes import GIB
from tests.openstack import volumes
from tests.openstack.cephs import Ceph
from tests.openstack.cinders import Cinder
from tests.openstack.leftovers import Leftovers

Asked = Callable[..., VolumeRequest]


@pytest.fixture
async def provider(cinder: Cinder, tmp_path: Path, leftovers: Leftovers) -> AsyncIterator[CinderVolumeProvider]:
    provider = volumes.control(cinder, tmp_path)
    yield provider
    await provider.close()


@pytest.fixture
def owner(cinder: Cinder) -> Owner:
    return volumes.owner(cinder, "types")


@pytest.fixture
def asked(owner: Owner) -> Asked:
    def request(*, type: str | None = None, **more: object) -> VolumeRequest:
        parameters = {"type": type} if type else {}
        return VolumeRequest(f"pvc-{uuid4()}", owner, GIB, parameters, **more)  # type: ignore[arg-type]

    return request


async def test_a_type_for_several_nodes_is_attached_to_several(
    cinder: Cinder, ceph: Ceph, provider: CinderVolumeProvider, asked: Asked
) -> None:
    shared = cinder.type("shared", multiattach="<is> True")
    request = asked(type=shared, access_modes=("ReadWriteMany",), volume_mode="Block")
    volume = Handle(request.owner, (await provider.create(request)).id)
    told = [await provider.attach(volume, node, read_only=False) for node in ("n1", "n2")]
    assert told[0]["attachment"] != told[1]["attachment"]
    await provider.detach(volume, "n1")
    with pytest.raises(Unavailable):
        await provider.delete(volume)
    metadata = ceph.rbd("image-meta", "list", f"volumes/{told[0]['image']}", "--format", "json")
    assert list(json.loads(metadata)) == [f"hypernetes.attachment.{told[1]['attachment']}"]
    await provider.detach(volume, "n2")
    await provider.delete(volume)
    with pytest.raises(Refused) as refusal:
        await provider.create(asked(access_modes=("ReadOnlyMany",)))
    assert refusal.value.reason == "NotShareable"


async def test_a_type_that_encrypts_is_refused_and_leaves_nothing(
    cinder: Cinder, provider: CinderVolumeProvider, asked: Asked, owner: Owner, leftovers: Leftovers
) -> None:
    encrypting = cinder.type("encrypting", encrypted=True)
    with pytest.raises(Refused) as refusal:
        await provider.create(asked(type=encrypting))
    assert refusal.value.reason == "EncryptionUnsupported"
    assert not leftovers.new("volumes")


async def test_no_back_end_for_a_type_is_said_and_leaves_nothing(
    cinder: Cinder, provider: CinderVolumeProvider, asked: Asked, leftovers: Leftovers
) -> None:
    nowhere = cinder.type("nowhere", volume_backend_name="elsewhere")
    with pytest.raises(Exhausted) as refusal:
        await provider.create(asked(type=nowhere))
    assert "back" in refusal.value.message
    assert not leftovers.new("volumes")


async def test_types_that_are_not_offered_or_not_there_are_refused(
    cinder: Cinder, asked: Asked, provider: CinderVolumeProvider, tmp_path: Path
) -> None:
    offered = volumes.control(cinder, tmp_path, types=["ceph"])
    for each, type, reason in ((offered, "__DEFAULT__", "TypeForbidden"), (provider, "none", "TypeUnknown")):
        with pytest.raises(Refused) as refusal:
            await each.create(asked(type=type))
        assert refusal.value.reason == reason
    await offered.close()


async def test_a_zone_that_was_asked_for_binds_and_one_that_is_not_there_is_refused(
    provider: CinderVolumeProvider, asked: Asked
) -> None:
    made = await provider.create(asked(topology=Topology(zone="nova")))
    assert made.topology == Topology(zone="nova")
    assert (await provider.create(asked())).topology == Topology()
    with pytest.raises(Refused):
        await provider.create(asked(topology=Topology(zone="atlantis")))


async def test_a_quota_of_the_project_is_a_bound(
    cinder: Cinder, provider: CinderVolumeProvider, asked: Asked, owner: Owner
) -> None:
    volume = Handle(owner, (await provider.create(asked())).id)
    cinder.rest().put(f"/os-quota-sets/{owner.project_id}", json={"quota_set": {"gigabytes": 1}})
    try:
        with pytest.raises(Exhausted) as refusal:
            await provider.create(asked())
        assert refusal.value.reason == "QuotaExceeded"
        with pytest.raises(Exhausted):
            await provider.extend(volume, 2 * GIB)
    finally:
        cinder.rest().delete(f"/os-quota-sets/{owner.project_id}")


async def test_a_volume_grows_while_it_is_attached(
    ceph: Ceph, provider: CinderVolumeProvider, asked: Asked, owner: Owner
) -> None:
    volume = Handle(owner, (await provider.create(asked())).id)
    told = await provider.attach(volume, "n1", read_only=False)
    assert await provider.extend(volume, 2 * GIB) == 2 * GIB
    image = json.loads(ceph.rbd("info", f"{told['pool']}/{told['image']}", "--format", "json"))
    assert image["size"] == 2 * GIB


async def test_a_volume_that_cinder_left_in_a_state_waits_and_says_so(
    cinder: Cinder, provider: CinderVolumeProvider, asked: Asked, owner: Owner
) -> None:
    volume = Handle(owner, (await provider.create(asked())).id)
    for status in ("detaching", "error_deleting"):
        cinder.rest().post(f"/volumes/{volume.id}/action", json={"os-reset_status": {"status": status}})
        for call in (provider.attach(volume, "n1", read_only=False), provider.delete(volume)):
            with pytest.raises(Unavailable) as refusal:
                await call
            assert status in refusal.value.message
    cinder.rest().post(f"/volumes/{volume.id}/action", json={"os-reset_status": {"status": "available"}})
    await provider.delete(volume)


async def test_a_project_in_which_hypernetes_has_no_role_is_said(
    cinder: Cinder, provider: CinderVolumeProvider, asked: Asked
) -> None:
    rest = cinder.keystone.rest
    domain = rest.post("/domains", json={"domain": {"name": f"strange-{uuid4()}"}}).json()["domain"]["id"]
    project = rest.post("/projects", json={"project": {"name": "strange", "domain_id": domain}}).json()["project"]["id"]
    with pytest.raises(Unavailable) as refusal:
        await provider.create(replace(asked(), owner=Owner("strange", "uid", project)))
    assert refusal.value.reason == "NoAccess"


async def test_while_cinder_is_away_everything_waits_and_then_there_is_one_volume(
    cinder: Cinder, provider: CinderVolumeProvider, asked: Asked, owner: Owner, leftovers: Leftovers
) -> None:
    request = asked()
    cinder.stop_api()
    try:
        for call in (provider.create(request), provider.adopt(Handle(owner, str(uuid4())))):
            with pytest.raises(Unavailable) as refusal:
                await call
            assert refusal.value.reason == "CinderUnavailable"
    finally:
        cinder.start_api()
    made = await provider.create(request)
    assert leftovers.new("volumes") == {made.id}
