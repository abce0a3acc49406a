"""Sets of fields in the form of FieldsV1: a tree of path elements.

    {"f:spec": {"f:replicas": {}, "f:template": {".": {}, "f:spec": {…}}}}

A leaf is a member of the set, and so is an inner node that has a "."; other inner nodes only lead there. The root is
never a member: `{}` is the empty set. Trees share their branches and are never changed in place. Every function takes
time in proportion to the smaller of its sets, as far as it can.
"""

from collections.abc import Iterator
from typing import Any

from hypernetes.apiserver.fieldmanagement import elements
from hypernetes.apiserver.schema import Type

Fields = dict[str, Any]

SELF = "."
MEMBER: Fields = {}  # a leaf


def is_member(node: Fields) -> bool:
    return not node or SELF in node


def union(one: Fields, other: Fields) -> Fields:
    if not one or not other:
        return one or other
    return _children_of_both(one, other)


def _children_of_both(one: Fields, other: Fields) -> Fields:
    if len(one) < len(other):
        one, other = other, one
    out = dict(one)
    for element, node in other.items():
        out[element] = _union(out[element], node) if element in out else node
    return out


def _union(one: Fields, other: Fields) -> Fields:
    if one == other:
        return one
    if not one or not other:
        return {SELF: MEMBER, **(one or other)} if one or other else MEMBER
    return _children_of_both(one, other)


def difference(fields: Fields, gone: Fields) -> Fields:
    """The fields that aren't in `gone`."""
    return (_less(fields, gone, member=False) or {}) if fields and gone else fields


def _less(node: Fields, gone: Fields, *, member: bool) -> Fields | None:
    """A node without what is gone below it; None where nothing of it is left. `member`: whether it stays one itself."""
    out = dict(node)
    out.pop(SELF, None)
    for element, below in gone.items():
        child = out.get(element)
        if child is None or element == SELF:
            continue
        if child == below:  # most often, and quickly known
            del out[element]
            continue
        left = _less(child, below, member=is_member(child) and not is_member(below))
        if left is None:
            del out[element]
        else:
            out[element] = left
    if not out:
        return MEMBER if member else None
    if member:
        out[SELF] = MEMBER
    return out


def without_branches(fields: Fields, roots: Fields) -> Fields:
    """The fields that neither are in `roots` nor lie below one of those."""
    out = dict(fields)
    for element, root in roots.items():
        child = out.get(element)
        if child is None or element == SELF:
            continue
        if is_member(root):
            del out[element]
            continue
        left = without_branches(child, root)
        if left or not child:
            out[element] = left if left.keys() != {SELF} else MEMBER
        else:
            del out[element]
    return out


def intersection(one: Fields, other: Fields) -> Fields:
    return (_common(one, other, member=False) or {}) if one and other else {}


def _common(one: Fields, other: Fields, *, member: bool) -> Fields | None:
    if len(one) > len(other):
        one, other = other, one
    out: Fields = {}
    for element, node in one.items():
        match = other.get(element)
        if match is None or element == SELF:
            continue
        if node == match:
            out[element] = node
            continue
        both = _common(node, match, member=is_member(node) and is_member(match))
        if both is not None:
            out[element] = both
    if not out:
        return MEMBER if member else None
    if member:
        out[SELF] = MEMBER
    return out


def has(fields: Fields, path: tuple[str, ...]) -> bool:
    node: Fields | None = fields
    for element in path:
        node = node.get(element) if node else None
        if node is None:
            return False
    return node is not None and is_member(node)


def paths(fields: Fields, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every member's path, parents first, in the order of their names."""
    for element in sorted(fields):
        if element == SELF:
            continue
        path = (*before, element)
        if is_member(fields[element]):
            yield path
        yield from paths(fields[element], path)


def text(path: tuple[str, ...]) -> str:
    """A path as people read it: `.spec.containers[name="web"].image`."""
    return "".join(map(elements.text, path))


def canonical(value: Any) -> Fields:
    """A set as somebody sent it, in the form that is compared. ValueError for what is no set."""
    if not isinstance(value, dict):
        raise ValueError("a set of fields is an object")
    out: Fields = {}
    for element, below in value.items():
        if element == SELF:
            continue
        known = elements.canonical(element)
        if known is None:
            continue
        node = canonical(below)
        if node and SELF in below:
            node[SELF] = MEMBER
        if node or not below or SELF in below:
            out[known] = _union(out[known], node) if known in out else node
    return out


def with_named(fields: Fields, built: Type | None) -> Fields:
    """The set with all declared fields that lead to a member: having `.spec.replicas` makes it have `.spec`, too."""
    out: Fields = {}
    for element, node in fields.items():
        if element == SELF or not node:
            out[element] = node
            continue
        below = with_named(node, child(built, element))
        if element[:2] == "f:" and built is not None and element[2:] in built.fields:
            below[SELF] = MEMBER
        out[element] = below
    return out


def child(built: Type | None, element: str) -> Type | None:
    """The type of what an element names inside of `built`; None where that isn't declared."""
    if built is None:
        return None
    if element[:2] == "f:":
        return built.fields.get(element[2:], built.item if built.kind == "map" else None)
    return built.item


def fitted(fields: Fields, built: Type) -> Fields:
    """The set with nothing below what is owned as a whole, which its kind may have become since it was made."""
    out: Fields = {}
    for element, node in fields.items():
        below = child(built, element) if node else None
        if below is None or element == SELF:
            out[element] = node
        elif below.atomic:
            out[element] = MEMBER
        else:
            out[element] = fitted(node, below)
    return out
