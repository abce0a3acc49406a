"""Strategic merge patch: a merge patch that knows from the schema which lists have keys.

Directives: `$patch: replace|delete` in an object or list entry, `$retainKeys`, `$setElementOrder/<list>` and
`$deleteFromPrimitiveList/<list>`. Order rules: entries of the patch keep the patch's order, entries only the server has
keep theirs, and where the two meet the server's order decides, else the patch's come first.
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from typing import Any

from hypernetes.apiserver.jsonvalues import clone
from hypernetes.apiserver.patch.errors import MalformedPatch
from hypernetes.apiserver.schema import Type

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def apply(original: dict[str, Any], patch: Any, root: Type) -> dict[str, Any]:
    """The patched copy; MalformedPatch for what is no object or misuses a directive."""
    if not isinstance(patch, dict):
        raise MalformedPatch("a strategic merge patch is an object")
    return _merge_map(clone(original), patch, root)


def _merge_map(original: dict[str, Any], patch: dict[str, Any], kind: Type | None) -> dict[str, Any]:
    if _PATCH in patch:
        if patch[_PATCH] == "replace":
            return {key: value for key, value in patch.items() if key != _PATCH}
        if patch[_PATCH] == "delete":
            return {}
        raise MalformedPatch(f"unknown patch type {patch[_PATCH]!r} in an object")
    patch = dict(patch)
    _retain_keys(original, patch)
    for key in [key for key in patch if key.startswith(_ORDER)]:
        _merge_ordered(original, patch, key.removeprefix(_ORDER), patch.pop(key), kind)
    for key, value in patch.items():
        if key.startswith(_DELETE):
            _delete_from(original, key.removeprefix(_DELETE), value)
        else:
            _merge_member(original, key, value, _field(kind, key))
    return original


def _merge_member(original: dict[str, Any], key: str, value: Any, field: Type | None) -> None:
    before = original.get(key)
    if value is None:
        original.pop(key, None)
    elif isinstance(before, dict) and isinstance(value, dict):
        replaced = field is not None and "replace" in field.patch_strategies
        original[key] = value if replaced else _merge_map(before, value, field)
    elif isinstance(before, list) and isinstance(value, list):
        merges = field is not None and "merge" in field.patch_strategies
        original[key] = _merge_list(before, value, field) if field is not None and merges else value
    else:
        original[key] = _without_directives(value)


def _field(kind: Type | None, key: str) -> Type | None:
    """The type of a member; None where the schema says nothing of it."""
    if kind is None:
        return None
    return kind.fields.get(key) if kind.kind == "object" else kind.item if kind.kind == "map" else None


def _retain_keys(original: dict[str, Any], patch: dict[str, Any]) -> None:
    if _RETAIN not in patch:
        return
    retained = patch.pop(_RETAIN)
    if not isinstance(retained, list):
        raise MalformedPatch(f"{_RETAIN} must be a list")
    names = {name for name in retained if isinstance(name, str)}
    for key, value in patch.items():
        if value is not None and not key.startswith("$") and key not in names:
            raise MalformedPatch(f"{_RETAIN} doesn't name {key!r}, which the patch sets")
    for key in [key for key in original if key not in names]:
        del original[key]


def _delete_from(original: dict[str, Any], name: str, unwanted: Any) -> None:
    if not isinstance(unwanted, list):
        raise MalformedPatch(f"{_DELETE}{name} must be a list")
    if isinstance(original.get(name), list):
        gone = set(map(_hashable, unwanted))
        original[name] = [entry for entry in original[name] if _hashable(entry) not in gone]


def _merge_ordered(original: dict[str, Any], patch: dict[str, Any], name: str, order: Any, kind: Type | None) -> None:
    """Merges a list of the patch and then puts it into the order that the patch asks for."""
    field = _field(kind, name)
    entries, before = patch.pop(name, None), original.get(name)
    if not isinstance(order, list) or not isinstance(entries, list | None) or not isinstance(before, list | None):
        raise MalformedPatch(f"{_ORDER}{name} and {name} must be lists")
    if field is None or "merge" not in field.patch_strategies:
        raise MalformedPatch(f"{name} is not a list that is merged, so it has no {_ORDER}{name}")
    _check_order(entries or [], order, name, field.merge_key)
    removed = patch.pop(f"{_DELETE}{name}", None)
    if before is None and entries is None:
        return
    merged = _merge_list(before or [], entries, field) if entries else list(before or [])
    if removed is not None:
        holder = {name: merged}
        _delete_from(holder, name, removed)
        merged = holder[name]
    original[name] = _in_order(merged, order, before or [], field.merge_key)


def _check_order(entries: list[Any], order: list[Any], name: str, merge_key: str) -> None:
    place = 0
    ranks = [_identity(entry, merge_key) for entry in order]
    for entry in entries:
        if isinstance(entry, dict) and _PATCH in entry:
            continue
        try:
            place = ranks.index(_identity(entry, merge_key), place)
        except ValueError as error:
            raise MalformedPatch(f"the order of {name} doesn't match {_ORDER}{name}") from error


def _merge_list(before: list[Any], entries: list[Any], field: Type) -> list[Any]:
    kinds = {isinstance(entry, dict) for entry in (*before, *entries)}
    if not kinds:
        return before
    if len(kinds) > 1 or any(isinstance(entry, list) for entry in (*before, *entries)):
        raise MalformedPatch(f"the entries of {field.name.rpartition('.')[2]} are not of one type")
    if kinds == {False}:
        there = set(map(_hashable, before))
        merged = list(before)
        for entry in entries:
            if _hashable(entry) not in there:
                there.add(_hashable(entry))
                merged.append(entry)
        return _in_order(merged, entries, before, "")
    if not field.merge_key:
        raise MalformedPatch(f"{field.name.rpartition('.')[2]} has no merge key")
    before, entries = _take_directives(before, entries, field.merge_key)
    merged = list(before)
    places = _ranks(before, field.merge_key)
    for entry in entries:
        identity = _hashable(_identity(entry, field.merge_key))
        place = places.setdefault(identity, len(merged))
        if place < len(merged):
            merged[place] = _merge_map(merged[place], entry, field.item)
        else:
            merged.append(_without_directives(entry))
    return _in_order(merged, entries, before, field.merge_key)


def _take_directives(before: list[Any], entries: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    """Obeys the entries that are directives; gives the server's list and the plain entries."""
    plain: list[Any] = []
    gone: set[Any] = set()
    replaced = False
    for entry in entries:
        directive = entry.get(_PATCH)
        if directive is None:
            plain.append(entry)
        elif directive == "replace":
            replaced = True
        elif directive == "delete":
            gone.add(_hashable(_identity(entry, merge_key)))
        else:
            raise MalformedPatch(f"unknown patch type {directive!r} in a list entry")
    if replaced:
        return [_without_directives(entry) for entry in plain], []
    if gone:
        before = [existing for existing in before if _hashable(_identity(existing, merge_key)) not in gone]
    return before, plain


