"""Pulls images: each once at a time however many pods want it, stored only when all of it is verified."""

import asyncio
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson

from hypernetes.nodeagent.images import manifests, references
from hypernetes.nodeagent.images.dialing import DialPolicy
from hypernetes.nodeagent.images.manifests import Descriptor, ImageConfig, ImageError, Manifest
from hypernetes.nodeagent.images.registry import Credential, Registry
from hypernetes.nodeagent.images.store import Image, ImageStore

PULL_SECONDS = 3600.0
# Of all pulls together: unpacking takes CPU, and blobs take disk.
MAX_PULLS = 2
MAX_UNPACKED_BYTES = 32 << 30
# Never fill the disk under the pods' own scratch disks.
MIN_FREE_BYTES = 256 << 20
_FLATTEN = ("-m", "hypernetes.nodeagent.images.flatten")


@dataclass(frozen=True, slots=True)
class Pulled:
    image: Image
    image_id: str  # for status.containerStatuses.imageID
    from_network: bool


class Puller:
    """`mirrors` maps a registry's name to the hosts asked before it."""

    def __init__(
        self,
        store: ImageStore,
        session: aiohttp.ClientSession,
        policy: DialPolicy,
        mirrors: Mapping[str, Sequence[str]] | None = None,
        platform: tuple[str, str] | None = None,
    ) -> None:
        self._store, self._session, self._policy = store, session, policy
        self._mirrors = mirrors or {}
        self._platform = platform or manifests.our_platform()
        self._slots = asyncio.Semaphore(MAX_PULLS)
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiters: dict[str, int] = {}

    def present(self, tenant: str, name: str) -> Pulled | None:
        """The image a tenant has by this name already."""
        reference = references.parse(name)
        found = self._store.named(tenant, str(reference))
        if found is None:
            return None
        self._store.used(found[0].digest)
        return Pulled(found[0], f"{reference.name}@{found[1]}", from_network=False)

    def stored(self, digest: str) -> Image | None:
        return self._store.get(digest)

    async def pull(self, tenant: str, name: str, credential: Credential | None = None) -> Pulled:
        """Asks the registry what the name stands for now, and makes sure it is stored. Raises ImageError."""
        reference = references.parse(name)
        registry = Registry(
            self._session, self._policy, reference, credential=credential, mirrors=self._mirrors
        )  # fmt: skip
        try:
            async with asyncio.timeout(PULL_SECONDS):
                shown, digest, manifest = await self._resolve(registry, reference)
                image = await self._ensure(registry, reference, digest, manifest)
            self._store.name(tenant, str(reference), digest, shown)
        except TimeoutError as error:
            raise ImageError(f"{name}: the pull took longer than {PULL_SECONDS:g} s") from error
        except aiohttp.ClientError as error:
            raise ImageError(f"{name}: {error}") from error
        except OSError as error:
            raise ImageError(f"{name}: the node can't store the image: {error.strerror or error}") from error
        return Pulled(image, f"{reference.name}@{shown}", from_network=True)

    async def _resolve(self, registry: Registry, reference: references.Reference) -> tuple[str, str, Manifest]:
        """(digest the name stands for, digest of our platform's manifest, the manifest)."""
        fetched = await registry.manifest(reference.version)
        found = manifests.parse(fetched.body, fetched.content_type)
        if isinstance(found, Manifest):
            return fetched.digest, fetched.digest, found
        chosen = manifests.select(found, self._platform)
        own = await registry.manifest(chosen.digest)
        nested = manifests.parse(own.body, own.content_type)
        if not isinstance(nested, Manifest):
            raise ImageError(f"{reference}: an image index inside an image index is not supported")
        return fetched.digest, own.digest, nested

    async def _ensure(
        self, registry: Registry, reference: references.Reference, digest: str, manifest: Manifest
    ) -> Image:
        lock = self._locks.setdefault(digest, asyncio.Lock())
        self._waiters[digest] = self._waiters.get(digest, 0) + 1
        try:
            async with lock:
                image = self._store.get(digest)
                if image is not None and reference.name in image.sources:
                    self._store.used(digest)
                    return image
                async with self._slots:
                    return await self._fetch(registry, reference, digest, manifest)
        finally:
            self._waiters[digest] -= 1
            if not self._waiters[digest]:
                del self._waiters[digest], self._locks[digest]

    async def _fetch(
        self, registry: Registry, reference: references.Reference, digest: str, manifest: Manifest
    ) -> Image:
        size = sum(layer.size for layer in manifest.layers)
        budget = min(MAX_UNPACKED_BYTES, shutil.disk_usage(self._store.directory).free - MIN_FREE_BYTES)
        if size > budget:
            raise ImageError(f"{reference}: {size >> 20} MiB to download and no room on the node's disk; "
                             "free space under the node's images directory")  # fmt: skip
        with self._store.partial() as directory:
            config = await self._config(registry, manifest.config, directory)
            if config.diff_ids and len(config.diff_ids) != len(manifest.layers):
                raise ImageError(f"{reference}: the image has {len(manifest.layers)} layers and "
                                 f"{len(config.diff_ids)} diff_ids")  # fmt: skip
            paths = [directory / f"layer{index}" for index in range(len(manifest.layers))]
            for layer, path in zip(manifest.layers, paths, strict=True):
                await registry.blob(layer, path)
            output = directory / "image.squashfs"
            files = await _flatten(manifest, config, paths, output, budget)
            image = Image(
                digest=digest,
                disk=output,
                config=config,
                size_bytes=0,
                sources=frozenset({reference.name}),
                passwd=files.get("etc/passwd", ""),
                group=files.get("etc/group", ""),
            )
            return self._store.add(output, image)

    async def _config(self, registry: Registry, descriptor: Descriptor, directory: Path) -> ImageConfig:
        if descriptor.size > manifests.MAX_CONFIG_BYTES:
            raise ImageError("the image configuration is larger than 8 MiB")
        path = directory / "config.json"
        await registry.blob(descriptor, path)
        return manifests.parse_config(path.read_bytes(), self._platform)


async def _flatten(
    manifest: Manifest, config: ImageConfig, paths: Sequence[Path], output: Path, budget: int
) -> dict[str, str]:
    """Runs `flatten` and gives the files it picked out."""
    diff_ids = config.diff_ids or ("",) * len(paths)
    request = {
        "layers": [
            {"path": str(path), "compression": layer.compression, "diffID": diff_id}
            for path, layer, diff_id in zip(paths, manifest.layers, diff_ids, strict=True)
        ],
        "output": str(output),
        "maxBytes": budget,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *_FLATTEN,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        answer, complaint = await process.communicate(orjson.dumps(request))
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        detail = complaint.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise ImageError(f"the image's layers can't be unpacked: {detail[0]}")
    result = orjson.loads(answer)
    if "error" in result:
        raise ImageError(result["error"])
    files: dict[str, str] = result["files"]
    return files
