"""Durations as Go writes them, which is how clients and manifests write them: `1h15m30.5s`, `300ms`."""

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(ns|us|µs|μs|ms|s|m|h)")
_MAX_CHARACTERS = 100


def parse_duration(text: str) -> float:
    """Seconds; ValueError for what is no duration. A number needs its unit, but for 0."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits == "0":
        return 0.0
    at, seconds = 0, 0.0
    while at < len(digits) <= _MAX_CHARACTERS:
        part = _PART.match(digits, at)
        if part is None:
            break
        seconds += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if not digits or at != len(digits):
        raise ValueError(f"{text[:_MAX_CHARACTERS]!r} is not a duration such as 1m30s")
    return -seconds if text[0] == "-" else seconds
