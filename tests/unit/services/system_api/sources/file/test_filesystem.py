"""The blocking file system calls."""

import os
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import (
    FileError,
    Replaced,
    Rewritten,
    close,
    find_inodes,
    folder_of,
    list_files,
    open_verified,
    read_on,
    status_of,
)
from shared.errors import Unavailable


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("/a/b/*.x", "/a/b"),
        ("/a/*/c/x", "/a"),
        ("/a/**/x", "/a"),
        ("a.x", "."),
        ("*", "."),
        ("/a/[bc]/x", "/a"),
        ("/a[[]1]/[?]/x", "/a[1]/?"),
    ],
)
def test_the_folder_that_must_exist(pattern: str, folder: str) -> None:
    assert folder_of(pattern) == folder


def test_a_listing_has_regular_files_oldest_first(tmp_path: Path) -> None:
    for name, time in (("b", 1), ("a", 2), ("c", 1)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (time, time))
    (tmp_path / "folder").mkdir()
    (tmp_path / ".hidden").touch()
    assert [Path(file.path).name for file in list_files(f"{tmp_path}/*")] == ["b", "c", "a"]
    assert list_files(f"{tmp_path}/missing") == []
    with pytest.raises(Unavailable, match=r"folder .*/missing: No such file"):
        list_files(f"{tmp_path}/missing/*")


def test_a_file_is_found_by_its_inode_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (file,) = list_files(f"{tmp_path}/a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").touch()
    found = find_inodes([str(tmp_path), str(tmp_path / "missing")], frozenset([file.inode]))
    assert [each.path for each in found] == [f"{tmp_path}/b"]


def test_a_path_that_names_another_file_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    (file,) = list_files(str(path))
    descriptor, spans = open_verified(str(path), file.inode, [(0, 4), (8, 10), (20, 5)])
    assert spans == [b"0123", b"89", b""]
    assert status_of(descriptor, str(path)) == file
    close(descriptor)
    close(descriptor)  # closing never raises
    with pytest.raises(Replaced):
        open_verified(str(path), (file.dev, file.ino + 1), [])
    path.unlink()
    with pytest.raises(Replaced):
        open_verified(str(path), file.inode, [])
    with pytest.raises(FileError, match="Not a directory"):
        open_verified(f"{__file__}/x", file.inode, [])
    with pytest.raises(FileError, match="Is a directory"):
        open_verified(str(tmp_path), (tmp_path.stat().st_dev, tmp_path.stat().st_ino), [(0, 1)])


def test_reading_on_checks_the_bytes_before_the_position(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    (file,) = list_files(str(path))
    descriptor, _ = open_verified(str(path), file.inode, [])
    assert read_on(descriptor, "a", 4, b"23", 3) == b"456"
    assert read_on(descriptor, "a", 10, b"9", 3) == b""
    for position, before in ((4, b"xx"), (20, b"9")):
        with pytest.raises(Rewritten, match=f"up to byte {position}"):
            read_on(descriptor, "a", position, before, 3)
    close(descriptor)
    with pytest.raises(FileError):
        read_on(descriptor, "a", 4, b"23", 3)
