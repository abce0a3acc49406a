"""The Cinder of these tests is one, and its Ceph: a project's volume is an image of the pool, and of nobody else."""

from tests.openstack.cephs import Ceph
from tests.openstack.cinders import Cinder
from tests.openstack.daemons import until
from tests.openstack.keystones import Keystone


def test_a_projects_volume_is_an_image_that_only_the_project_sees(
    keystone: Keystone, cinder: Cinder, ceph: Ceph
) -> None:
    keystone.project("volumes-plain", vera="member")
    keystone.project("volumes-other", otto="member")
    vera, otto = (
        cinder.rest(f"volumes-{project}", user, user) for project, user in (("plain", "vera"), ("other", "otto"))
    )
    volume = vera.post("/volumes", json={"volume": {"name": "plain", "size": 1}}).json()["volume"]["id"]

    def status() -> str:
        return str(vera.get(f"/volumes/{volume}").json()["volume"]["status"])

    until(lambda: status() != "creating", "a volume")
    assert status() == "available"
    assert f"volume-{volume}" in ceph.images()
    assert otto.get(f"/volumes/{volume}", raise_exc=False).status_code == 404
    vera.delete(f"/volumes/{volume}")
    until(lambda: vera.get(f"/volumes/{volume}", raise_exc=False).status_code == 404, "a volume's end")
    assert f"volume-{volume}" not in ceph.images()
