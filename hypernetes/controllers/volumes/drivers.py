"""Finds the volume drivers: the local one is always there, others where the operator wrote what they have to know."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import structlog
import yaml

from hypernetes.client import Client
from hypernetes.controllers.volumes.nodevolumes import NodeVolumeObjects
from hypernetes.providers import loading
from hypernetes.providers.volume.base import ControlContext, VolumeProvider

log = structlog.get_logger()

GROUP = "hypernetes.providers.volume"
LOCAL = "local.hypernetes.io"


def configuration(file: Path | None) -> dict[str, dict[str, Any]]:
    """Section by driver. Raises OSError, ValueError."""
    if file is None:
        return {}
    try:
        said = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no YAML: {error}") from error
    if not isinstance(said, dict) or not all(isinstance(each, dict) for each in said.values()):
        raise ValueError(f"{file} must map volume drivers to their sections")
    known = {each.name for each in entry_points(group=GROUP)}
    if unknown := sorted(said.keys() - known):
        raise ValueError(f"there is no volume driver {unknown[0]!r}; installed are: {', '.join(sorted(known))}")
    return said


def load(client: Client, cluster_id: str, said: dict[str, dict[str, Any]]) -> tuple[VolumeProvider, ...]:
    """Raises ValueError for a section that is wrong, NoSuchProviderError."""
    objects = NodeVolumeObjects(client)
    local = {each.name for each in entry_points(group=GROUP, name=LOCAL)}
    if not local:
        log.error("no local volumes", why="the installed package doesn't name their driver: install it again")
    return tuple(
        loading.load("volume", name).control(ControlContext(cluster_id, objects, said.get(name, {})))
        for name in sorted({*local, *said})
    )
