"""Server-side apply: a manager says all that it wants of an object, and gives up what it no longer says."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any

import orjson

from hypernetes.apiserver.fieldmanagement import configurations, fieldsets, merging, updating
from hypernetes.apiserver.fieldmanagement.entries import Managed, Manager, Managers
from hypernetes.apiserver.fieldmanagement.fieldsets import Fields
from hypernetes.apiserver.fieldmanagement.updating import Differences, Versions
from hypernetes.apiserver.schema import Type

Object = dict[str, Any]
Path = tuple[str, ...]

_MAX_TOLD = 1_000  # conflicts in one answer: a body of 3 MB can have a million


class Conflicts(Exception):
    """Others manage what the configuration changes. What is found comes manager by manager."""

    def __init__(self, found: list[tuple[Manager, Path]]) -> None:
        super().__init__(f"{len(found)} conflicts")
        self.found = found

    @property
    def message(self) -> str:
        """As upstream words it; kubectl shows it to people."""
        if len(self.found) == 1:
            manager, path = self.found[0]
            return f"Apply failed with 1 conflict: conflict with {manager}: {fieldsets.text(path)}"
        lines: list[str] = []
        for manager, conflicts in groupby(self.found[:_MAX_TOLD], key=lambda each: each[0]):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {fieldsets.text(path)}" for _, path in conflicts]
        return f"Apply failed with {len(self.found)} conflicts: " + "\n".join(lines)


def applied(
    live: Object | None, config: Object, managers: Managers, manager: Manager, versions: Versions, *,
    force: bool, now: str,
) -> tuple[Object | None, Managers]:  # fmt: skip
    """What the object becomes (None: it stays as it is), and its managers.

    `live` is None where there is none yet. Raises elements.Unsuitable for a configuration that isn't of this kind, and
    Conflicts where others manage what it changes, unless it is to `force` them to give that up.
    """
    built = versions.built
    named = versions.counted(configurations.named(config, built))
    before = updating.nothing_said(built) if live is None else live
    if live is not None and not managers:
        managers = updating.before_first_apply(live, versions, manager.subresource, now)
    managers = _fitted(managers, before, versions)
    last = managers.get(manager)
    claimed = {**managers, manager: Managed(versions.api_version, named, last.time if last else "")}
    new = merging.merge(before, config, built)
    if last is not None:
        new = _pruned(new, last, claimed, manager, versions)
    differences = Differences(before, new, versions)
    conflicts = [] if force else list(_conflicts(claimed, manager, differences))
    if conflicts:
        raise Conflicts(conflicts)
    left = updating.losing(claimed, manager, differences)
    fields = updating.managed_of(named, versions)
    changed = live is None or new != live
    if fields:
        left[manager] = Managed(versions.api_version, fields, now if changed else left[manager].time)
    else:
        del left[manager]
    return (new if changed else None), left


def _fitted(managers: Managers, live: Object, versions: Versions) -> Managers:
    """The managers of versions that there are, with their fields as the kind now is."""
    fitted: Managers = {}
    for manager, managed in managers.items():
        at = versions.at(managed.api_version, live)
        if at is not None:
            fields = orjson.dumps(managed.fields)
            small = len(fields) <= configurations.MAX_REMEMBERED_BYTES
            fit = _fit(fields, at[1]) if small else fieldsets.fitted(managed.fields, at[1])
            fitted[manager] = managed._replace(fields=fit)
    return fitted


@lru_cache(maxsize=256)
def _fit(fields: bytes, built: Type) -> Fields:
    """As `fieldsets.fitted`, remembered: objects of one make have the same fields managed."""
    return fieldsets.fitted(orjson.loads(fields), built)


def _conflicts(managers: Managers, me: Manager, differences: Differences) -> Iterator[tuple[Manager, Path]]:
    for manager, managed in sorted(managers.items()):
        difference = None if manager == me else differences.at(managed.api_version)
        if difference is not None:
            changed = fieldsets.union(difference.modified, difference.added)
            for path in fieldsets.paths(fieldsets.intersection(managed.fields, changed)):
                yield manager, path


def _pruned(merged: Object, last: Managed, managers: Managers, me: Manager, versions: Versions) -> Object:
    """The object without what its manager named last, and names no longer, and nobody else manages."""
    if last.api_version == versions.api_version and not fieldsets.difference(last.fields, managers[me].fields):
        return merged
    at = versions.at(last.api_version, merged)
    if at is None:
        return merged
    obj, built = at
    mentioned = fieldsets.with_named(last.fields, built)
    pruned = merging.remove(obj, mentioned, built)
    for api_version in sorted({each.api_version for each in managers.values()}, key=lambda v: v != last.api_version):
        pruned = _with_managed(obj, pruned, api_version, last.api_version, managers, versions)
    kept = fieldsets.with_named(configurations.fields_of(pruned, built), built)
    whole = fieldsets.with_named(configurations.fields_of(obj, built), built)
    gone = fieldsets.intersection(fieldsets.difference(whole, kept), mentioned)
    result = merging.remove(obj, gone, built)
    back = versions.convert(result, last.api_version, versions.api_version)
    return merged if back is None else back[0]


def _with_managed(
    merged: Object, pruned: Object, api_version: str, of: str, managers: Managers, versions: Versions
) -> Object:  # fmt: skip
    """`pruned` with what of `merged` is managed in one version, in which they are compared; both are `of` a version."""
    before, after = versions.convert(merged, of, api_version), versions.convert(pruned, of, api_version)
    if before is None or after is None:
        return pruned
    built: Type = before[1]
    managed: Fields = {}
    for each in managers.values():
        if each.api_version == api_version:
            managed = fieldsets.union(managed, each.fields)
    whole, kept = (configurations.fields_of(each[0], built) for each in (before, after))
    wanted = fieldsets.union(fieldsets.with_named(kept, built), fieldsets.with_named(managed, built))
    result = merging.remove(before[0], fieldsets.difference(fieldsets.with_named(whole, built), wanted), built)
    back = versions.convert(result, api_version, of)
    return pruned if back is None else back[0]
