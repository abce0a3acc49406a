"""Both halves of the provider of Cinder's volumes, as hn-controllers and hn-agent make them."""

import uuid
from pathlib import Path

from hypernetes.providers.volume.base import ControlContext, NodeContext, Owner
from hypernetes.providers.volume.cinder import CinderNodeVolumes, CinderVolumeProvider, Provider
from tests.openstack.cinders import CONTROL_USER, NODE_USER, Cinder


class NoNodeVolumes:
    """Cinder keeps nothing on nodes."""


def control(cinder: Cinder, directory: Path, *, cluster: str = "c1", **more: object) -> CinderVolumeProvider:
    section = {
        "cloud": "volumes",
        "clouds": str(cinder.clouds(directory)),
        "ceph": cinder.section(CONTROL_USER),
        **more,
    }
    return Provider.control(ControlContext(cluster, NoNodeVolumes(), section))  # type: ignore[arg-type]


def node(cinder: Cinder, directory: Path, name: str) -> CinderNodeVolumes:
    own = directory / name
    own.mkdir(exist_ok=True)
    return Provider.node(NodeContext("c1", name, own, {"ceph": cinder.section(NODE_USER)}))


def owner(cinder: Cinder, project: str) -> Owner:
    """A tenant of that project, made if it isn't there."""
    rest = cinder.keystone.rest
    found = rest.get(f"/projects?name={project}").json()["projects"]
    id = found[0]["id"] if found else cinder.keystone.project(project)
    return Owner(project, str(uuid.uuid5(uuid.NAMESPACE_OID, id)), id)
