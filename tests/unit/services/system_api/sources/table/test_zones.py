"""Local times when clocks are set back."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.table.zones import local_time, lowest_local

BERLIN = ZoneInfo("Europe/Berlin")
END = datetime(2026, 10, 25, 1, tzinfo=UTC)
"""When 03:00 becomes 02:00."""


def text(moment: datetime, zone: ZoneInfo = BERLIN) -> str:
    return lowest_local(moment, zone).isoformat()


def test_on_any_other_day_it_is_the_local_time() -> None:
    assert text(datetime(2026, 7, 1, 10, tzinfo=UTC)) == "2026-07-01T12:00:00"
    assert text(datetime(2026, 3, 29, 0, 59, tzinfo=UTC)) == "2026-03-29T01:59:00"
    assert text(datetime(2026, 3, 29, 1, tzinfo=UTC)) == "2026-03-29T03:00:00"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (timedelta(hours=2), "2026-10-25T01:00:00"),
        (timedelta(minutes=61), "2026-10-25T01:59:00"),
        (timedelta(minutes=59), "2026-10-25T02:00:00"),
        (timedelta(seconds=1), "2026-10-25T02:00:00"),
        (timedelta(0), "2026-10-25T02:00:00"),
        (timedelta(minutes=-1), "2026-10-25T02:01:00"),
    ],
)
def test_in_the_hour_that_is_repeated_it_is_the_beginning_of_the_hour(before: timedelta, expected: str) -> None:
    assert text(END - before) == expected


@given(
    st.integers(-4 * 3600, 2 * 3600),
    st.integers(0, 3 * 3600),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe"]),
)
def test_no_later_moment_shows_a_lower_time(seconds: int, later: int, name: str) -> None:
    zone = ZoneInfo(name)
    end = END if name == "Europe/Berlin" else datetime(2026, 4, 4, 15, tzinfo=UTC)
    moment = end + timedelta(seconds=seconds)
    shown = (moment + timedelta(seconds=later)).astimezone(zone).replace(tzinfo=None)
    assert lowest_local(moment, zone) <= shown


@pytest.mark.parametrize(
    ("instant", "zone", "expected"),
    [
        (datetime(1, 1, 1, 12, tzinfo=UTC), "America/New_York", "0001-01-01T07:03:58"),
        (datetime(1, 1, 1, tzinfo=UTC), "America/New_York", "0001-01-01T00:00:00"),
        (datetime(9999, 12, 31, 12, tzinfo=UTC), "Asia/Tokyo", "9999-12-31T21:00:00"),
        (datetime(9999, 12, 31, 23, tzinfo=UTC), "Asia/Tokyo", "9999-12-31T23:59:59.999999"),
    ],
)
def test_a_local_time_outside_the_calendar_is_its_first_or_last_time(
    instant: datetime, zone: str, expected: str
) -> None:
    assert local_time(instant, ZoneInfo(zone)).isoformat() == expected
