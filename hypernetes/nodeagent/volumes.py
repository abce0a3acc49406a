"""A pod's volumes: empty directories, and files made from ConfigMaps, Secrets, the pod itself and tokens.

What a volume holds is a pure function of its spec and its sources; `PodVolumes` reads the sources, gives the machine
what is new, and does so again every 8 s, so that changes reach the pod within 10 s.
"""

import asyncio
import base64
import binascii
import posixpath
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from hypernetes.api import quantity, times
from hypernetes.api.models.core_v1 import (
    DownwardAPIVolumeFile,
    KeyToPath,
    Pod,
    ServiceAccountTokenProjection,
    Volume,
)
from hypernetes.nodeagent import fieldrefs
from hypernetes.nodeagent.containers import all_of
from hypernetes.nodeagent.environment import ConfigError, Sources, secret_bytes
from hypernetes.nodeagent.runtime.base import Machine
from hypernetes.nodeagent.sources import PodSources

REFRESH_SECONDS = 8.0
DEFAULT_MODE = 0o644
DEFAULT_TOKEN_SECONDS = 3600
# A token is renewed once four fifths of its life, or a day, have passed (as upstream).
_RENEW_FRACTION = 0.8
_RENEW_SECONDS = 86400.0

Files = dict[str, tuple[bytes, int]]  # content and mode by relative path


# Gives the pod's machine an image as a disk: of its name and pull policy makes the disk's id.
AttachImage = Callable[[Pod, str, str | None], Awaitable[str]]


class VolumeError(Exception):
    """A volume can't be set up (yet); the message is for the pod's owner."""

    event_reason = "FailedMount"


@dataclass(frozen=True, slots=True)
class TokenKey:
    audience: str
    expiration_seconds: int


@dataclass(slots=True)
class _Token:
    text: str
    issued: float
    expires: float

    def due(self, now: float) -> bool:
        age, life = now - self.issued, self.expires - self.issued
        return age >= min(life * _RENEW_FRACTION, _RENEW_SECONDS)


def references(volumes: Iterable[Volume]) -> tuple[set[str], set[str]]:
    """Names of the ConfigMaps and Secrets that the volumes hold."""
    config_maps: set[str | None] = set()
    secrets: set[str | None] = set()
    for volume in volumes:
        if volume.config_map:
            config_maps.add(volume.config_map.name)
        if volume.secret:
            secrets.add(volume.secret.secret_name)
        for source in volume.projected.sources if volume.projected else ():
            if source.config_map:
                config_maps.add(source.config_map.name)
            if source.secret:
                secrets.add(source.secret.name)
    return {name for name in config_maps if name}, {name for name in secrets if name}


def tokens(volumes: Iterable[Volume]) -> set[TokenKey]:
    return {
        token_key(source.service_account_token)
        for volume in volumes
        if volume.projected
        for source in volume.projected.sources
        if source.service_account_token
    }


def token_key(projection: ServiceAccountTokenProjection) -> TokenKey:
    return TokenKey(projection.audience or "", projection.expiration_seconds or DEFAULT_TOKEN_SECONDS)


def content(
    volume: Volume, pod: Pod, sources: Sources, facts: fieldrefs.PodFacts, issued: Mapping[TokenKey, str]
) -> Files | None:
    """The files of a volume; None for one that holds none of ours (an empty directory, a persistent one). Raises
    VolumeError."""
    if source := volume.config_map:
        mode = _mode(source.default_mode)
        return _config_map(source.name, source.items, source.optional, sources, mode)
    if secret := volume.secret:
        return _secret(secret.secret_name, secret.items, secret.optional, sources, _mode(secret.default_mode))
    if downward := volume.downward_api:
        return _downward(downward.items, pod, facts, _mode(downward.default_mode))
    if projected := volume.projected:
        mode = _mode(projected.default_mode)
        files: Files = {}
        for part in projected.sources:
            if part.config_map:
                each = part.config_map
                files |= _config_map(each.name, each.items, each.optional, sources, mode)
            elif part.secret:
                files |= _secret(part.secret.name, part.secret.items, part.secret.optional, sources, mode)
            elif part.downward_api:
                files |= _downward(part.downward_api.items, pod, facts, mode)
            elif part.service_account_token:
                token = part.service_account_token
                files[_path(token.path)] = (issued[token_key(token)].encode(), mode)
            else:
                raise VolumeError(f'volume "{volume.name}": this projected source is not supported')
        return files
    persistent = (volume.persistent_volume_claim, volume.ephemeral, volume.nfs, volume.cinder)
    plain = volume.empty_dir is not None or volume.image is not None
    if plain or any(source is not None for source in persistent):
        return None
    raise VolumeError(f'volume "{volume.name}": this kind of volume is not supported by the node')


def _fs_group(pod: Pod) -> int | None:
    return pod.spec.security_context.fs_group if pod.spec.security_context else None


def _mode(mode: int | None) -> int:
    return DEFAULT_MODE if mode is None else mode


