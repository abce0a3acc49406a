"""`metadata.managedFields` itself: what each manager manages, by which kind of request, since when.

An object holds its managers as bytes, canonical and apart from all else that it says (codec.py): most reads and many
writes never look at them.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from hypernetes.api import times
from hypernetes.apiserver.fieldmanagement import fieldsets
from hypernetes.apiserver.fieldmanagement.fieldsets import Fields

APPLY, UPDATE = "Apply", "Update"
MAX_UPDATE_MANAGERS = 10  # as upstream: who was there first is then put together
_ANCIENT = "ancient-changes"
_FIELDS_TYPE = "FieldsV1"


class Manager(NamedTuple):
    """Who manages fields. Of one who applies there is one entry, whatever the version: that of its last apply."""

    name: str
    operation: str
    api_version: str = ""  # "" for one who applies
    subresource: str = ""

    @classmethod
    def of(cls, name: str, operation: str, api_version: str, subresource: str) -> "Manager":
        return cls(name or "unknown", operation, "" if operation == APPLY else api_version, subresource)

    @property
    def applies(self) -> bool:
        return self.operation == APPLY

    def __str__(self) -> str:
        """As conflicts name it."""
        said = orjson.dumps(self.name).decode()
        if self.subresource:
            said += f" with subresource {orjson.dumps(self.subresource).decode()}"
        return said if self.applies else f"{said} using {self.api_version}"


class Managed(NamedTuple):
    """What one manager manages. `time` is that of its last change, "" where that isn't known."""

    api_version: str
    fields: Fields
    time: str = ""


Managers = dict[Manager, Managed]


def read(entries: Iterable[Any], *, trusted: bool = False) -> Managers:
    """The managers of entries; ValueError where they aren't such. `trusted` ones were written by `dump`."""
    managers: Managers = {}
    for entry in entries:
        operation, api_version = entry.get("operation"), entry.get("apiVersion")
        if operation not in (APPLY, UPDATE):
            raise ValueError("operation must be `Apply` or `Update`")
        if not api_version or entry.get("fieldsType") != _FIELDS_TYPE:
            raise ValueError("apiVersion must not be empty, and fieldsType be FieldsV1")
        fields = entry.get("fieldsV1") or {}
        manager = Manager(
            entry.get("manager", ""), operation, "" if operation == APPLY else api_version, entry.get("subresource", "")
        )
        managers[manager] = Managed(
            api_version, fields if trusted else fieldsets.canonical(fields), entry.get("time") or ""
        )
    return managers


def load(data: bytes) -> Managers:
    """The managers of what `dump` made."""
    return read(orjson.loads(data), trusted=True) if data else {}


def dump(managers: Managers) -> bytes:
    """The entries as a JSON array; nothing where there are none."""
    if not managers:
        return b""
    return orjson.dumps([_entry(*each) for each in sorted(managers.items(), key=_rank)], option=orjson.OPT_SORT_KEYS)


def _rank(each: tuple[Manager, Managed]) -> tuple[str, ...]:
    manager, managed = each
    return manager.operation, managed.time, manager.name, managed.api_version, manager.subresource


def _entry(manager: Manager, managed: Managed) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "manager": manager.name, "operation": manager.operation, "apiVersion": managed.api_version,
        "fieldsType": _FIELDS_TYPE, "fieldsV1": managed.fields,
    }  # fmt: skip
    if managed.time:
        entry["time"] = managed.time
    if manager.subresource:
        entry["subresource"] = manager.subresource
    if not manager.name:
        del entry["manager"]
    return entry


def is_reset(entries: Any) -> bool:
    """Whether a client says by an empty list, or by one empty entry, that nobody is to manage anything."""
    return entries in ([], [{}])


def capped(managers: Managers) -> Managers:
    """The managers with the oldest of those who update put together, version by version, where there are too many."""
    updating = [each for each in managers.items() if not each[0].applies]
    surplus = len(updating) - MAX_UPDATE_MANAGERS
    if surplus <= 0:
        return managers
    kept = dict(managers)
    first: dict[str, Manager] = {}
    for manager, managed in sorted(updating, key=lambda each: (each[1].time, each[0])):
        if surplus <= 0:
            break
        version = managed.api_version
        if version not in first:
            first[version] = manager
            continue
        bucket = Manager(_ANCIENT, UPDATE, version)
        if bucket not in kept:
            kept[bucket] = kept.pop(first[version])
        if manager == bucket:
            continue
        former = kept[bucket]
        kept[bucket] = Managed(version, fieldsets.union(former.fields, managed.fields), managed.time)
        del kept[manager]
        surplus -= 1
    return kept


def timestamp(now: datetime) -> str:
    return times.format_time(now)
