"""Cinder's volumes, and Ceph's images that they are.

hn-controllers  provider.py    what base.py promises: volumes.py, snapshots.py, attachments.py
                    │              └─► api.py: Cinder's REST API, in the tenant's own project
                    ▼
                fencing.py     who may write an image, and who could: kept with the image itself
                    ▲              └─► ceph.py: Ceph's command line clients
                    │
hn-agent        node.py        how the storage process opens an image; the key comes from a file of the node's

connections.py (pure) turns Cinder's connection_info into attachment metadata; marks.py says what is ours; and
configuration.py reads what the operator wrote.

A tenant's volumes lie in its Keystone project. The token that makes them is one of that project, so another project's
volume is for Cinder the same as none. What others made in the project is adopted as it is, and never deleted.
"""

from hypernetes.providers.volume.base import ControlContext, NodeContext
from hypernetes.providers.volume.cinder.node import CinderNodeVolumes
from hypernetes.providers.volume.cinder.provider import CinderVolumeProvider

__all__ = ["CinderNodeVolumes", "CinderVolumeProvider", "Provider"]


class Provider:
    """The entry point `cinder.csi.openstack.org`."""

    @staticmethod
    def control(context: ControlContext) -> CinderVolumeProvider:
        return CinderVolumeProvider(context)

    @staticmethod
    def node(context: NodeContext) -> CinderNodeVolumes:
        return CinderNodeVolumes(context)
