import pytest

from hypernetes.api.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30), ("1m30s", 90), ("1h15m30.5s", 4530.5), ("300ms", 0.3), ("0", 0), ("-2s", -2), ("+1.5h", 5400),
        (".5s", 0.5), ("1.s", 1), ("10us", 1e-5), ("10µs", 1e-5), ("7ns", 7e-9),
    ],
)  # fmt: skip
def test_a_duration_is_read(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1", "1d", "1 s", "s1", "-", "+", "1s2", "0x1s", "١s", "1" * 200 + "s", "."])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
