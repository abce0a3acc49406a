import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver import amounts

QUANTITIES = st.builds(
    "{}{}".format, st.integers(0, 10_000), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"])
)
LISTS = st.dictionaries(st.sampled_from(["cpu", "memory", "pods"]), QUANTITIES)


@pytest.mark.parametrize(
    ("left", "right", "written"),
    [
        ("600m", "100m", "700m"),
        ("512Mi", "100Mi", "612Mi"),
        ("512Mi", "512Mi", "1Gi"),
        ("0", "1Gi", "1Gi"),
        ("1Gi", "0", "1Gi"),
        ("1", "500m", "1500m"),
        ("1Gi", "1G", "2073741824"),
        ("1G", "1G", "2G"),
        ("999", "1", "1k"),
        ("1Gi", "-1Gi", "0"),
    ],
)
def test_sums_are_written_as_upstream_does(left, right, written):
    assert amounts.plus(left, right) == written


@given(LISTS, LISTS)
def test_what_was_added_can_be_taken_away(one, other):
    back = amounts.subtract(amounts.add(one, other), other)
    assert {name: amounts.value(text) for name, text in amounts.without_zeros(back).items()} == {
        name: amounts.value(text) for name, text in amounts.without_zeros(one).items()
    }


@given(st.lists(LISTS))
def test_a_total_has_the_value_of_its_parts(parts):
    total = amounts.total(parts)
    for name, text in total.items():
        assert amounts.value(text) == sum(amounts.value(part[name]) for part in parts if name in part)


def test_lists_are_shown_in_order():
    assert amounts.shown({"pods": "1", "cpu": "500m"}) == "cpu=500m,pods=1"
