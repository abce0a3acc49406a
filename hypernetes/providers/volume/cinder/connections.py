"""How to reach a volume: Cinder's connection_info, and the attachment metadata that nodes get of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypernetes.providers.volume.base import Refused

_RBD = "rbd"
# Cinder's names of front-end QoS, and ours.
_LIMITS = {
    "read_iops_sec": "readIOPS", "write_iops_sec": "writeIOPS", "total_iops_sec": "totalIOPS",
    "read_bytes_sec": "readBytesPerSecond", "write_bytes_sec": "writeBytesPerSecond",
    "total_bytes_sec": "totalBytesPerSecond",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a Ceph pool, for one attachment of Cinder's."""

    pool: str
    name: str
    monitors: tuple[str, ...]  # host:port
    secret_uuid: str  # names the credential, which Cinder doesn't tell
    attachment: str

    @property
    def path(self) -> str:
        return f"{self.pool}/{self.name}"


def image(attachment: str, info: Mapping[str, Any]) -> Image:
    """Raises Refused for what isn't Ceph's, or encrypted: a guest would get ciphertext, or write plain text."""
    kind = info.get("driver_volume_type")
    if kind != _RBD:
        raise Refused("ConnectionUnsupported", f"the volume's connection is {kind!r}; only rbd can be opened so far")
    if info.get("encrypted"):
        raise Refused("EncryptionUnsupported", "the volume's type is encrypted, which can't be honoured")
    pool, slash, name = str(info.get("name", "")).partition("/")
    hosts, ports = info.get("hosts") or [], info.get("ports") or []
    if not slash or not name or not hosts or len(hosts) != len(ports):
        raise Refused("ConnectionInvalid", "Cinder's connection_info names no image or no monitors")
    monitors = tuple(f"{host}:{port}" for host, port in zip(hosts, ports, strict=True))
    return Image(pool, name, monitors, str(info.get("secret_uuid") or ""), attachment)


def metadata(image: Image, info: Mapping[str, Any]) -> dict[str, str]:
    limits = {
        _LIMITS[name]: str(int(value)) for name, value in (info.get("qos_specs") or {}).items() if name in _LIMITS
    }
    return limits | {
        "type": _RBD, "pool": image.pool, "image": image.name, "monitors": ",".join(image.monitors),
        "secretUUID": image.secret_uuid, "attachment": image.attachment,
    }  # fmt: skip


def from_metadata(told: Mapping[str, str]) -> Image:
    """Raises Refused."""
    try:
        if told["type"] != _RBD:
            raise Refused("ConnectionUnsupported", f"the volume's connection is {told['type']!r}; only rbd is known")
        monitors = tuple(told["monitors"].split(","))
        return Image(told["pool"], told["image"], monitors, told["secretUUID"], told["attachment"])
    except KeyError as error:
        raise Refused("ConnectionInvalid", f"the attachment's metadata lacks {error.args[0]!r}") from error
