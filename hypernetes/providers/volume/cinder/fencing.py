"""Who may write an image, and who could: kept in the image's own metadata, which Ceph orders for everybody.

    hypernetes.attachment.<attachment>   hn-controllers: this attachment may be used; the value is its node
    hypernetes.client.<attachment>       hn-agent: the addresses of Ceph clients that have the image open for it

A node puts down its client once the image is open, and then looks whether the attachment still may be used: only then
a guest gets the volume. A fence takes the permission away first, and then blocks all clients that were put down. So
whatever the order in which the two come, the node either finds no permission, or its client is found and blocked.
Exclusive locks are no fence: librbd hands them to whoever asks.

Ceph's OSDs refuse a blocked client from the map on in which it is; the next owner's client begins with that map or a
later one, and makes each OSD that it speaks to learn it first.
"""

from collections.abc import Collection, Iterable

from hypernetes.providers.volume.base import Unavailable
from hypernetes.providers.volume.cinder import ceph
from hypernetes.providers.volume.cinder.configuration import Credential
from hypernetes.providers.volume.cinder.connections import Image

_PERMISSION, _CLIENT = "hypernetes.attachment.", "hypernetes.client."
# A client's address has a number of its own that doesn't come again, so that this costs nobody else anything.
_BLOCK_SECONDS = 365 * 24 * 3600


async def permit(image: Image, credential: Credential, node: str, attached: Collection[str]) -> None:
    """Lets the image's attachment use it, after everything of attachments that are no more has been fenced."""
    known = await _known(image, credential)
    for stray in sorted(_attachments(known) - set(attached)):
        await _fence(image, credential, stray)
    if _PERMISSION + image.attachment not in known:
        await _set(image, credential, _PERMISSION + image.attachment, node)


async def fence(image: Image, credential: Credential) -> None:
    """After this nothing of the attachment can write. An image that is gone needs none. Raises Unavailable."""
    try:
        await _fence(image, credential, image.attachment)
    except ceph.Absent:
        return


async def record(image: Image, credential: Credential) -> None:
    """On the node, when the image has just been opened: puts down who has it open. Raises Unavailable where the
    attachment may not be used any more."""
    try:
        known = await _known(image, credential)
        others = {
            address for name, value in known.items() if name.startswith(_CLIENT)
            and name != _CLIENT + image.attachment for address in value.split(",")
        }  # fmt: skip
        watching = {each["address"] for each in await _watchers(image, credential)} - others
        if not watching:
            raise Unavailable("NotOpen", "Ceph knows of no client that has the image open")
        await _set(image, credential, _CLIENT + image.attachment, ",".join(sorted(watching)))
        known = await _known(image, credential)
    except ceph.Absent as error:
        raise Unavailable("VolumeGone", "the volume's image is gone from Ceph") from error
    if _PERMISSION + image.attachment not in known:
        raise Unavailable("AttachmentEnded", "the attachment has been ended or fenced meanwhile")


async def supersede(image: Image, credential: Credential) -> None:
    """On the node, when a process that wrote the image has crashed: Ceph holds its lock for another half a minute,
    unless it is blocked. Raises Unavailable."""
    try:
        if await _block(image, credential, image.attachment, frozenset()):
            await _remove(image, credential, _CLIENT + image.attachment)
    except ceph.Absent as error:
        raise Unavailable("VolumeGone", "the volume's image is gone from Ceph") from error


async def forget(image: Image, credential: Credential) -> None:
    """On the node, when nothing has the image open any more."""
    try:
        await _remove(image, credential, _CLIENT + image.attachment)
    except ceph.Absent:
        return


async def _fence(image: Image, credential: Credential, attachment: str) -> None:
    """Who is blocked is forgotten last, so that a crash repeats it all.

    Clients that are known are blocked first: whoever changes an image's metadata has everybody told who has it open,
    which takes 30 s where one of them is cut off, and no time once that one is blocked. Those that count are the ones
    that are put down when the permission is gone.
    """
    blocked = await _block(image, credential, attachment, frozenset())
    await _remove(image, credential, _PERMISSION + attachment)
    await _block(image, credential, attachment, blocked)
    await _remove(image, credential, _CLIENT + attachment)


async def _block(image: Image, credential: Credential, attachment: str, blocked: frozenset[str]) -> frozenset[str]:
    """Blocks the attachment's clients but those that are already; all of them."""
    text = (await _known(image, credential)).get(_CLIENT + attachment)
    addresses = frozenset(text.split(",") if text else ())
    for address in sorted(addresses - blocked):
        await ceph.blocklist(image, credential, address, _BLOCK_SECONDS)
    return addresses | blocked


def _attachments(known: Iterable[str]) -> set[str]:
    return {name.removeprefix(prefix) for name in known for prefix in (_PERMISSION, _CLIENT) if name.startswith(prefix)}


async def _known(image: Image, credential: Credential) -> dict[str, str]:
    listed = await ceph.listed(image, credential, "image-meta", "list", image.path)
    return {str(name): str(value) for name, value in listed.items()} if isinstance(listed, dict) else {}


async def _watchers(image: Image, credential: Credential) -> list[dict[str, str]]:
    status = await ceph.listed(image, credential, "status", image.path)
    found = status.get("watchers") if isinstance(status, dict) else None
    if isinstance(found, dict):  # some releases name each
        found = list(found.values())
    return [each for each in found or [] if isinstance(each, dict) and "address" in each]


async def _set(image: Image, credential: Credential, name: str, value: str) -> None:
    await ceph.rbd(image, credential, "image-meta", "set", image.path, name, value)


async def _remove(image: Image, credential: Credential, name: str) -> None:
    """One that isn't there is no error."""
    if name in await _known(image, credential):
        await ceph.rbd(image, credential, "image-meta", "remove", image.path, name)
