"""When a CronJob runs: the five fields of cron, or a word such as @daily; and the zones its times may be in.

    minute  hour  day of month  month  day of week      each: * or ?, N, A-B, LIST,OF,THESE, and /STEP after any

https://en.wikipedia.org/wiki/Cron, in the form that github.com/robfig/cron reads.
"""

import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Protocol

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(_DAY_NAMES)}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}), ("hour", 0, 23, {}), ("day of month", 1, 31, {}), ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)  # fmt: skip
_WORDS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_EVERY = "@every "
_DURATION = re.compile(r"[-+]?(0|(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))*)\Z")
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_EVERY_SECONDS = 100 * 366 * 86400.0
_ZONE_PREFIX = re.compile(r"(?:TZ|CRON_TZ)=(\S*) ")
_MAX_LENGTH = 4096  # characters; a list of every minute, written out, has 170
_HORIZON = timedelta(days=5 * 366)  # a schedule without a time in five years (30 February) has none


class Schedule(Protocol):
    """Times as aware datetimes, in the zone of the one given."""

    def after(self, moment: datetime) -> datetime | None:
        """The next time, later than `moment`; None if there is none within five years."""

    def until(self, since: datetime, moment: datetime) -> datetime | None:
        """The last time later than `since` that isn't later than `moment`; None if there is none."""


@dataclass(frozen=True, slots=True)
class Every:
    """`@every 90m`: counted from the time before."""

    seconds: int

    def after(self, moment: datetime) -> datetime | None:
        return moment.replace(microsecond=0) + timedelta(seconds=self.seconds)

    def until(self, since: datetime, moment: datetime) -> datetime | None:
        since = since.replace(microsecond=0)
        times = int((moment - since).total_seconds() // self.seconds)
        return since + timedelta(seconds=times * self.seconds) if times > 0 else None


@dataclass(frozen=True, slots=True)
class Fields:
    """Every instant whose wall clock fits, to the minute. Where clocks go forward the missing hour has none; where they
    go back the hour that comes twice has both."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    any_day: bool  # neither day of month nor day of week says anything, or only one of them does

    def after(self, moment: datetime) -> datetime | None:
        day, last = moment.date(), (moment + _HORIZON).date()
        while day <= last:
            if self._fits(day):
                for found in self._of(day, moment.tzinfo):
                    if found.astimezone(UTC) > moment.astimezone(UTC):
                        return found
            day += timedelta(days=1)
        return None

    def until(self, since: datetime, moment: datetime) -> datetime | None:
        day, first = moment.date(), max(since, moment - _HORIZON).date()
        while day >= first:
            if self._fits(day):
                for found in reversed(list(self._of(day, moment.tzinfo))):
                    if since.astimezone(UTC) < found.astimezone(UTC) <= moment.astimezone(UTC):
                        return found
            day -= timedelta(days=1)
        return None

    def _fits(self, day: date) -> bool:
        """Where both kinds of days are restricted, either will do."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (of_month and of_week) if self.any_day else (of_month or of_week)

    def _of(self, day: date, zone: tzinfo | None) -> Iterator[datetime]:
        """In order of time."""
        walls = [datetime(day.year, day.month, day.day, hour, minute) for hour in self.hours for minute in self.minutes]
        real = {
            wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            for wall in walls
            for fold in (0, 1)
            if _exists(wall.replace(tzinfo=zone, fold=fold))
        }
        return (moment.astimezone(zone) for moment in sorted(real))


def _exists(moment: datetime) -> bool:
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(tzinfo=None)


@lru_cache(maxsize=4096)
def parse(schedule: str) -> Schedule:
    """ValueError that says what is wrong. A TZ= before the fields is looked at by who knows the zone."""
    if len(schedule) > _MAX_LENGTH:
        raise ValueError(f"may not be longer than {_MAX_LENGTH} characters")
    if _ZONE_PREFIX.match(schedule):
        schedule = schedule.partition(" ")[2].strip()
    if schedule.startswith(_EVERY) and _DURATION.match(schedule[len(_EVERY) :]):
        return Every(_every(schedule[len(_EVERY) :]))
    if schedule.startswith("@") and schedule not in _WORDS:
        raise ValueError(f"unrecognized descriptor: {schedule}")
    fields = _WORDS.get(schedule, schedule).split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly {len(_FIELDS)} fields, found {len(fields)}")
    minutes, hours, days, months, weekdays = (_field(text, *rule) for text, rule in zip(fields, _FIELDS, strict=True))
    return Fields(
        tuple(sorted(minutes)), tuple(sorted(hours)), days, months, weekdays,
        any_day=_says_nothing(fields[2]) or _says_nothing(fields[4]),
    )  # fmt: skip


def problem(schedule: str) -> str:
    """What is wrong with a schedule; "" for nothing."""
    try:
        parse(schedule)
    except ValueError as error:
        return str(error)
    return ""


def _every(text: str) -> int:
    """Whole seconds, at least one."""
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    return max(1, int(min(seconds, _MAX_EVERY_SECONDS))) if not text.startswith("-") else 1


def _says_nothing(field: str) -> bool:
    """A list with `*` or `?` in it; with a step it says something."""
    return any(part.removesuffix("/1") in ("*", "?") for part in field.split(","))


def _field(text: str, name: str, low: int, high: int, words: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        if part:
            found.update(_range(part, name, low, high, words))
    return frozenset(found)


def _range(text: str, name: str, low: int, high: int, words: dict[str, int]) -> range:
    """ValueError where one part of a field's list is no range within it."""
    span, slash, step = text.partition("/")
    start, dash, end = span.partition("-")
    first, last = low, high
    if start not in ("*", "?"):
        first = _number(start, name, words)
        last = _number(end, name, words) if dash else high if slash else first
        if first < low or last > high:
            raise ValueError(f"{name}: {text} is not within {low} to {high}")
        if first > last:
            raise ValueError(f"{name}: the beginning of {text} lies beyond its end")
    stride = _number(step, name, {}) if slash else 1
    if stride == 0:
        raise ValueError(f"{name}: the step of {text} should be a positive number")
    return range(first, last + 1, stride)


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
