"""Files that are replaced as a whole, and files that change."""

from pathlib import Path

from shared.runtime.files import Settled, replace, stamp


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in (b"old", b"newer and longer", b"new"):
        replace(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_changes_comes_or_goes_has_another_stamp(tmp_path: Path) -> None:
    path = tmp_path / "a"
    found = [stamp([path, None])]
    path.write_bytes(b"one")
    found.append(stamp([path, None]))
    (tmp_path / "b").write_bytes(b"two")
    (tmp_path / "b").rename(path)
    found.append(stamp([path, None]))
    assert stamp([path, None]) == found[-1]
    assert len(set(found)) == len(found)


ONE, TWO, THREE = ((1, 1, 1),), ((1, 2, 5),), ((1, 3, 9),)


def test_files_are_read_once_when_they_are_the_same_at_two_looks() -> None:
    settled = Settled()
    assert [settled.look(found) for found in (ONE, ONE, ONE, ONE)] == [False, True, False, False]


def test_files_that_are_still_being_written_are_not_read() -> None:
    settled = Settled()
    looks = [ONE, ONE, TWO, THREE, ONE, TWO, TWO, TWO]
    assert [settled.look(found) for found in looks] == [False, True, False, False, False, False, True, False]


def test_files_that_are_as_they_were_when_they_were_read_are_not_read_again() -> None:
    settled = Settled()
    assert [settled.look(found) for found in (ONE, ONE, TWO, ONE, ONE)] == [False, True, False, False, False]
