"""How long to wait before the next attempt: exponential, capped, and jittered so that clients don't move in step."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Attempt n (from 0) waits between half of and all of `first * factor**n` seconds, `longest` at most."""

    first: float
    longest: float
    factor: float = 2.0

    def delay(self, attempt: int) -> float:
        # The exponent is capped too: 2.0**1024 overflows, and a key may fail for weeks.
        full = min(self.longest, self.first * self.factor ** min(attempt, 64))
        return full * random.uniform(0.5, 1.0)
