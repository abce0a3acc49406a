"""The images of this node: DIR/images/<digest>/{image.squashfs, image.json}, made aside and renamed into place.

One squashfs serves all tenants that may have the image; which those are, is kept apart: a tenant gets an image by
name only after its own credentials got that name's manifest from the registry.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

from hypernetes.nodeagent.images.manifests import ImageConfig

log = structlog.get_logger()

_DISK = "image.squashfs"
_FACTS = "image.json"
_NAMES = "names.json"
_PARTIAL_PREFIX = "partial-"


@dataclass(frozen=True, slots=True)
class Image:
    """One stored image. `digest` is that of its manifest for our platform."""

    digest: str
    disk: Path
    config: ImageConfig
    size_bytes: int  # of the squashfs
    sources: frozenset[str]  # registry/repository it was pulled from
    passwd: str = ""
    group: str = ""


@dataclass(slots=True)
class _Names:
    """tenant → name as in the pod → [digest of the image, digest to show]."""

    tenants: dict[str, dict[str, list[str]]] = field(default_factory=dict)


class ImageStore:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._images: dict[str, Image] = {}
        self._last_used: dict[str, float] = {}
        self._names = _Names()

    def open(self) -> None:
        """Reads what is there and removes what a crash left half made. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        for entry in sorted(self._directory.iterdir()):
            if entry.name.startswith(_PARTIAL_PREFIX):
                shutil.rmtree(entry, ignore_errors=True)
            elif (entry / _FACTS).exists():
                try:
                    self._load(entry)
                except (ValueError, KeyError, TypeError, OSError) as error:
                    log.warning("image.unreadable", path=str(entry), error=str(error))
                    shutil.rmtree(entry, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError, orjson.JSONDecodeError):
            stored = orjson.loads((self._directory / _NAMES).read_bytes())
            self._names = _Names(
                {
                    tenant: {name: found for name, found in names.items() if found[0] in self._images}
                    for tenant, names in stored.items()
                }
            )

    def _load(self, entry: Path) -> None:
        facts = orjson.loads((entry / _FACTS).read_bytes())
        config: dict[str, Any] = facts["config"]
        config |= {key: tuple(value) for key, value in config.items() if isinstance(value, list)}
        disk = entry / _DISK
        self._images[facts["digest"]] = Image(
            digest=facts["digest"],
            disk=disk,
            config=ImageConfig(**config),
            size_bytes=disk.stat().st_size,
            sources=frozenset(facts["sources"]),
            passwd=facts["passwd"],
            group=facts["group"],
        )
        self._last_used[facts["digest"]] = disk.stat().st_atime

    @property
    def directory(self) -> Path:
        return self._directory

    def images(self) -> list[Image]:
        return list(self._images.values())

    def get(self, digest: str) -> Image | None:
        return self._images.get(digest)

    def named(self, tenant: str, name: str) -> tuple[Image, str] | None:
        """The image that a tenant knows by this name, and the digest its name stood for."""
        found = self._names.tenants.get(tenant, {}).get(name)
        image = self._images.get(found[0]) if found else None
        return (image, found[1]) if found and image else None

    def name(self, tenant: str, name: str, digest: str, shown_digest: str) -> None:
        """Remembers that a tenant's credentials got `digest` for `name`."""
        self._names.tenants.setdefault(tenant, {})[name] = [digest, shown_digest]
        self._write(self._directory / _NAMES, self._names.tenants)

    def used(self, digest: str) -> None:
        self._last_used[digest] = time.time()

    def last_used(self, digest: str) -> float:
        """Seconds since the epoch."""
        return self._last_used.get(digest, 0.0)

    @contextlib.contextmanager
    def partial(self) -> Iterator[Path]:
        """A directory for an image in the making; gone afterwards, unless `add` took it."""
        path = Path(tempfile.mkdtemp(prefix=_PARTIAL_PREFIX, dir=self._directory))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def add(self, squashfs: Path, image: Image) -> Image:
        """Stores a finished image. Where it is there already, only its sources grow."""
        existing = self._images.get(image.digest)
        target = self._directory / image.digest.replace(":", "-")
        stored = Image(
            digest=image.digest,
            disk=target / _DISK,
            config=image.config,
            size_bytes=squashfs.stat().st_size if existing is None else existing.size_bytes,
            sources=image.sources | (existing.sources if existing else frozenset()),
            passwd=image.passwd,
            group=image.group,
        )
        if existing is None:
            with self.partial() as made:
                ready = made / "image"
                ready.mkdir(mode=0o755)
                squashfs.chmod(0o444)
                squashfs.rename(ready / _DISK)
                self._write(ready / _FACTS, _facts(stored))
                shutil.rmtree(target, ignore_errors=True)
                ready.rename(target)
        else:
            self._write(target / _FACTS, _facts(stored))
        self._images[image.digest] = stored
        self.used(image.digest)
        return stored

    def remove(self, digest: str) -> None:
        """Forgets an image and all its names. The caller knows that no pod uses it. Raises OSError, the image gone."""
        if self._images.pop(digest, None) is None:
            return
        # First what frees space: on a full disk nothing can be written. `open` drops names without their image.
        shutil.rmtree(self._directory / digest.replace(":", "-"), ignore_errors=True)
        for names in self._names.tenants.values():
            for name in [name for name, entry in names.items() if entry[0] == digest]:
                del names[name]
        self._write(self._directory / _NAMES, self._names.tenants)

    def _write(self, path: Path, value: Any) -> None:
        temporary = path.with_name(path.name + ".new")
        temporary.write_bytes(orjson.dumps(value))
        temporary.rename(path)


def _facts(image: Image) -> dict[str, Any]:
    return {
        "digest": image.digest,
        "config": asdict(image.config),
        "sources": sorted(image.sources),
        "passwd": image.passwd,
        "group": image.group,
    }
