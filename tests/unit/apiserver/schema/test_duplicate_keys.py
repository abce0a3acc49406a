"""Keys that come twice are found, whatever the body looks like: the quick look may not miss what the slow one finds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver.schema import bodies


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a" :1,"a":2}',
        b'{"a":1,"a"\n:2}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":1,"a":2,"b":"\\u0022:"}',
        b'{"a":1,"a":2,"b":"\\"\\u003a"}',
        b'{"x":[{"a":{"deep":1},"a":"\\":"}]}',
    ],
)
def test_a_key_that_comes_twice_is_found(body: bytes) -> None:
    assert len(bodies.parse(body, find_duplicates=True)[1]) == 1


texts = st.text(alphabet='a":\\u0{} ', max_size=6)
values = st.recursive(
    st.integers(0, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(texts, inner), max_size=4).map(dict),
    max_leaves=8,
)


def written(value: object, *, twice: bool, ascii_only: bool) -> str:
    """JSON by hand, perhaps with the first key of each object written a second time."""
    if isinstance(value, dict):
        pairs = [*value.items(), *(list(value.items())[:1] if twice else [])]
        keys = [json.dumps(key, ensure_ascii=ascii_only) for key, _ in pairs]
        inner = [written(each, twice=twice, ascii_only=ascii_only) for _, each in pairs]
        return "{" + ",".join(map(":".join, zip(keys, inner, strict=True))) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(each, twice=twice, ascii_only=ascii_only) for each in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def objects(value: object) -> int:
    """How many objects with keys there are."""
    if isinstance(value, dict):
        return bool(value) + sum(map(objects, value.values()))
    return sum(map(objects, value)) if isinstance(value, list) else 0


@given(values, st.booleans())
def test_the_quick_look_misses_no_key_that_comes_twice(value: object, ascii_only: bool) -> None:
    once = written(value, twice=False, ascii_only=ascii_only).encode()
    assert bodies.parse(once, find_duplicates=True) == (value, [])
    twice = written(value, twice=True, ascii_only=ascii_only).encode()
    assert bool(bodies.parse(twice, find_duplicates=True)[1]) is (objects(value) > 0)
