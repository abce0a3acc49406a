"""The node's half: how the storage process opens an image of Ceph's, with a key that comes from a file of the node's.

The key goes to the storage process by QMP, as a secret in its memory; it is on no command line and in no guest's QEMU.
"""

import base64
import binascii
from collections.abc import Mapping

from hypernetes.providers.volume.base import BlockSource, Handle, NodeContext, Unavailable
from hypernetes.providers.volume.cinder import ceph, configuration, connections, fencing
from hypernetes.providers.volume.cinder.connections import Image


class CinderNodeVolumes:
    driver = configuration.DRIVER

    def __init__(self, context: NodeContext) -> None:
        """Raises ConfigurationError."""
        self._credentials = configuration.of_node(context.configuration).ceph

    async def open(self, volume: Handle, metadata: Mapping[str, str], *, read_only: bool) -> BlockSource:
        image = connections.from_metadata(metadata)
        credential = ceph.credential_of(image, self._credentials)
        try:
            key = base64.b64decode(ceph.key(credential), validate=True)
        except binascii.Error as error:
            raise Unavailable("CredentialMissing", f"{credential.keyring} has no valid key") from error
        if not read_only:
            await fencing.supersede(image, credential)
        secret = f"rbd-{image.secret_uuid}"
        return BlockSource(blockdev(image, credential.user, secret), {secret: key}, needs_network=True)

    async def opened(self, volume: Handle, metadata: Mapping[str, str], *, read_only: bool) -> None:
        if not read_only:  # who can't write needs no fence, and Ceph doesn't list it
            image = connections.from_metadata(metadata)
            await fencing.record(image, ceph.credential_of(image, self._credentials))

    async def close(self, volume: Handle, metadata: Mapping[str, str]) -> None:
        image = connections.from_metadata(metadata)
        await fencing.forget(image, ceph.credential_of(image, self._credentials))


def blockdev(image: Image, user: str, secret: str) -> dict[str, object]:
    """QEMU's options for an image. No file of Ceph's is read. Pure."""
    server = []
    for monitor in image.monitors:
        host, _, port = monitor.rpartition(":")
        server.append({"host": host.strip("[]"), "port": port})
    return {
        "driver": "rbd", "pool": image.pool, "image": image.name, "server": server, "user": user,
        "key-secret": secret, "conf": "/dev/null", "auth-client-required": ["cephx"],
    }  # fmt: skip
