"""Counts by hour, from the totals at the end of each."""

from services.system_api.operations.windows import COUNTS, HOUR, Window, within


def window(hour: int, total: int) -> Window:
    return Window(hour * HOUR, dict.fromkeys(COUNTS, total))


def counts(windows: list[Window], since: int) -> list[tuple[float, int]]:
    return [(found.began_at / HOUR, found.totals["rows"]) for found in within(windows, since * HOUR)]


def test_each_window_has_what_was_counted_since_the_one_before() -> None:
    assert counts([window(1, 10), window(2, 15), window(4, 18)], 2) == [(2, 5), (4, 3)]


def test_the_first_window_of_a_source_has_all_until_then() -> None:
    assert counts([window(1, 10), window(2, 15)], 0) == [(1, 10), (2, 5)]
    assert counts([], 0) == []


def test_a_source_that_began_again_under_its_name_counts_from_0() -> None:
    assert counts([window(1, 10), window(2, 3), window(3, 5)], 2) == [(2, 3), (3, 2)]
