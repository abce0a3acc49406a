"""The scale subresource of whatever an HPA scales."""

from dataclasses import dataclass
from typing import Any

from hypernetes.api import scheme
from hypernetes.api.models.autoscaling_v2 import CrossVersionObjectReference
from hypernetes.client import Client, Key

_SECONDS = 10.0


class NoScale(Exception):
    """Why the target has none."""


@dataclass(frozen=True, slots=True)
class Scale:
    path: str
    body: dict[str, Any]  # as it was read

    @property
    def replicas(self) -> int:
        return int((self.body.get("spec") or {}).get("replicas") or 0)

    @property
    def observed(self) -> int:
        return int((self.body.get("status") or {}).get("replicas") or 0)

    @property
    def selector(self) -> str:
        return str((self.body.get("status") or {}).get("selector") or "")


async def read(client: Client, key: Key, target: CrossVersionObjectReference) -> Scale:
    """Of the target in the HPA's namespace. Raises NoScale, and what the client raises."""
    version = target.api_version_ or "v1"
    try:
        resource = scheme.by_kind(version, target.kind_)
    except KeyError as error:
        raise NoScale(f'no matches for kind "{target.kind_}" in version "{version}"') from error
    if "scale" not in resource.subresources:
        raise NoScale(f"{resource.group_resource} can't be scaled")
    path = resource.path(key.tenant, key.namespace, target.name, "scale")
    return Scale(path, await client.request("GET", path, timeout=_SECONDS))


async def write(client: Client, scale: Scale, replicas: int) -> None:
    """Conflict where the target changed since the scale was read."""
    spec = {**(scale.body.get("spec") or {}), "replicas": replicas}
    await client.request("PUT", scale.path, json={**scale.body, "spec": spec}, timeout=_SECONDS)
