"""Microseconds since 2000 as RFC 3339."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.table import timestamps

_2000 = datetime(2000, 1, 1, tzinfo=UTC)


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_time_is_formatted_exactly(moment: datetime) -> None:
    since = moment - _2000
    order = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    text = timestamps.absolute()(order)
    assert text is not None
    assert datetime.fromisoformat(text.decode()) == moment
    assert len(text) == 27


@pytest.mark.parametrize("order", [2**63 - 1, -(2**63)])
def test_infinity_is_no_time(order: int) -> None:
    assert timestamps.absolute()(order) is None
    assert timestamps.local(ZoneInfo("Europe/Berlin"))(order) is None


def test_times_within_one_second_are_distinct() -> None:
    at = timestamps.absolute()
    assert [at(order) for order in (0, 1, 999_999, 1_000_000, -1)] == [
        b"2000-01-01T00:00:00.000000Z",
        b"2000-01-01T00:00:00.000001Z",
        b"2000-01-01T00:00:00.999999Z",
        b"2000-01-01T00:00:01.000000Z",
        b"1999-12-31T23:59:59.999999Z",
    ]


def test_local_time_follows_summer_and_winter() -> None:
    at = timestamps.local(ZoneInfo("Europe/Berlin"))
    half_a_year = 182 * 86_400 * 1_000_000
    assert at(0) == b"1999-12-31T23:00:00.000000Z"
    assert at(half_a_year) == b"2000-06-30T22:00:00.000000Z"
