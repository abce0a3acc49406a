"""Puts a configuration over an object, and takes fields out of one. What goes in is never changed."""

from typing import Any

from hypernetes.apiserver.fieldmanagement import elements
from hypernetes.apiserver.fieldmanagement.comparing import ANYTHING
from hypernetes.apiserver.fieldmanagement.fieldsets import Fields, is_member
from hypernetes.apiserver.schema import Type

Object = dict[str, Any]


def merge(live: Object, config: Object, built: Type) -> Object:
    """The object with what the configuration says; where both say something, the configuration counts."""
    merged: Object = _values(live, config, built)
    return merged


def _values(live: Any, config: Any, built: Type) -> Any:
    if built.atomic or (not live and not config):
        return config
    if isinstance(live, dict) and (isinstance(config, dict) or config is None):
        return _maps(live, config or {}, built)
    if built.kind == "list" and isinstance(live, list) and (isinstance(config, list) or config is None):
        return _lists(live, config or [], built)
    return config


def _maps(live: Object, config: Object, built: Type) -> Object:
    item = ANYTHING if built.item is None else built.item
    merged = dict(live)
    for key, value in config.items():
        merged[key] = _values(live[key], value, built.fields.get(key, item)) if key in live else value
    return merged


def _lists(live: list[Any], config: list[Any], built: Type) -> list[Any]:
    """Entries of the configuration in its order, and those of the object where they stood among these."""
    item = ANYTHING if built.item is None else built.item
    before = [elements.of_entry(entry, built) for entry in live]
    former: dict[str, Any] = {}
    for element, entry in zip(before, live, strict=True):
        former[element] = None if element in former else entry  # several of one key have nothing to merge with
    wanted = {elements.of_entry(entry, built): entry for entry in config}
    common = iter([element for element in wanted if element in former])
    next_common = next(common, None)
    merged: list[Any] = []
    done: set[str] = set()
    order = list(wanted)
    left = right = 0
    while left < len(before) or right < len(order):
        here = before[left] if left < len(before) else None
        elsewhere = right < len(order) and here in wanted and next_common not in (None, here)
        if elsewhere and here != order[right]:
            left += 1  # it is moved to where the configuration has it
            continue
        if here is not None and here not in wanted:
            merged.append(live[left])
            left += 1
            continue
        if here is not None and (here in done or (right < len(order) and here == order[right])):
            left += 1
        if right < len(order):
            element = order[right]
            old = former.get(element)
            merged.append(wanted[element] if old is None else _values(old, wanted[element], item))
            done.add(element)
            right += 1
            if element == next_common:
                next_common = next(common, None)
    return merged


def remove(obj: Object, gone: Fields, built: Type) -> Object:
    """The object without the fields of a set, each with all that is in it."""
    return _without(obj, gone, built) or {}


def _without(value: Any, gone: Fields, built: Type) -> Any:
    """None where nothing is left of a container."""
    if not value or built.atomic:
        return value
    item = ANYTHING if built.item is None else built.item
    if isinstance(value, dict):
        kept: Object = {}
        for key, each in value.items():
            node = gone.get(f"f:{key}")
            if node is None:
                kept[key] = each
            elif not is_member(node):
                kept[key] = _without(each, node, built.fields.get(key, item))
        return kept or None
    if isinstance(value, list) and built.kind == "list":
        entries = []
        for entry in value:
            node = gone.get(elements.of_entry(entry, built))
            if node is None:
                entries.append(entry)
            elif not is_member(node):
                entries.append(_without(entry, node, item))
        return entries or None
    return value
