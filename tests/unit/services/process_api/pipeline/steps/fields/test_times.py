"""Times."""

from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.steps.fields.times import TimeUnit, converted
from shared.errors import Malformed


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (0, "seconds", "rfc3339", "1970-01-01T00:00:00Z"),
        (1767323045678, "milliseconds", "rfc3339", "2026-01-02T03:04:05.678Z"),
        (Decimal("1.000000001"), "seconds", "rfc3339", "1970-01-01T00:00:01.000000001Z"),
        (1.5, "seconds", "milliseconds", 1500),
        (1, "nanoseconds", "seconds", Decimal("1E-9")),
        (-1, "milliseconds", "rfc3339", "1969-12-31T23:59:59.999Z"),
        ("2026-01-02T03:04:05Z", "rfc3339", "seconds", 1767323045),
        ("2026-01-02t03:04:05.5+01:00", "rfc3339", "milliseconds", 1767319445500),
        ("2026-01-02 03:04:05.1234567891z", "rfc3339", "nanoseconds", 1767323045123456789),
        ("0999-01-02T03:04:05Z", "rfc3339", "rfc3339", "0999-01-02T03:04:05Z"),
        (12345678901234567, "microseconds", "nanoseconds", 12345678901234567000),
    ],
)
def test_a_time_is_converted(value: Any, source: TimeUnit, target: TimeUnit, expected: Any) -> None:
    assert converted(value, source, target) == expected


@pytest.mark.parametrize(
    ("value", "source", "reason"),
    [
        ("x", "seconds", "expected a number of seconds"),
        (True, "seconds", "expected a number of seconds"),
        (5, "rfc3339", "expected a time such as"),
        ("2026-02-30T00:00:00Z", "rfc3339", "day is out of range"),
        ("2026-01-02", "rfc3339", "expected a time such as"),
        (10**12, "seconds", "before the year 10000"),
        (Decimal("1E+5000"), "seconds", "before the year 10000"),
        (Decimal("1E+999999999"), "nanoseconds", "before the year 10000"),
        (Decimal("-1E+999999999"), "seconds", "before the year 10000"),
        (-(10**11), "seconds", "out of the range"),
    ],
)
def test_what_is_no_time_is_refused(value: Any, source: TimeUnit, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        converted(value, source, "rfc3339")


@given(st.integers(-(10**18), 10**19), st.sampled_from(get_args(TimeUnit)))
def test_no_digit_is_lost_on_the_way_and_back(nanoseconds: int, through: TimeUnit) -> None:
    there = converted(nanoseconds, "nanoseconds", through)
    assert converted(there, through, "nanoseconds") == nanoseconds
