"""Bodies and amounts made to cost much: refused before they do."""

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver.schema import bodies
from hypernetes.apiserver.schema.scalars import canonical_quantity


def refusal(body: bytes, content_type: str = bodies.YAML) -> str:
    with pytest.raises(StatusError) as error:
        bodies.parse(body, content_type, find_duplicates=True)
    assert error.value.code == 400
    return error.value.message


@pytest.mark.parametrize("depth", [bodies.MAX_DEPTH + 1, 1000, 100_000])
def test_nesting_has_an_end(depth: int) -> None:
    refusal(b"[" * depth + b"]" * depth)
    refusal(b"[" * depth + b"]" * depth, bodies.JSON)
    refusal(b"- " * depth)


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = bodies.MAX_DEPTH - 1
    value, _ = bodies.parse(b'{"a":' * depth + b"1" + b"}" * depth, bodies.JSON, find_duplicates=True)
    bodies.check_depth(value)


def test_anchors_do_not_multiply() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "too many nodes" in refusal("\n".join(lines).encode())


def test_merges_do_not_multiply() -> None:
    many = ", ".join(f"k{n}: 1" for n in range(1000))
    assert "merges too many keys" in refusal(f"a: &a {{{many}}}\nb: {{<<: [{', '.join(['*a'] * 1000)}]}}".encode())


def test_a_merge_gives_what_the_mapping_itself_does_not_say() -> None:
    value, duplicates = bodies.parse(b"a: &a {x: 1, z: 2}\nb: {<<: *a, z: 3}", bodies.YAML)
    assert value["b"] == {"x": 1, "z": 3}
    assert duplicates == []


def test_a_single_letter_is_a_truth_value_as_for_kubernetes() -> None:
    value, _ = bodies.parse(b"a: [y, Y, n, N, yes, z, 'y', yy]\ny: 1", bodies.YAML)
    assert value == {"a": [True, True, False, False, True, "z", "y", "yy"], "true": 1}


@pytest.mark.parametrize("body", [b"a: !!binary gA==", b"a: !!set {b}", b"a: .nan", b"a: .inf"])
def test_what_json_cannot_say_is_refused(body: bytes) -> None:
    refusal(body)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("9" * 19, str(2**63 - 1)), ("-" + "9" * 40, str(1 - 2**63)), ("1e-999", "1e-9"),
        ("9" * 40 + "Ei", str(2**63 - 1)),
    ],
)  # fmt: skip
def test_amounts_out_of_range_become_the_nearest_in_it(written: str, canonical: str) -> None:
    assert canonical_quantity(written) == canonical


@pytest.mark.parametrize(("written", "canonical"), [("1e400", "10e399"), ("-25e999", "-25e999"), ("100e20", "10e21")])
def test_an_amount_with_an_exponent_has_no_end(written: str, canonical: str) -> None:
    assert canonical_quantity(written) == canonical
    assert canonical_quantity(canonical) == canonical


def test_an_amount_of_a_million_digits_is_none() -> None:
    with pytest.raises(ValueError, match="256 characters"):
        canonical_quantity("1" * 1_000_000)
