"""The parts of a path to a field, as managedFields has them: `f:NAME`, `k:{KEYS}` of a list's entry, `v:VALUE`."""

from typing import Any

import orjson

from hypernetes.apiserver.schema import Type

_SCALARS = (str, int, float)


class Unsuitable(ValueError):
    """A value that can't be addressed by the paths of its type: an entry of a keyed list without its keys."""


def of_entry(entry: Any, built: Type) -> str:
    """The element of an entry of a list that is a set or has keys. Raises Unsuitable."""
    if not built.list_keys:
        if not isinstance(entry, _SCALARS):
            raise Unsuitable("an entry of a set is no scalar")
        return f"v:{orjson.dumps(entry).decode()}"
    if not isinstance(entry, dict):
        raise Unsuitable("associative list with keys may not have non-map elements")
    assert built.item is not None
    keys: dict[str, Any] = {}
    for name in built.list_keys:
        value = entry[name] if name in entry else built.item.constants.get(name)
        if value is not None or name in entry:
            keys[name] = value
    if not keys:
        names = " ".join(f'"{name}"' for name in built.list_keys)
        raise Unsuitable(
            f"associative list with keys has an element that omits all key fields [{names}] "
            "(and doesn't have default values for any key fields)"
        )
    return f"k:{orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()}"


def canonical(element: str) -> str | None:
    """The one way to write an element; None for a kind of element that nobody knows. ValueError for none at all."""
    if len(element) < 2 or element[1] != ":":
        raise ValueError(f"{element[:100]!r} is no path element")
    kind, text = element[0], element[2:]
    if kind == "f":
        return element
    if kind in "kv":
        value = orjson.loads(text)
        scalars = value.values() if isinstance(value, dict) else (value,)
        if isinstance(value, dict) is not (kind == "k") or any(isinstance(each, dict | list) for each in scalars):
            raise ValueError(f"{element[:100]!r} is no path element")
        return f"{kind}:{orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()}"
    return f"i:{int(text)}" if kind == "i" else None


def text(element: str) -> str:
    """An element as people read it in a path: `.spec`, `[name="web"]`, `[="a"]`."""
    kind, rest = element[0], element[2:]
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        pairs = (f"{name}={orjson.dumps(value).decode()}" for name, value in orjson.loads(rest).items())
        return f"[{','.join(pairs)}]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"
