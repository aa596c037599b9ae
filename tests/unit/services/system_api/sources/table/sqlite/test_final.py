"""Which rows of a table in SQLite are final."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from services.system_api.sources.table.sqlite.final import FinalKeys, FinalNumbers, FinalTexts
from services.system_api.sources.table.sqlite.times import Numbers, Texts
from shared.runtime.clock import SystemClock


class ManualClock(SystemClock):
    """A clock that a test sets."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def time(self) -> float:
        return self.at.timestamp()

    def monotonic(self) -> float:
        return self.at.timestamp()


NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def texts(zone: str, now: datetime = NOW) -> FinalTexts:
    return FinalTexts(Texts("at"), ZoneInfo(zone), 2, ManualClock(now))


def test_keys_that_sqlite_assigns_are_final_at_once() -> None:
    final = FinalKeys(0, ManualClock(NOW))
    assert final.below(7) == 8


def test_numbers_are_final_when_they_are_old_enough() -> None:
    final = FinalNumbers(Numbers(), 2, ManualClock(NOW))
    assert final.below(int(NOW.timestamp() * 1000)) == int(NOW.timestamp() - 2) * 1000


@pytest.mark.parametrize(
    ("zone", "latest", "expected"),
    [
        ("UTC", "2026-07-01 11:59:59", "2026-07-01 11:59:57"),
        ("Europe/Berlin", "2026-07-01T14:00:00", "2026-07-01T13:59:58"),
        ("UTC", "2026-07-01 07:00:00", "2026-07-01 06:59:58"),
        ("UTC", "2020-01-01 00:00", "2026-06-30 22:59:58"),
        ("UTC", "9999-12-31 00:00", "2026-06-30 22:59:58"),
        ("UTC", "0001-01-01 00:00", "2026-06-30 22:59:58"),
    ],
)
def test_texts_are_final_below_the_clock_and_below_what_the_rows_show(zone: str, latest: str, expected: str) -> None:
    assert texts(zone).below(latest) == expected


def test_in_the_repeated_hour_no_text_is_final() -> None:
    final = texts("Europe/Berlin", datetime(2026, 10, 25, 0, 45, tzinfo=UTC))
    assert final.below("2026-10-25 02:45:00") == "2026-10-25 02:00:00"


def test_a_wrong_zone_is_a_problem() -> None:
    clock = ManualClock(NOW)
    final = FinalTexts(Texts("at"), ZoneInfo("UTC"), 2, clock)
    for second in range(5):
        clock.at = NOW.replace(second=second)
        final.below(f"2026-07-01 07:00:0{second}")
    assert str(final.problem()).startswith("rows that were just written have times 5 h 00 min behind those of")
