"""The blocking file system calls."""

from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import (
    FileError,
    Replaced,
    Rewritten,
    close,
    open_file,
    open_verified,
    path_of,
    read_on,
    regular_file,
    status_of,
    still_exists,
)
from tests.unit.services.system_api.sources.file.file_poller import list_files


def test_only_regular_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "broken").symlink_to(tmp_path / "missing")
    file = regular_file(str(tmp_path / "a"))
    assert file is not None
    assert (file.size, file.inode) == (3, (file.dev, file.ino))
    link = regular_file(str(tmp_path / "link"))
    assert link is not None
    assert link.inode == file.inode
    assert regular_file(str(tmp_path / "link"), follow=False) is None
    assert regular_file(str(tmp_path / "broken")) is None
    assert regular_file(str(tmp_path)) is None
    assert still_exists(str(tmp_path / "a"), file.inode)
    assert not still_exists(str(tmp_path / "a"), (0, 0))
    assert not still_exists(str(tmp_path / "b"), file.inode)


def test_the_path_of_an_open_file_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    (file,) = list_files(str(path))
    descriptor = open_file(file.path, file.inode)
    assert descriptor is not None
    assert open_file(file.path, (0, 0)) is None
    path.rename(tmp_path / "b")
    assert path_of(descriptor, str(path)) == str(tmp_path / "b")
    (tmp_path / "b").unlink()
    assert path_of(descriptor, str(path)) == str(path)
    close(descriptor)
    assert path_of(descriptor, "a") == "a"


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
