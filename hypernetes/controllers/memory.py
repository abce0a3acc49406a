"""How this process uses its garbage collector: it keeps bytes, and parses for a moment."""

import gc

_YOUNG_OBJECTS = 10_000  # some 90 parsed pods
_MIDDLE, _OLD = 5, 1000  # as many of the generation below; every turn of it stops the process


def tune() -> None:
    """Call it once, at the start.

    The collector by default looks through everything whenever a quarter more has come to stay, which parsed objects do
    all the time: at 3,000 pods every five seconds for a second and a half, in which no Lease is renewed. What is parsed
    has no cycles and is freed without it; what requests leave behind in cycles is little.
    """
    gc.set_threshold(_YOUNG_OBJECTS, _MIDDLE, _OLD)
