"""What rows tell of the zone of their times."""

import pytest

from services.system_api.sources.table.local_clock import LocalClock

SECOND = 1_000_000
HOUR = 3600 * SECOND
UTC = 10**15


def observed(offset: int, *, expected: int = 0, times: int = 5) -> LocalClock:
    """A column that is written every second by a clock `offset` from UTC; the settings expect another offset."""
    clock = LocalClock()
    for number in range(times):
        now = UTC + number * SECOND
        clock.observe(now + offset - SECOND // 2, now, now + expected)
    return clock


@pytest.mark.parametrize("offset", [-5 * HOUR, 0, 5 * HOUR, 5 * HOUR + HOUR // 2])
def test_the_bound_is_never_above_the_clock_of_the_column(offset: int) -> None:
    clock = observed(offset, expected=offset)
    assert clock.bound(UTC + HOUR) == UTC + HOUR + offset - SECOND // 2
    assert clock.problem("UTC") is None


@pytest.mark.parametrize(
    ("offset", "expected", "text"),
    [
        (-5 * HOUR, 0, "times 5 h 00 min behind those of `time_zone` (UTC)"),
        (0, 2 * HOUR, "times 2 h 00 min behind those"),
        (5 * HOUR + HOUR // 2, 0, "times 5 h 30 min ahead of those"),
    ],
)
def test_a_wrong_zone_is_a_problem_after_a_few_rows(offset: int, expected: int, text: str) -> None:
    assert observed(offset, expected=expected, times=3).problem("UTC") is None
    clock = observed(offset, expected=expected)
    found = clock.problem("UTC")
    assert found is not None
    assert text in found
    assert clock.bound(UTC) <= UTC + offset - HOUR, "its clocks may be set back"


def test_a_column_without_rows_or_with_old_rows_has_the_bound_of_the_lowest_zone() -> None:
    clock = LocalClock()
    clock.observe(None, UTC, UTC)
    assert clock.bound(UTC) == UTC - 13 * HOUR
    clock.observe(UTC - 10**14, UTC, UTC)
    assert clock.bound(UTC) == UTC - 13 * HOUR


def test_a_table_that_is_not_written_says_nothing_of_its_zone() -> None:
    clock = LocalClock()
    for number in range(10):
        clock.observe(UTC - 5 * HOUR, UTC + number * SECOND, UTC + number * SECOND)
    assert clock.behind is None


def test_a_long_transaction_is_not_taken_for_another_zone() -> None:
    clock = LocalClock()
    for number in range(10):
        now = UTC + number * SECOND
        clock.observe(now - HOUR // 3 - number, now, now)
    assert clock.behind is None


def test_after_a_pause_a_row_says_nothing_of_its_zone() -> None:
    clock = LocalClock()
    for number in range(10):
        now = UTC + number * HOUR
        clock.observe(now - HOUR, now, now)
    assert clock.behind is None


def test_rows_that_fit_again_end_the_problem() -> None:
    clock = observed(-HOUR)
    assert clock.behind == HOUR
    now = UTC + 6 * SECOND
    clock.observe(now, now, now)
    assert clock.behind is None
