"""How much that costs us and brings nothing a connection may send: a bucket of tokens, without a clock of its own."""


class Allowance:
    """Holds at most `most` tokens, and gets `rate` of them per second. Times are in seconds."""

    __slots__ = ("_at", "_left", "_most", "_rate")

    def __init__(self, most: float, rate: float, now: float) -> None:
        self._most, self._rate = most, rate
        self._left, self._at = most, now

    def take(self, count: float, now: float) -> bool:
        """Whether there were as many; what is taken is gone all the same."""
        self._left = min(self._most, self._left + (now - self._at) * self._rate) - count
        self._at = now
        return self._left >= 0

    def earn(self, count: float) -> None:
        self._left = min(self._most, self._left + count)
