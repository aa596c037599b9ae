"""When a file counts as complete."""

from services.system_api.sources.file.dropping.stability import Stability
from services.system_api.sources.file.filesystem import FileStat

FILE = FileStat("a", 1, 2, 100, 5)


def test_a_file_is_ready_when_it_has_not_changed_for_long_enough() -> None:
    stability = Stability(5)
    stability.note(FILE, 100)
    stability.note(FILE, 103)
    assert stability.ready(104.9) == []
    assert stability.unready(104.9) == [FILE]
    assert stability.age(FILE.inode, 104) == 4
    assert stability.age((0, 0), 104) == 0
    assert stability.ready(105) == [FILE]
    assert stability.unready(105) == []
    for changed in (FILE._replace(size=101), FILE._replace(mtime=6), FILE._replace(path="b")):
        stability.note(changed, 200)
        assert stability.ready(204) == []
        assert stability.ready(205) == [changed]


def test_a_file_that_was_missing_starts_again() -> None:
    stability = Stability(5)
    stability.note(FILE, 100)
    stability.forget(FILE.inode)
    assert stability.ready(200) == []
    stability.note(FILE, 203)
    assert stability.ready(206) == []


def test_with_0_seconds_a_file_is_ready_at_once_the_oldest_first() -> None:
    stability, older = Stability(0), FILE._replace(ino=3, mtime=4, path="b")
    stability.note(FILE, 100)
    stability.note(older, 100)
    assert stability.ready(100) == [older, FILE]
