"""Times as text and as order values."""

from datetime import UTC, datetime

import pytest

from services.system_api.sources.table.generic.times import Nanoseconds, moment_of, of_moment, order_of, text_of
from services.system_api.sources.table.timestamps import SINCE_1970
from shared.errors import Unavailable


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("1970-01-01 00:00:00.0000001", 100),
        ("1970-01-01 00:00:00", 0),
        ("1970-01-01 00:00:01.000000001", 1_000_000_001),
        ("1969-12-31 23:59:59.9999999", -100),
        ("2026-01-31 12:00:00.1234567", 1_769_860_800_123_456_700),
        ("0001-01-01 00:00:00.0000000", -62_135_596_800_000_000_000),
        ("9999-12-31 23:59:59.9999999", 253_402_300_799_999_999_900),
    ],
)
def test_a_time_keeps_all_its_digits(text: str, order: int) -> None:
    assert order_of(text) == order
    digits = 9 if len(text) == 29 else 7
    assert text_of(order, digits) == (text if "." in text else f"{text}.0000000")


def test_digits_that_a_database_does_not_have_are_cut_off() -> None:
    assert text_of(1_999_999_999, 7) == "1970-01-01 00:00:01.9999999"


@pytest.mark.parametrize("text", ["", "31.01.2026 12:00", "2026-01-31 12:00:00.x"])
def test_what_is_no_time_is_an_error_of_the_server(text: str) -> None:
    with pytest.raises(Unavailable, match="found the time"):
        order_of(text)


def test_order_values_are_a_scale_of_times() -> None:
    scale = Nanoseconds()
    assert scale.micros(scale.at(5)) == 5
    assert scale.at(-SINCE_1970) == 0
    assert scale.text(7) == "7"
    assert moment_of(1_000_000_999) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert of_moment(datetime(1970, 1, 1, 0, 0, 1)) == 1_000_000_000  # noqa: DTZ001 -- local, and in UTC by name
