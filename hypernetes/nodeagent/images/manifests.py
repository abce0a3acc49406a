"""Manifests and image configurations, of OCI and of Docker: parsed strictly, since a registry is a stranger."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from hypernetes.nodeagent.images.references import DIGEST

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ACCEPTED = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)

MAX_MANIFEST_BYTES = 4 << 20  # what registries accept
MAX_CONFIG_BYTES = 8 << 20
MAX_LAYERS = 256

_COMPRESSIONS = {
    "application/vnd.oci.image.layer.v1.tar": "none",
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": "none",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "none",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class ImageError(Exception):
    """An image can't be had; the message is for the pod's owner (reason ErrImagePull)."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    digest: str
    size: int
    media_type: str

    @property
    def compression(self) -> str:
        """Of a layer: "none", "gzip" or "zstd"."""
        return _COMPRESSIONS[self.media_type]


@dataclass(frozen=True, slots=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of how it is to be run."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    diff_ids: tuple[str, ...] = ()


def our_platform() -> tuple[str, str]:
    """(os, architecture) of the guests on this node."""
    machine = platform.machine()
    return "linux", _ARCHITECTURES.get(machine, machine)


def parse(body: bytes, content_type: str) -> Manifest | list[dict[str, Any]]:
    """A manifest, or the entries of an index. Raises ImageError."""
    document = _object(body, "manifest")
    media_type = document.get("mediaType") or content_type.partition(";")[0].strip()
    if media_type in (OCI_INDEX, DOCKER_LIST) or (not document.get("config") and "manifests" in document):
        entries = document.get("manifests")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ImageError("the registry's image index is malformed")
        return entries
    if document.get("schemaVersion") != 2 or "config" not in document:
        raise ImageError(f"the registry answered a manifest of unsupported type {media_type!r}; push the image again "
                         "with a current tool")  # fmt: skip
    layers = document.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise ImageError(f"the manifest's layers are no list of at most {MAX_LAYERS}")
    found = tuple(_descriptor(layer) for layer in layers)
    for layer in found:
        if layer.media_type not in _COMPRESSIONS:
            raise ImageError(f"a layer has the unsupported media type {layer.media_type!r}")
    return Manifest(_descriptor(document["config"]), found)


def select(entries: list[dict[str, Any]], wanted: tuple[str, str]) -> Descriptor:
    """The entry of an index for a platform; ImageError names those it has instead."""
    offered = []
    for entry in entries:
        described = entry.get("platform") or {}
        found = (described.get("os"), described.get("architecture"))
        if found == wanted:
            return _descriptor(entry)
        if all(isinstance(part, str) for part in found) and found != ("unknown", "unknown"):
            offered.append("/".join(found))  # type: ignore[arg-type]
    has = f"it has {', '.join(offered[:16])}" if offered else "it has none"
    raise ImageError(f"no image for this node's platform {'/'.join(wanted)} in the manifest list; {has}")


def parse_config(body: bytes, wanted: tuple[str, str]) -> ImageConfig:
    """Raises ImageError, also for an image of another platform."""
    document = _object(body, "image configuration")
    found = (document.get("os") or wanted[0], document.get("architecture") or wanted[1])
    if found != wanted:
        raise ImageError(f"the image is for {found[0]}/{found[1]}, this node runs {'/'.join(wanted)}")
    config = document.get("config") or {}
    rootfs = document.get("rootfs") or {}
    if not isinstance(config, dict) or not isinstance(rootfs, dict):
        raise ImageError("the image configuration is malformed")
    environment = dict(entry.partition("=")[::2] for entry in _texts(config.get("Env")) if "=" in entry)
    return ImageConfig(
        entrypoint=_texts(config.get("Entrypoint")),
        command=_texts(config.get("Cmd")),
        environment=environment,
        user=str(config.get("User") or ""),
        working_dir=str(config.get("WorkingDir") or ""),
        stop_signal=str(config.get("StopSignal") or ""),
        diff_ids=_texts(rootfs.get("diff_ids")),
    )


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ImageError(f"the registry's {what} is not JSON") from error
    if not isinstance(document, dict):
        raise ImageError(f"the registry's {what} is not a JSON object")
    return document


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ImageError("the image configuration is malformed")
    return tuple(value)


def _descriptor(value: object) -> Descriptor:
    if not isinstance(value, dict):
        raise ImageError("the manifest is malformed: a descriptor is no object")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not DIGEST.match(digest):
        raise ImageError("the manifest is malformed: a digest is not sha256")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ImageError("the manifest is malformed: a size is no number")
    return Descriptor(digest, size, str(value.get("mediaType") or ""))
