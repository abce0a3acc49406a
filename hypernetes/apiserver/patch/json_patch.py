"""JSON patch (RFC 6902), with the habits of upstream's library.

It is more lenient than the RFC: `replace` adds a missing member, `test` takes null for a missing one, an operation
without a value has null, negative indexes count from the end, and what stands before a pointer's first `/` is ignored.
"""

from typing import Any

import orjson

from hypernetes.api.status import StatusError
from hypernetes.apiserver.jsonvalues import clone
from hypernetes.apiserver.patch.errors import InapplicablePatch, MalformedPatch
from hypernetes.apiserver.schema.bodies import check_depth

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024  # of JSON that `copy` may make, so that it can't double for ever


def apply(original: Any, patch: Any) -> Any:
    """The patched copy. MalformedPatch for what is no list of operations, InapplicablePatch for one that fails."""
    if not isinstance(patch, list) or not all(isinstance(operation, dict) for operation in patch):
        raise MalformedPatch("a JSON patch is an array of operations")
    if len(patch) > MAX_OPERATIONS:
        raise StatusError(
            "RequestEntityTooLarge",
            f"the allowed maximum of operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}",
        )
    document = clone(original)
    copied = 0
    for operation in patch:
        name = operation.get("op")
        path = _pointer(operation, "path")
        if name == "add":
            _add(document, path, operation.get("value"))
        elif name == "remove":
            _remove(document, path)
        elif name == "replace":
            _replace(document, path, operation.get("value"))
        elif name == "test":
            _test(document, path, operation.get("value"))
        elif name == "move":
            _add(document, path, _remove(document, _pointer(operation, "from")))
        elif name == "copy":
            value = _get(document, _pointer(operation, "from"))
            check_depth(value)
            encoded = orjson.dumps(value)
            copied += len(encoded)
            if copied > MAX_COPIED_BYTES:
                raise StatusError("RequestEntityTooLarge", "the copy operations of the JSON patch make too much")
            _add(document, path, orjson.loads(encoded))
        else:
            raise InapplicablePatch(f"unexpected operation {name!r}")
    return document


def _pointer(operation: dict[str, Any], member: str) -> list[str]:
    pointer = operation.get(member)
    if not isinstance(pointer, str):
        raise InapplicablePatch(f"the operation {operation.get('op')!r} needs a {member!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _parent(document: Any, path: list[str]) -> tuple[Any, str]:
    """The object or array that holds the last part of the path, and that part."""
    if not path:
        raise InapplicablePatch("the path names the whole document")
    here = document
    for part in path[:-1]:
        here = _child(here, part, path)
    if not isinstance(here, dict | list):
        raise InapplicablePatch(f"there is nothing at /{'/'.join(path[:-1])}")
    return here, path[-1]


def _child(here: Any, part: str, path: list[str]) -> Any:
    if isinstance(here, dict) and part in here:
        return here[part]
    if isinstance(here, list):
        return here[_index(part, len(here), path)]
    raise InapplicablePatch(f"there is nothing at /{'/'.join(path)}")


def _index(part: str, length: int, path: list[str]) -> int:
    digits = part.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise InapplicablePatch(f"{part!r} in /{'/'.join(path)} is not an index")
    index = int(part)
    if not -length <= index < length:
        raise InapplicablePatch(f"the index {part} in /{'/'.join(path)} is out of bounds")
    return index % length


def _get(document: Any, path: list[str]) -> Any:
    here, key = _parent(document, path)
    return _child(here, key, path)


def _add(document: Any, path: list[str], value: Any) -> None:
    here, key = _parent(document, path)
    if isinstance(here, dict):
        here[key] = value
    elif key == "-":
        here.append(value)
    else:
        here.insert(_index(key, len(here) + 1, path), value)


def _remove(document: Any, path: list[str]) -> Any:
    here, key = _parent(document, path)
    if isinstance(here, list):
        return here.pop(_index(key, len(here), path))
    if key not in here:
        raise InapplicablePatch(f"there is nothing to remove at /{'/'.join(path)}")
    return here.pop(key)


def _replace(document: Any, path: list[str], value: Any) -> None:
    here, key = _parent(document, path)
    if isinstance(here, list):
        here[_index(key, len(here), path)] = value
    else:
        here[key] = value


def _test(document: Any, path: list[str], value: Any) -> None:
    if not path:
        found = document
    else:
        here, key = _parent(document, path)
        found = here.get(key) if isinstance(here, dict) else _child(here, key, path)
    if not _equal(found, value):
        raise InapplicablePatch(f"testing value /{'/'.join(path)} failed")


def _equal(left: Any, right: Any) -> bool:
    """As JSON: 1 equals 1.0, but not true."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)