def _identity(entry: Any, merge_key: str) -> Any:
    """What tells an entry from the others: the value under its key, or a scalar itself."""
    if not merge_key:
        return entry
    if not isinstance(entry, dict) or entry.get(merge_key) is None:
        raise MalformedPatch(f"a list entry has no {merge_key!r}, which is its key")
    return entry[merge_key]


def _in_order(merged: list[Any], wanted: list[Any], before: list[Any], merge_key: str) -> list[Any]:
    """`merged` with those of `wanted` in that order, and the others put among them as `before` had them."""
    asked = _ranks(wanted, merge_key)
    had = _ranks(before, merge_key)
    identified = [(_hashable(_identity(entry, merge_key)), entry) for entry in merged]
    ours = sorted((each for each in identified if each[0] in asked), key=lambda each: asked[each[0]])
    theirs = sorted((each for each in identified if each[0] not in asked), key=lambda each: had.get(each[0], len(had)))
    result: list[Any] = []
    left = right = 0
    while left < len(theirs) or right < len(ours):
        if right >= len(ours):
            take_theirs = True
        elif left >= len(theirs):
            take_theirs = False
        else:
            here, there = had.get(theirs[left][0]), had.get(ours[right][0])
            take_theirs = here is not None and there is not None and here < there
        if take_theirs:
            result.append(theirs[left][1])
            left += 1
        else:
            result.append(ours[right][1])
            right += 1
    return result


def _ranks(entries: list[Any], merge_key: str) -> dict[Any, int]:
    ranks: dict[Any, int] = {}
    for rank, entry in enumerate(entries):
        ranks.setdefault(_hashable(_identity(entry, merge_key)), rank)
    return ranks


def _hashable(value: Any) -> Any:
    """As a key of a set: equal where JSON is equal (true is not 1)."""
    return (type(value), repr(value)) if isinstance(value, dict | list | bool) else value


def _without_directives(value: Any) -> Any:
    """A value that nothing is merged with: its directives and nulls mean nothing, and go."""
    if isinstance(value, dict):
        if value.get(_PATCH) == "delete":
            return {}
        return {key: _without_directives(each) for key, each in value.items() if key[:1] != "$" and each is not None}
    if isinstance(value, list):
        kept = (each for each in value if not (isinstance(each, dict) and each.get(_PATCH) in ("delete", "replace")))
        return [_without_directives(each) for each in kept]
    return value
