"""When a CronJob runs: the five fields of cron, or a word such as @daily; and the zones its times may be in.

    minute  hour  day of month  month  day of week      each: * or ?, N, A-B, LIST,OF,THESE, and /STEP after any

https://en.wikipedia.org/wiki/Cron, in the form that github.com/robfig/cron reads.
"""

import re
import zoneinfo
from functools import lru_cache

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(_DAY_NAMES)}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}), ("hour", 0, 23, {}), ("day of month", 1, 31, {}), ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)  # fmt: skip
_WORDS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_EVERY = "@every "
_DURATION = re.compile(r"[-+]?(0|(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))*)\Z")
_ZONE_PREFIX = re.compile(r"(?:TZ|CRON_TZ)=(\S*) ")
_MAX_LENGTH = 4096  # characters; a list of every minute, written out, has 170


def problem(schedule: str) -> str:
    """What is wrong with a schedule; "" for nothing."""
    if len(schedule) > _MAX_LENGTH:
        return f"may not be longer than {_MAX_LENGTH} characters"
    if _ZONE_PREFIX.match(schedule):
        schedule = schedule.partition(" ")[2].strip()
    if schedule.startswith("@"):
        if schedule in _WORDS or (schedule.startswith(_EVERY) and _DURATION.match(schedule[len(_EVERY) :])):
            return ""
        return f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly {len(_FIELDS)} fields, found {len(fields)}"
    try:
        for text, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
            for part in text.split(","):
                if part:
                    _check_range(part, name, low, high, words)
    except ValueError as error:
        return str(error)
    return ""


def _check_range(text: str, name: str, low: int, high: int, words: dict[str, int]) -> None:
    """ValueError where one part of a field's list is no range within it."""
    span, slash, step = text.partition("/")
    start, dash, end = span.partition("-")
    if start not in ("*", "?"):
        first = _number(start, name, words)
        last = _number(end, name, words) if dash else high if slash else first
        if first < low or last > high:
            raise ValueError(f"{name}: {text} is not within {low} to {high}")
        if first > last:
            raise ValueError(f"{name}: the beginning of {text} lies beyond its end")
    if slash and _number(step, name, {}) == 0:
        raise ValueError(f"{name}: the step of {text} should be a positive number")


def _number(text: str, name: str, words: dict[str, int]) -> int:
    if text.lower() in words:
        return words[text.lower()]
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise ValueError(f"{name}: {text!r} is no number")
    return int(text)


@lru_cache(maxsize=1024)
def is_zone(name: str) -> bool:
    """Whether the IANA database has a zone of that name."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
