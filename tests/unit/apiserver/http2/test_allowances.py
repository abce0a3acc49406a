"""How much that brings nothing a connection may send."""

from hypothesis import given
from hypothesis import strategies as st

from hypernetes.apiserver.http2.allowances import Allowance


def test_a_burst_is_borne_and_then_so_much_per_second():
    allowance = Allowance(10, 2, now=0.0)
    assert allowance.take(10, now=0.0)
    assert not allowance.take(1, now=0.0)
    assert allowance.take(1, now=1.0)


def test_what_is_earned_can_be_spent_but_is_not_piled_up():
    allowance = Allowance(10, 0, now=0.0)
    allowance.earn(1000)
    assert allowance.take(10, now=0.0)
    allowance.earn(3)
    assert allowance.take(3, now=0.0)
    assert not allowance.take(1, now=0.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50))))
def test_in_any_span_no_more_is_granted_than_the_burst_and_the_rate(steps):
    allowance, now, granted = Allowance(20, 3, now=0.0), 0.0, 0.0
    for pause, count in steps:
        now += pause
        granted += count if allowance.take(count, now) else 0
    assert granted <= 20 + 3 * now + 1e-6
