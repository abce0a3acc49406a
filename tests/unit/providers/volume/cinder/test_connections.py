"""What becomes of Cinder's connection_info."""

from typing import Any

import pytest

from hypernetes.providers.volume.base import Refused
from hypernetes.providers.volume.cinder import connections
from hypernetes.providers.volume.cinder.node import blockdev

INFO: dict[str, Any] = {
    "driver_volume_type": "rbd", "name": "volumes/volume-1", "hosts": ["10.0.0.1", "[fd00::1]"],
    "ports": ["6789", "6789"], "auth_enabled": True, "auth_username": "cinder", "secret_uuid": "s-1",
    "qos_specs": None, "encrypted": False,
}  # fmt: skip


def test_an_image_survives_the_way_through_the_attachments_metadata() -> None:
    image = connections.image("a-1", INFO)
    told = connections.metadata(image, INFO)
    assert connections.from_metadata(told) == image
    assert image.path == "volumes/volume-1"
    assert all(isinstance(value, str) for value in told.values())
    assert not {"key", "keyring", "auth_username"} & set(told)


def test_limits_of_the_type_reach_the_node() -> None:
    info = INFO | {"qos_specs": {"total_iops_sec": "500", "read_bytes_sec": 1000, "size_iops_sec": "4096"}}
    told = connections.metadata(connections.image("a-1", info), info)
    assert (told["totalIOPS"], told["readBytesPerSecond"]) == ("500", "1000")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"driver_volume_type": "iscsi"}, "ConnectionUnsupported"),
        ({"encrypted": True}, "EncryptionUnsupported"),
        ({"name": "volume-1"}, "ConnectionInvalid"),
        ({"hosts": []}, "ConnectionInvalid"),
        ({"ports": ["6789"]}, "ConnectionInvalid"),
    ],
)
def test_what_cannot_be_opened_is_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        connections.image("a-1", INFO | changed)
    assert refusal.value.reason == reason


def test_metadata_that_lacks_something_is_refused() -> None:
    told = connections.metadata(connections.image("a-1", INFO), INFO)
    for name in ("type", "pool", "image", "monitors", "secretUUID", "attachment"):
        with pytest.raises(Refused):
            connections.from_metadata({key: value for key, value in told.items() if key != name})


def test_qemu_is_told_of_no_file_and_no_key() -> None:
    options = blockdev(connections.image("a-1", INFO), "node", "rbd-s-1")
    assert options["server"] == [{"host": "10.0.0.1", "port": "6789"}, {"host": "fd00::1", "port": "6789"}]
    assert (options["conf"], options["key-secret"], options["user"]) == ("/dev/null", "rbd-s-1", "node")
