from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api import quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("1", "1"),
        ("100m", "0.1"),
        ("1.5Gi", str(1536 * 1024**2)),
        ("2e3", "2000"),
        ("1E3", "1000"),
        ("1E", "1e18"),
        ("12k", "12000"),
        ("1Ki", "1024"),
        (".5", "0.5"),
        ("-1", "-1"),
        ("1n", "1e-9"),
        ("3.", "3"),
        (2, "2"),
        (0.5, "0.5"),
    ],
)
def test_a_quantity_has_the_value_upstream_gives_it(text: str, value: str) -> None:
    assert quantity.parse(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1gi", "0x10", "1e", "1.2.3", "--1", "1Mib", "１", "1e9999"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        quantity.parse(text)


def test_millicores_and_bytes_round_up() -> None:
    assert quantity.milli("0.0001") == 1
    assert quantity.whole("1500m") == 2


@given(st.integers(0, 10**9), st.sampled_from(["", "k", "Mi", "G"]))
def test_a_quantity_in_milli_is_a_thousand_times_its_whole(number: int, suffix: str) -> None:
    assert quantity.milli(f"{number}{suffix}") == 1000 * quantity.whole(f"{number}{suffix}")


@pytest.mark.parametrize(
    ("milli", "text"),
    [(0, "0"), (1, "1m"), (1500, "1500m"), (2000, "2"), (2_000_000, "2k"), (67_108_864_000, "67108864")],
)
def test_thousandths_are_written_in_decimal_form(milli: int, text: str) -> None:
    assert quantity.of_milli(milli) == text
