"""What a decision comes to: writes as values, and the carrying out of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypernetes.api.object import Object
from hypernetes.client import Client, is_reason


@dataclass(frozen=True, slots=True)
class Create:
    obj: Object


@dataclass(frozen=True, slots=True)
class Update:
    """Replaces the object, if it is still the version it was read as."""

    obj: Object


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    obj: Object


@dataclass(frozen=True, slots=True)
class Patch:
    """A strategic merge patch of this very object (by UID)."""

    obj: Object
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes this very object (by UID); that it is gone already is no error."""

    obj: Object
    propagation: str = "Background"
    grace_seconds: int | None = None  # None: as long as the object says


Write = Create | Update | UpdateStatus | Patch | Delete


async def carry_out(client: Client, tenant: str, writes: Iterable[Write]) -> None:
    """In order; the first that fails ends it. Level-triggered callers then decide anew."""
    for write in writes:
        await carry_out_one(client, tenant, write)


async def carry_out_one(client: Client, tenant: str, write: Write) -> Any:
    """The stored object, or for a delete the server's answer (None: it was gone). Raises what the client raises."""
    match write:
        case Create(obj):
            return await client.create(obj, tenant=tenant)
        case Update(obj):
            return await client.update(obj, tenant=tenant)
        case UpdateStatus(obj):
            return await client.update_status(obj, tenant=tenant)
        case Patch(obj, body):
            metadata: Any = obj.metadata  # type: ignore[attr-defined]
            body = {**body, "metadata": {**body.get("metadata", {}), "uid": metadata.uid}}
            return await client.patch(
                type(obj), metadata.name, body, namespace=metadata.namespace, tenant=tenant, kind="strategic"
            )
        case Delete(obj, propagation, grace_seconds):
            return await _delete(client, tenant, obj, propagation, grace_seconds)


async def _delete(
    client: Client, tenant: str, obj: Any, propagation: str, grace_seconds: int | None
) -> dict[str, Any] | None:
    metadata = obj.metadata
    try:
        return await client.delete(
            type(obj), metadata.name, namespace=metadata.namespace, tenant=tenant, uid=metadata.uid,
            propagation=propagation, grace_seconds=grace_seconds,
        )  # fmt: skip
    except Exception as error:
        # Not so a Conflict: whether another object has the name by now, the cache will tell when it has caught up.
        if is_reason(error, "NotFound"):
            return None
        raise
