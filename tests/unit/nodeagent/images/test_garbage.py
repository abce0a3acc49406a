"""Which images go when the disk fills."""

import pytest

from hypernetes.nodeagent.images.garbage import Candidate, victims

NOW = 100_000.0
IMAGES = [
    Candidate("old", 10, 1.0),
    Candidate("older", 10, 0.0),
    Candidate("new", 10, NOW - 10),
    Candidate("x", 5, 2.0),
]


@pytest.mark.parametrize(
    ("used", "in_use", "expected"),
    [  # of 100; above 85 down to 80
        (84, set(), []),
        (85, set(), ["older"]),
        (91, set(), ["older", "old"]),
        (91, {"older"}, ["old", "x"]),
        (100, set(), ["older", "old"]),
        (100, {"older", "old", "x"}, []),
    ],
)
def test_the_least_recently_used_go_until_enough_is_free(used: int, in_use: set[str], expected: list[str]) -> None:
    assert victims(IMAGES, in_use, used_bytes=used, capacity_bytes=100, now=NOW) == expected
