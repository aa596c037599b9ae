"""Names of letters, and the order in which the topic is scanned."""

import random

import pytest

from services.process_api.dead_letters.places import Place, Window, parse_place, windows, windows_of
from shared.errors import Malformed


def test_a_name_is_partition_and_offset() -> None:
    assert parse_place("0-4711") == Place(0, 4711)
    assert str(Place(0, 4711)) == "0-4711"


@pytest.mark.parametrize("name", ["", "4711", "0-", "0-1-2", "a-1", "0-" + "1" * 19])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="expected partition and offset, such as '0-4711'"):
        parse_place(name)


def test_a_topic_is_scanned_in_windows_in_both_directions() -> None:
    bounds = {0: (5, 12), 1: (0, 3)}
    assert list(windows(bounds, 4)) == [Window(0, 5, 9), Window(0, 9, 12), Window(1, 0, 3)]
    newest = list(windows(bounds, 4, newest_first=True))
    assert newest == [Window(1, 0, 3), Window(0, 8, 12), Window(0, 5, 8)]


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_scan_continues_where_it_stopped(newest_first: bool) -> None:
    rng = random.Random(5)
    for _ in range(200):
        firsts = [rng.randrange(5) for _ in range(rng.randrange(1, 4))]
        bounds = {number: (first, first + rng.randrange(9)) for number, first in enumerate(firsts)}
        size = rng.randrange(1, 6)
        found = [_offsets(window, newest_first) for window in windows(bounds, size, newest_first=newest_first)]
        offsets = [place for places in found for place in places]
        assert len(offsets) == len(set(offsets)) == sum(end - first for first, end in bounds.values())
        for number, last in enumerate(offsets):
            at = last if newest_first else last._replace(offset=last.offset + 1)
            rest = windows(bounds, size, at, newest_first=newest_first)
            assert [place for window in rest for place in _offsets(window, newest_first)] == offsets[number + 1 :]


def _offsets(window: Window, newest_first: bool) -> list[Place]:
    found = [Place(window.partition, offset) for offset in range(window.first, window.end)]
    return found[::-1] if newest_first else found


def test_single_letters_are_read_in_few_windows() -> None:
    bounds = {0: (10, 5000), 1: (0, 10)}
    places = [Place(0, 4000), Place(0, 20), Place(0, 30), Place(1, 5), Place(0, 3), Place(1, 10), Place(7, 0)]
    assert list(windows_of(places, bounds)) == [Window(0, 20, 31), Window(0, 4000, 4001), Window(1, 5, 6)]
    assert list(windows_of(places, bounds, Place(0, 31))) == [Window(0, 4000, 4001), Window(1, 5, 6)]
    assert list(windows_of([], bounds)) == []
