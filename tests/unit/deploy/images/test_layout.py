import json
from pathlib import Path

import pytest
from demoimages import layout
from demoimages.layers import File, digest, pack

LAYERS = [pack({"a": File(b"1")}), pack({"b": File(b"2")})]
CONFIG = {"Cmd": ["sh"], "User": "999:999", "ExposedPorts": {"80/tcp": {}}}


def test_a_manifest_names_each_blob_by_digest_and_size() -> None:
    image = layout.assemble(LAYERS, CONFIG, "amd64")
    manifest = json.loads(image.manifest)
    described = [manifest["config"], *manifest["layers"]]
    assert [entry["digest"] for entry in described] == [blob.digest for blob in image.blobs]
    assert [entry["size"] for entry in described] == [len(blob.data) for blob in image.blobs]
    assert all(digest(blob.data) == blob.digest for blob in image.blobs)


def test_the_configuration_says_how_the_image_is_run_and_on_what() -> None:
    configuration = json.loads(layout.assemble(LAYERS, CONFIG, "arm64").blobs[0].data)
    assert configuration["config"] == CONFIG
    assert (configuration["os"], configuration["architecture"]) == ("linux", "arm64")
    assert configuration["rootfs"]["diff_ids"] == [layer.diff_id for layer in LAYERS]


def test_an_image_is_the_same_again() -> None:
    assert layout.assemble(LAYERS, CONFIG, "amd64") == layout.assemble(LAYERS, dict(reversed(CONFIG.items())), "amd64")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    image = layout.assemble(LAYERS, CONFIG, "amd64")
    layout.write(image, tmp_path, ["latest", "1.0"])
    assert layout.read(tmp_path) == (image, ["latest", "1.0"])


def test_a_damaged_blob_is_noticed(tmp_path: Path) -> None:
    image = layout.assemble(LAYERS, CONFIG, "amd64")
    layout.write(image, tmp_path, ["latest"])
    blob = tmp_path / "blobs" / "sha256" / LAYERS[0].digest.removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged"):
        layout.read(tmp_path)
