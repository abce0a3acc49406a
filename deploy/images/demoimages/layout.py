"""An image on disk, as the OCI image layout has it: blobs by digest, and an index that names the manifest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demoimages.layers import MEDIA_TYPE, Layer, digest

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Image:
    manifest: bytes
    blobs: tuple[Blob, ...]  # the configuration and the layers

    @property
    def digest(self) -> str:
        return digest(self.manifest)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def assemble(layers: Sequence[Layer], config: Mapping[str, Any], architecture: str) -> Image:
    """An image of these layers. `config` is the runtime's part: Entrypoint, Cmd, Env, User, ExposedPorts, …"""
    configuration = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created_by": "deploy/images"} for _ in layers],
        }
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, configuration),
        "layers": [_descriptor(MEDIA_TYPE, layer.data) for layer in layers],
    }
    blobs = [Blob(digest(configuration), configuration), *(Blob(layer.digest, layer.data) for layer in layers)]
    return Image(_json(manifest), tuple(blobs))


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def _blob_path(directory: Path, name: str) -> Path:
    algorithm, _, value = name.partition(":")
    return directory / "blobs" / algorithm / value


def write(image: Image, directory: Path, tags: Sequence[str]) -> None:
    """The index is written last, so that a layout that has one is whole."""
    for blob in (*image.blobs, Blob(image.digest, image.manifest)):
        path = _blob_path(directory, blob.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob.data)
    descriptor = _descriptor(MANIFEST_TYPE, image.manifest)
    named = [{**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}} for tag in tags]
    (directory / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (directory / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": named}))


def read(directory: Path) -> tuple[Image, list[str]]:
    """The image and its tags. Raises OSError where there is none, ValueError where a blob is not what its name says."""
    index = json.loads((directory / "index.json").read_bytes())
    tags = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]]
    manifest = _read_blob(directory, index["manifests"][0]["digest"])
    described = json.loads(manifest.data)
    names = [described["config"]["digest"], *(layer["digest"] for layer in described["layers"])]
    return Image(manifest.data, tuple(_read_blob(directory, name) for name in names)), tags


def _read_blob(directory: Path, name: str) -> Blob:
    data = _blob_path(directory, name).read_bytes()
    if digest(data) != name:
        raise ValueError(f"{_blob_path(directory, name)} is damaged")
    return Blob(name, data)
