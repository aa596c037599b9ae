"""The times of records, as APIs write them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.http.instants import datetime_of, instant_of, microseconds_of
from shared.errors import Malformed


@pytest.mark.parametrize(
    ("value", "microseconds", "text"),
    [
        (b'"2027-01-15T08:00:00Z"', 1_800_000_000_000_000, b"2027-01-15T08:00:00Z"),
        (b'"2027-01-15T09:00:00.25+01:00"', 1_800_000_000_250_000, b"2027-01-15T08:00:00.250000Z"),
        (b"1800000000", 1_800_000_000_000_000, b"2027-01-15T08:00:00Z"),
        (b"1800000000.5", 1_800_000_000_500_000, b"2027-01-15T08:00:00.500000Z"),
        (b"0", 0, b"1970-01-01T00:00:00Z"),
        (b'"1969-12-31T23:59:59Z"', -1_000_000, b"1969-12-31T23:59:59Z"),
    ],
)
def test_times_are_read_to_the_microsecond(value: bytes, microseconds: int, text: bytes) -> None:
    assert instant_of(value) == (microseconds, text)


@pytest.mark.parametrize("value", [b"null", b'""'])
def test_some_records_have_no_time(value: bytes) -> None:
    assert instant_of(value) is None


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b'"2027-01-15T08:00:00"', "expected a time in RFC 3339 with its offset"),
        (b'"2027-01-15"', "expected a time in RFC 3339 with its offset"),
        (b'"yesterday"', "expected a time in RFC 3339 with its offset"),
        (b"1800000000000", r"\$fromMillis\(updated\) reads milliseconds"),
        (b"-1", "expected seconds since 1970"),
        (b"1e99", "expected seconds since 1970"),
        (b"true", "expected a time in RFC 3339, or seconds"),
        (b"{}", "expected a time in RFC 3339, or seconds"),
    ],
)
def test_other_values_are_errors(value: bytes, error: str) -> None:
    with pytest.raises(Malformed, match=error):
        instant_of(value)


@given(st.datetimes(datetime(1971, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 -- the bounds
def test_a_time_survives_its_form(moment: datetime) -> None:
    found = instant_of(f'"{moment.isoformat()}"'.encode())
    assert found is not None
    assert found.microseconds == microseconds_of(moment)
    assert datetime_of(found.microseconds) == moment
    assert instant_of(b'"%b"' % found.text) == found
