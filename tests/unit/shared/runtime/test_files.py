"""Files that are replaced as a whole, and files that change."""

from pathlib import Path

from shared.runtime.files import replace, stamp


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
