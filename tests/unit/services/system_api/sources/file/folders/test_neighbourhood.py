"""Finds files near others."""

from pathlib import Path

import pytest

from services.system_api.sources.file.folders import neighbourhood as module
from services.system_api.sources.file.folders.neighbourhood import Neighbourhood, is_compressed


def write(path: Path) -> tuple[int, int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)
    status = path.stat()
    return status.st_dev, status.st_ino


def names(near: Neighbourhood, path: Path) -> list[str]:
    return sorted(Path(file.path).name for file in near.named_like(str(path)))


def test_a_file_is_found_by_its_inode_in_the_folders_in_and_beside_that_of_its_path(tmp_path: Path) -> None:
    places = ["in/b", "in/old/b", "old/b", "in/.hidden"]
    inodes = {place: write(tmp_path / place) for place in places}
    far = write(tmp_path / "x" / "y" / "b")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "x" / "y" / "b")
    near = Neighbourhood([str(tmp_path / "in" / "a"), str(tmp_path / "missing" / "a")])
    for place, inode in inodes.items():
        file = near.by_inode(inode)
        assert file is not None
        assert file.path == str(tmp_path / place)
    assert near.by_inode(far) is None
    assert near.by_inode((0, inodes["old/b"][1])) is None
    assert near.complete
    nearest = Neighbourhood([str(tmp_path / "in" / "a")], far=False)
    assert nearest.by_inode(inodes["in/b"]) is not None
    assert nearest.by_inode(inodes["old/b"]) is None


def test_names_that_rotation_makes_are_alike(tmp_path: Path) -> None:
    for name in ("a.log", "a.log.1", "a.log-20260101", "a-20260101.log", "a_1.log", "a.log.2.gz", "ab.log", "b.log.1"):
        write(tmp_path / "in" / name)
    write(tmp_path / "old" / "a.log.7")
    (tmp_path / "in" / "a.log.d").mkdir()
    (tmp_path / "in" / "\udcff.a.log").touch()
    near = Neighbourhood([str(tmp_path / "in" / "a.log")])
    alike = ["a-20260101.log", "a.log-20260101", "a.log.1", "a.log.2.gz", "a_1.log"]
    assert names(near, tmp_path / "in" / "a.log") == alike
    assert names(near, tmp_path / "in" / "c.log") == []
    assert [name for name in alike if is_compressed(name)] == ["a.log.2.gz"]


def test_a_search_reads_a_limited_number_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ENTRIES", 3)
    for number in range(5):
        write(tmp_path / "in" / str(number))
    last = write(tmp_path / "old" / "b")
    near = Neighbourhood([str(tmp_path / "in" / "a")])
    assert not near.complete
    assert near.by_inode(last) is None
