"""APIServices as they are stored, and which there are (pure)."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.mirror import Entry, Mirror
from hypernetes.apiserver.registry.apiservices import DEFAULT_PORT

APISERVICES = scheme.by_name("apiregistration.k8s.io/v1", "apiservices")
GroupVersion = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Registered:
    """One that names a service."""

    tenant: str
    name: str
    group: str
    version: str
    namespace: str
    service: str
    port: int
    ca_bundle: bytes = b""  # PEM
    insecure: bool = False
    group_priority: int = 0
    version_priority: int = 0

    @property
    def prefix(self) -> str:
        return f"/apis/{self.group}/{self.version}"

    @property
    def host(self) -> str:
        """Whom its certificate must name."""
        return f"{self.service}.{self.namespace}.svc"


def read(tenant: str, obj: dict[str, Any]) -> Registered | None:
    """None for one that names no service, or a group that is nobody's to serve."""
    spec = obj.get("spec") or {}
    service, group = spec.get("service"), spec.get("group") or ""
    if not service or not group or group in scheme.groups():
        return None
    return Registered(
        tenant, obj["metadata"]["name"], group, spec.get("version") or "", service.get("namespace") or "",
        service.get("name") or "", service.get("port") or DEFAULT_PORT,
        base64.b64decode(spec.get("caBundle") or ""), bool(spec.get("insecureSkipTLSVerify")),
        spec.get("groupPriorityMinimum") or 0, spec.get("versionPriority") or 0,
    )  # fmt: skip


class Registrations:
    """All of them, by tenant, group and version."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._known: dict[str, dict[GroupVersion, Registered]] = {}

    def reset(self) -> None:
        self._known = {}
        for entry in self._mirror.range(self._mirror.keys.range(APISERVICES)):
            if entry.name is not None:
                self._put(entry.name, entry)

    def observe(self, key: ObjectKey, entry: Entry | None) -> None:
        known = self._known.get(key.tenant, {})
        for group_version in [each for each, registered in known.items() if registered.name == key.name]:
            del known[group_version]
        if not known:
            self._known.pop(key.tenant, None)
        self._put(key, entry)

    def _put(self, key: ObjectKey, entry: Entry | None) -> None:
        registered = None if entry is None else read(key.tenant, orjson.loads(entry.data))
        if registered is not None:
            self._known.setdefault(key.tenant, {})[registered.group, registered.version] = registered

    def of(self, tenant: str) -> dict[GroupVersion, Registered]:
        return self._known.get(tenant, {})

    def all(self) -> Iterator[Registered]:
        for known in self._known.values():
            yield from known.values()