def _config_map(name: str | None, items: list[KeyToPath], optional: bool | None, sources: Sources, mode: int) -> Files:
    found = sources.config_maps.get(name or "")
    if found is None:
        if optional:
            return {}
        raise VolumeError(f'configmap "{name}" not found')
    try:
        binary = {key: base64.b64decode(value) for key, value in found.binary_data.items()}
    except (binascii.Error, ValueError) as error:
        raise VolumeError(f'configmap "{name}": binaryData is not base64') from error
    data = {**{key: value.encode() for key, value in found.data.items()}, **binary}
    return _select(data, items, bool(optional), mode, f'configmap "{name}"')


def _secret(name: str | None, items: list[KeyToPath], optional: bool | None, sources: Sources, mode: int) -> Files:
    found = sources.secrets.get(name or "")
    if found is None:
        if optional:
            return {}
        raise VolumeError(f'secret "{name}" not found')
    try:
        data = {key: secret_bytes(found, key) for key in found.data}
    except ConfigError as error:
        raise VolumeError(str(error)) from error
    return _select(data, items, bool(optional), mode, f'secret "{name}"')


def _select(data: Mapping[str, bytes], items: list[KeyToPath], optional: bool, mode: int, what: str) -> Files:
    if not items:
        return {_path(key): (value, mode) for key, value in data.items()}
    files: Files = {}
    for item in items:
        if item.key in data:
            files[_path(item.path)] = (data[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise VolumeError(f"{what} has no key {item.key!r}")
    return files


def _downward(items: list[DownwardAPIVolumeFile], pod: Pod, facts: fieldrefs.PodFacts, mode: int) -> Files:
    files: Files = {}
    containers = {container.name: container for container in all_of(pod)}
    for item in items:
        try:
            if item.field_ref:
                text = fieldrefs.field_value(pod, item.field_ref.field_path, facts)
            elif item.resource_field_ref:
                text = fieldrefs.resource_value(containers, "", item.resource_field_ref, facts)
            else:
                raise VolumeError(f"downwardAPI file {item.path!r} has no source")
        except fieldrefs.FieldError as error:
            raise VolumeError(str(error)) from error
        files[_path(item.path)] = (text.encode(), mode if item.mode is None else item.mode)
    return files


def _path(path: str) -> str:
    """A relative path inside the volume; VolumeError for one that would leave it."""
    clean = posixpath.normpath(path)
    if not path or clean.startswith(("/", "..")) or clean == ".":
        raise VolumeError(f"the path {path!r} leaves its volume")
    return clean


class PodVolumes:
    """Sets a pod's volumes up and keeps their content fresh. `facts` are asked each time, `pod` is the newest."""

    def __init__(
        self, sources: PodSources, machine: Machine, facts: fieldrefs.PodFacts, attach_image: AttachImage,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._sources, self._machine, self._facts, self._clock = sources, machine, facts, clock
        self._attach_image = attach_image
        self._written: dict[str, Files] = {}
        self._tokens: dict[TokenKey, _Token] = {}

    async def make(self, pod: Pod) -> None:
        """All volumes, before the first container. Raises VolumeError, MachineError, StatusError, TransportError."""
        for volume in pod.spec.volumes:
            if volume.empty_dir is not None:
                source = volume.empty_dir
                size = quantity.whole(source.size_limit) if source.size_limit else None
                await self._machine.make_volume(
                    volume.name, memory=source.medium == "Memory", size_bytes=size, fs_group=_fs_group(pod)
                )
            elif volume.image is not None:
                disk = await self._attach_image(pod, volume.image.reference or "", volume.image.pull_policy)
                await self._machine.make_volume(volume.name, image_disk=disk)
        await self.refresh(pod)

    async def refresh(self, pod: Pod) -> None:
        """Writes what has changed. Raises as `make`."""
        config_maps, secrets = references(pod.spec.volumes)
        found = await self._sources.read(config_maps, secrets)
        issued = {key: await self._token(pod, key) for key in tokens(pod.spec.volumes)}
        for volume in pod.spec.volumes:
            files = content(volume, pod, found, self._facts, issued)
            if files is not None and self._written.get(volume.name) != files:
                await self._machine.write_volume(volume.name, files, fs_group=_fs_group(pod))
                self._written[volume.name] = files

    async def _token(self, pod: Pod, key: TokenKey) -> str:
        now = self._clock()
        known = self._tokens.get(key)
        if known is None or known.due(now):
            text, expiry = await self._sources.token(
                pod, [key.audience] if key.audience else [], key.expiration_seconds
            )
            known = self._tokens[key] = _Token(text, now, times.parse_time(expiry).timestamp())
        return known.text

    @property
    def needs_refresh(self) -> bool:
        return bool(self._written)


async def wait_for_refresh(nudge: asyncio.Event) -> None:
    """Until it is time to look again, or the pod's own metadata has changed."""
    try:
        async with asyncio.timeout(REFRESH_SECONDS):
            await nudge.wait()
    except TimeoutError:
        return
    nudge.clear()
