"""Volumes as files of nodes (driver `local.hypernetes.io`): complete, and needs nothing but a file system.

control.py  in hn-controllers: volumes and snapshots are NodeVolumes of the API
files.py    on the node: sparse raw files, reflinks or sparse copies of them
"""

from hypernetes.providers.volume.base import ControlContext, NodeContext
from hypernetes.providers.volume.local.control import DRIVER, LocalVolumes
from hypernetes.providers.volume.local.files import LocalFiles

__all__ = ["DRIVER", "LocalFiles", "LocalProvider", "LocalVolumes"]


class LocalProvider:
    """The entry point."""

    @staticmethod
    def control(context: ControlContext) -> LocalVolumes:
        return LocalVolumes(context.node_volumes)

    @staticmethod
    def node(context: NodeContext) -> LocalFiles:
        return LocalFiles(context.directory)
