"""What an update (anything but an apply) changes in who manages what: it takes over what it changes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from hypernetes.apiserver.fieldmanagement import comparing, fieldsets
from hypernetes.apiserver.fieldmanagement.comparing import Comparison
from hypernetes.apiserver.fieldmanagement.configurations import MAX_REMEMBERED_BYTES
from hypernetes.apiserver.fieldmanagement.entries import UPDATE, Managed, Manager, Managers, capped
from hypernetes.apiserver.fieldmanagement.fieldsets import MEMBER, SELF, Fields
from hypernetes.apiserver.schema import Type

Object = dict[str, Any]
Filter = Callable[[Fields], Fields]

# What nobody manages, though it may be written.
_UNMANAGED: Fields = {
    "f:apiVersion": MEMBER,
    "f:kind": MEMBER,
    "f:metadata": {
        SELF: MEMBER,
        **{
            f"f:{name}": MEMBER
            for name in (
                "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
                "managedFields", "resourceVersion",
            )
        },
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Versions:
    """How a kind looks in the version of a request, and in others that its managers used."""

    api_version: str
    built: Type
    other: Callable[[Object, str, str], tuple[Object, Type] | None]  # from one version to another; None: there is none
    counted: Filter = lambda fields: fields  # without what the request can't change, which its strategy resets

    def convert(self, obj: Object, of: str, to: str) -> tuple[Object, Type] | None:
        """An object of one version in another, with its type; None where the kind has no such version."""
        return (obj, self.built) if of == to == self.api_version else self.other(obj, of, to)

    def at(self, api_version: str, obj: Object) -> tuple[Object, Type] | None:
        """An object of the request's version in another."""
        return self.convert(obj, self.api_version, api_version)

    def compare(self, api_version: str, old: Object, new: Object) -> Comparison | None:
        """What differs between two objects of the request's version, as another version sees it."""
        before, after = self.at(api_version, old), self.at(api_version, new)
        if before is None or after is None:
            return None
        found = comparing.compare(before[0], after[0], before[1])
        return Comparison(self.counted(found.added), self.counted(found.modified), self.counted(found.removed))


def created(new: Object, managers: Managers, manager: Manager, versions: Versions, now: str) -> Managers:
    """The managers of an object that `manager` makes; `managers` are those that it claims to have."""
    if managers:
        return _taken_over(nothing_said(versions.built), new, managers, manager, versions, now)
    spec = orjson.dumps(new["spec"]) if "spec" in new else b""
    if spec and len(spec) <= MAX_REMEMBERED_BYTES:
        rest = _said({key: value for key, value in new.items() if key != "spec"}, versions.built)
        said = fieldsets.union(rest, _said_in_spec(spec, versions.built))
    else:
        said = _said(new, versions.built)
    taken = managed_of(said, versions)
    return {manager: Managed(versions.api_version, taken, now)} if taken else {}


def _said(obj: Object, built: Type) -> Fields:
    """The fields of an object that aren't there by themselves."""
    compared = comparing.compare(nothing_said(built), obj, built)
    return fieldsets.union(compared.added, compared.modified)


@lru_cache(maxsize=128)
def _said_in_spec(spec: bytes, built: Type) -> Fields:
    """The same of a spec, as JSON: what a controller makes many of are often alike in it."""
    return _said({"spec": orjson.loads(spec)}, built)


def updated(
    old: Object, new: Object, managers: Managers, manager: Manager, versions: Versions, now: str
) -> Managers:  # fmt: skip
    """The managers after `manager` has made `new` of `old`. Raises elements.Unsuitable.

    All lose what was changed or removed; `manager` has what was added or changed. Where nobody is known to manage
    anything, that stays so until somebody applies.
    """
    return _taken_over(old, new, managers, manager, versions, now) if managers else {}


def _taken_over(
    old: Object, new: Object, managers: Managers, manager: Manager, versions: Versions, now: str
) -> Managers:  # fmt: skip
    differences = Differences(old, new, versions)
    compared = differences.at(versions.api_version)
    assert compared is not None
    if not (compared.added or compared.modified or compared.removed):
        return capped(managers)
    taken = fieldsets.difference(fieldsets.union(compared.added, compared.modified), _UNMANAGED)
    left = losing(managers, None, differences)
    if taken:
        former = left.get(manager)
        fields = fieldsets.union(former.fields, taken) if former else taken
        left[manager] = Managed(versions.api_version, fields, now)
    return capped(left)


class Differences:
    """Two objects of the request's version, compared in each version when first asked for."""

    def __init__(self, old: Object, new: Object, versions: Versions) -> None:
        self._old, self._new, self._versions = old, new, versions
        self._found: dict[str, Comparison | None] = {}

    def at(self, api_version: str) -> Comparison | None:
        """None where the kind has no such version. Raises elements.Unsuitable."""
        if api_version not in self._found:
            self._found[api_version] = self._versions.compare(api_version, self._old, self._new)
        return self._found[api_version]


def losing(managers: Managers, keeper: Manager | None, differences: Differences) -> Managers:
    """The managers without what has changed under them, and without those left with nothing; the `keeper` stays."""
    left: Managers = {}
    for manager, managed in managers.items():
        if manager == keeper:
            left[manager] = managed
            continue
        difference = differences.at(managed.api_version)
        if difference is None:
            continue  # no such version any more
        fields = managed.fields
        for gone in (difference.modified, difference.added, difference.removed):
            fields = fieldsets.difference(fields, gone)
        if fields:
            left[manager] = managed if fields is managed.fields else managed._replace(fields=fields)
    return left


def managed_of(fields: Fields, versions: Versions) -> Fields:
    """Of the fields that a request names those that it can manage."""
    return fieldsets.difference(versions.counted(fields), _UNMANAGED)


def before_first_apply(live: Object, versions: Versions, subresource: str, now: str) -> Managers:
    """The managers of an object of which nobody knew until now who manages what."""
    manager = Manager.of("before-first-apply", UPDATE, versions.api_version, subresource)
    return created(live, {}, manager, versions, now)


@lru_cache(maxsize=512)
def nothing_said(built: Type) -> Object:
    """An object of a kind in which nothing is said, as upstream's types have it. Not to be changed."""
    return {
        key: nothing_said(built.fields[key]) if value == {} and key in built.fields else value
        for key, value in built.always.items()
    }
