"""JSON values as Python has them."""

from typing import TypeVar

import orjson

_Value = TypeVar("_Value")


def clone(value: _Value) -> _Value:
    """A copy that shares nothing. By way of JSON: several times faster than `copy.deepcopy`, which looks at each part.

    For what was read from JSON and isn't nested more deeply than `schema.bodies.MAX_DEPTH`.
    """
    copied: _Value = orjson.loads(orjson.dumps(value))
    return copied
