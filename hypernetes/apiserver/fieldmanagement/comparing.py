"""What differs between two states of an object: the fields that were added, modified and removed."""

from dataclasses import dataclass
from typing import Any

from hypernetes.apiserver.fieldmanagement import elements
from hypernetes.apiserver.fieldmanagement.fieldsets import MEMBER, SELF, Fields
from hypernetes.apiserver.schema import Type

ANYTHING = Type("any")  # the type of what no schema describes


@dataclass(frozen=True, slots=True)
class Comparison:
    added: Fields
    modified: Fields
    removed: Fields


def compare(old: dict[str, Any], new: dict[str, Any], built: Type) -> Comparison:
    """Compares two objects of one type. Raises elements.Unsuitable for lists whose entries have no keys."""
    found = _Found()
    _containers(old, new, built, found)
    return Comparison(found.added, found.modified, found.removed)


def whole(value: Any, built: Type) -> Fields:
    """The node of a value that is there as a whole, with all that is in it."""
    if not value or built.atomic:
        return MEMBER
    if type(value) is dict:
        if built.kind == "object":
            known = built.fields
            node = {
                f"f:{key}": whole(each, known.get(key, ANYTHING)) if type(each) in (dict, list) else MEMBER
                for key, each in value.items()
            }
        else:
            item = _item(built)
            node = {
                f"f:{key}": whole(each, item) if type(each) in (dict, list) else MEMBER for key, each in value.items()
            }
        node[SELF] = MEMBER
        return node
    if type(value) is list and built.kind == "list":
        item = _item(built)
        node = {SELF: MEMBER}
        for entry in value:
            element = elements.of_entry(entry, built)
            node[element] = MEMBER if element in node else whole(entry, item)
        return node
    return MEMBER


def _item(built: Type) -> Type:
    return ANYTHING if built.item is None else built.item


class _Found:
    """The three trees while they grow, at one node."""

    __slots__ = ("added", "modified", "removed")

    def __init__(self) -> None:
        self.added: Fields = {}
        self.modified: Fields = {}
        self.removed: Fields = {}

    def keep(self, element: str, below: "_Found") -> None:
        if below.added:
            self.added[element] = below.added
        if below.modified:
            self.modified[element] = below.modified
        if below.removed:
            self.removed[element] = below.removed


def _containers(old: Any, new: Any, built: Type, found: _Found) -> None:
    """The differences inside of two values that both are there; anything but a container has nothing inside."""
    if isinstance(old, dict) or isinstance(new, dict):
        _maps(old if isinstance(old, dict) else {}, new if isinstance(new, dict) else {}, built, found)
    elif built.kind == "list":
        _lists(old or [], new or [], built, found)


def _maps(old: dict[str, Any], new: dict[str, Any], built: Type, found: _Found) -> None:
    known, item = built.fields, _item(built)
    for key, after in new.items():
        if key not in old:
            found.added[f"f:{key}"] = whole(after, known.get(key, item))
            continue
        before = old[key]
        if not _same(before, after):
            _values(f"f:{key}", before, after, known.get(key, item), found)
    for key, before in old.items():
        if key not in new:
            found.removed[f"f:{key}"] = whole(before, known.get(key, item))


def _values(element: str, before: Any, after: Any, built: Type, found: _Found) -> None:
    """Two values that differ."""
    if built.atomic or _is_leaf(before, after, built):
        found.modified[element] = MEMBER
        return
    below = _Found()
    _containers(before, after, built, below)
    found.keep(element, below)
    if built.kind == "any" and isinstance(before, dict) is not isinstance(after, dict):
        found.modified[element] = {SELF: MEMBER, **below.modified} if below.modified else MEMBER


def _is_leaf(before: Any, after: Any, built: Type) -> bool:
    """Whether two values that differ are compared as a whole: scalars, and containers that both are empty."""
    if not before and not after:
        return True
    kinds = (dict, list) if built.kind == "list" else dict
    return not isinstance(before, kinds) and not isinstance(after, kinds)


def _lists(old: list[Any], new: list[Any], built: Type, found: _Found) -> None:
    item = _item(built)
    former, latter = _by_element(old, built), _by_element(new, built)
    for element, after in latter.items():
        before = former.get(element)
        if before is None:
            found.added[element] = whole(after[0], item) if len(after) == 1 else MEMBER
        elif len(before) > 1 or len(after) > 1:
            _duplicates(element, before, after, item, found)
        elif not _same(before[0], after[0]):
            _values(element, before[0], after[0], item, found)
    for element, before in former.items():
        if element not in latter:
            found.removed[element] = whole(before[0], item) if len(before) == 1 else MEMBER


def _duplicates(element: str, before: list[Any], after: list[Any], item: Type, found: _Found) -> None:
    """Entries of one key are one thing, owned as a whole; and something else than a single entry of that key."""
    if len(before) > 1 and len(after) > 1:
        if before != after:
            found.modified[element] = MEMBER
    elif len(before) > 1:
        found.removed[element] = MEMBER
        found.added[element] = whole(after[0], item)
    else:
        found.added[element] = MEMBER
        found.removed[element] = whole(before[0], item)


def _by_element(entries: list[Any], built: Type) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for entry in entries:
        found.setdefault(elements.of_entry(entry, built), []).append(entry)
    return found


def _same(one: Any, other: Any) -> bool:
    """As JSON: 1 is not true."""
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)
