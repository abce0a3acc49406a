"""When cron's schedules are due, across the hours that clocks skip and repeat."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api import schedules

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo | None = None) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC)


@pytest.mark.parametrize(
    ("schedule", "moment", "following"),
    [
        ("* * * * *", "2026-11-22T10:00:00", "2026-11-22T10:01:00"),
        ("* * * * *", "2026-11-22T10:00:30", "2026-11-22T10:01:00"),
        ("*/15 * * * *", "2026-11-22T10:46:00", "2026-11-22T11:00:00"),
        ("5/20 * * * *", "2026-11-22T10:26:00", "2026-11-22T10:45:00"),
        ("0 9-17/4 * * mon-fri", "2026-11-20T17:00:00", "2026-11-23T09:00:00"),
        ("30 6 1,15 * *", "2026-11-15T06:30:00", "2026-12-01T06:30:00"),
        ("0 0 13 * fri", "2026-11-13T00:00:00", "2026-11-20T00:00:00"),  # the 13th or a Friday
        ("0 0 */2 * fri", "2026-11-22T10:00:00", "2026-11-23T00:00:00"),
        ("0 0 ? * sun", "2026-11-22T00:00:00", "2026-11-29T00:00:00"),
        ("0 0 29 2 *", "2026-11-22T00:00:00", "2028-02-29T00:00:00"),
        ("@monthly", "2026-11-22T00:00:00", "2026-12-01T00:00:00"),
        ("@weekly", "2026-11-22T00:00:00", "2026-11-29T00:00:00"),
        ("@every 90m", "2026-11-22T10:00:00", "2026-11-22T11:30:00"),
        ("@every 1h30m10s", "2026-11-22T10:00:00", "2026-11-22T11:30:10"),
        ("@every 1ms", "2026-11-22T10:00:00", "2026-11-22T10:00:01"),
        ("TZ=UTC 0 12 * * *", "2026-11-22T10:00:00", "2026-11-22T12:00:00"),
    ],
)
def test_the_next_time(schedule: str, moment: str, following: str) -> None:
    assert schedules.parse(schedule).after(at(moment)) == at(following)


def test_a_day_that_never_comes_has_no_time() -> None:
    assert schedules.parse("0 0 30 2 *").after(at("2026-01-01T00:00:00")) is None
    assert schedules.parse("0 0 30 2 *").until(at("2026-01-01T00:00:00"), at("2026-12-01T00:00:00")) is None


def test_an_hour_that_is_skipped_has_no_time() -> None:
    found = schedules.parse("30 2 * * *").after(at("2026-03-28T12:00:00", BERLIN))
    assert found == at("2026-03-30T02:30:00", BERLIN)


def test_an_hour_that_comes_twice_has_both() -> None:
    schedule = schedules.parse("30 2 * * *")
    first = schedule.after(at("2026-10-25T00:00:00", BERLIN))
    assert first is not None
    second = schedule.after(first)
    assert second is not None
    assert first.astimezone(UTC) == at("2026-10-25T00:30:00")
    assert second.astimezone(UTC) == at("2026-10-25T01:30:00")


def test_midnight_is_that_of_the_zone() -> None:
    found = schedules.parse("@daily").after(at("2026-11-22T10:00:00").astimezone(ZoneInfo("Asia/Tokyo")))
    assert found is not None
    assert found.astimezone(UTC) == at("2026-11-22T15:00:00")


@given(
    st.sampled_from(["* * * * *", "*/7 3,9 * * *", "0 0 1 * mon", "15 2 * * *", "59 23 31 12 *", "@every 17m"]),
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)),
    st.sampled_from([UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")]),
)  # fmt: skip
def test_looking_back_finds_what_looking_forward_finds(schedule: str, naive: datetime, zone: ZoneInfo) -> None:
    """The last time until the next one is that one, and nothing lies between."""
    parsed, since = schedules.parse(schedule), naive.replace(tzinfo=UTC).astimezone(zone)
    found = parsed.after(since)
    assert found is not None
    assert found.astimezone(UTC) > since.astimezone(UTC)
    assert parsed.until(since, found) == found
    before = (found.astimezone(UTC) - timedelta(seconds=1)).astimezone(zone)
    assert parsed.until(since, before) is None


@pytest.mark.parametrize(
    "schedule",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "5-1 * * * *",
     "*/0 * * * *", "a * * * *", "@often", "@every soon", "1-2-3 * * * *", "* * * * *" + "0" * 5000],
)  # fmt: skip
def test_what_is_no_schedule_is_told(schedule: str) -> None:
    assert schedules.problem(schedule)
    with pytest.raises(ValueError, match=r"."):
        schedules.parse(schedule)
