"""When a file counts as complete."""

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.stability import Stability

FILE = FileStat("a", 1, 2, 100, 5)


def test_a_file_is_ready_when_it_has_not_changed_for_long_enough() -> None:
    stability = Stability(5)
    assert stability.ready([FILE], 100) == []
    assert stability.ready([FILE], 104.9) == []
    assert stability.ready([FILE], 105) == [FILE]
    for changed in (FILE._replace(size=101), FILE._replace(mtime=6), FILE._replace(path="b")):
        assert stability.ready([changed], 200) == []
        assert stability.ready([changed], 205) == [changed]


def test_a_file_that_was_missing_starts_again() -> None:
    stability = Stability(5)
    stability.ready([FILE], 100)
    stability.ready([], 103)
    assert stability.ready([FILE], 106) == []


def test_with_0_seconds_a_file_is_ready_at_once() -> None:
    assert Stability(0).ready([FILE], 100) == [FILE]
