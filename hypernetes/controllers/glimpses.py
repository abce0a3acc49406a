"""What is kept of each pod beside its bytes, for those who look at thousands of them at a time: ReplicaSets count and
rank all of theirs at every turn, and parsing a pod takes some 150 µs.

A glimpse has a pod's attributes, by the same names, as far as pods.py and ownership.py ask for them. Labels and owners,
which the pods of a template have in common, are shared between them.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Self

import orjson

from hypernetes.api import tenancy
from hypernetes.api.models.meta_v1 import OwnerReference
from hypernetes.controllers.annotations import DELETION_COST_ANNOTATION

_KEPT = (DELETION_COST_ANNOTATION, tenancy.TENANT_ANNOTATION)


class Metadata:
    __slots__ = (
        "annotations", "creation_timestamp", "deletion_timestamp", "labels", "name", "namespace", "owner_references",
        "resource_version", "uid",
    )  # fmt: skip

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.name: str | None = fields.get("name")
        self.namespace: str | None = fields.get("namespace")
        self.uid: str | None = fields.get("uid")
        self.resource_version: str | None = fields.get("resourceVersion")
        self.creation_timestamp: str | None = fields.get("creationTimestamp")
        self.deletion_timestamp: str | None = fields.get("deletionTimestamp")
        self.labels = _labels(tuple((fields.get("labels") or {}).items()))
        annotations = fields.get("annotations") or {}
        self.annotations = _labels(tuple((name, annotations[name]) for name in _KEPT if name in annotations))
        self.owner_references = _owners(orjson.dumps(fields.get("ownerReferences") or []))


class Spec:
    __slots__ = ("node_name",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.node_name: str | None = fields.get("nodeName")


class Condition:
    __slots__ = ("last_transition_time", "status", "type")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.type: str = fields["type"]
        self.status: str | None = fields.get("status")
        self.last_transition_time: str | None = fields.get("lastTransitionTime")


class ContainerStatus:
    __slots__ = ("restart_count",)

    def __init__(self, restarts: int) -> None:
        self.restart_count = restarts


class Status:
    """Of the conditions, Ready; of the containers, how often they were started again, all together."""

    __slots__ = ("conditions", "container_statuses", "phase")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.phase: str | None = fields.get("phase")
        told = fields.get("conditions") or ()
        self.conditions = tuple(Condition(each) for each in told if each.get("type") == "Ready")
        restarts = sum(each.get("restartCount", 0) for each in fields.get("containerStatuses") or ())
        self.container_statuses = _containers(restarts)


class PodGlimpse:
    __slots__ = ("metadata", "spec", "status")

    API_VERSION: ClassVar[str] = "v1"
    KIND: ClassVar[str] = "Pod"

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """Of a pod in JSON form. Raises AttributeError, KeyError or TypeError for what is none."""
        self.metadata = Metadata(fields["metadata"])
        self.spec = Spec(fields.get("spec") or {})
        self.status = Status(fields.get("status") or {})

    @classmethod
    def from_dict(cls, fields: Any) -> Self:
        return cls(fields)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        return cls(orjson.loads(data))


@lru_cache(maxsize=16_384)
def _labels(items: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Read-only: it is others' as well."""
    return dict(items)


@lru_cache(maxsize=16_384)
def _owners(data: bytes) -> tuple[OwnerReference, ...]:
    return tuple(OwnerReference.from_dict(each) for each in orjson.loads(data))


@lru_cache(maxsize=256)
def _containers(restarts: int) -> tuple[ContainerStatus, ...]:
    return (ContainerStatus(restarts),) if restarts else ()
