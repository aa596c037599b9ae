"""Paths and names of growing files: missing, not in UTF-8, with wildcards, and several of one file."""

import os
from pathlib import Path

import pytest

from shared.errors import Unavailable
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, lines, write


async def test_a_name_that_is_not_utf8_stops_no_other_file(tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.ndjson"))
    write(tmp_path / "a.ndjson", 1)
    write(strange, 2)
    async with FilePoller(tmp_path / "*.ndjson").opened() as poller:
        assert await poller.drain() == lines(1)
        assert len(poller.problems) == 1
        assert "\\xff.ndjson': not read: its name is not UTF-8" in poller.problems[0]
        (tmp_path / "a.ndjson").rename(tmp_path / "b.ndjson")
        strange.rename(tmp_path / "a.ndjson")
        assert await poller.drain() == lines(2)
        assert not poller.problems


async def test_a_file_with_two_names_is_one(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 1)
    (tmp_path / "b.ndjson").hardlink_to(tmp_path / "a.ndjson")
    async with FilePoller(tmp_path / "*.ndjson").opened() as poller:
        assert await poller.drain() == lines(1)


async def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ndjson")
    (tmp_path / "folder.ndjson").mkdir()
    (tmp_path / "nowhere.ndjson").symlink_to(tmp_path / "missing")
    write(tmp_path / "a.ndjson", 1)
    async with FilePoller(tmp_path / "*.ndjson").opened() as poller:
        assert await poller.drain() == lines(1)


async def test_a_missing_folder_or_file_is_an_error(tmp_path: Path) -> None:
    async with FilePoller(tmp_path / "in" / "*.ndjson").opened() as poller:
        with pytest.raises(Unavailable, match=f"folder {tmp_path}/in: No such file or directory"):
            await poller.poll()
        (tmp_path / "in").mkdir()
        assert await poller.drain() == []
    async with FilePoller(tmp_path / "a.ndjson").opened() as poller:
        with pytest.raises(Unavailable, match=r"a\.ndjson: no such file"):
            await poller.poll()
        write(tmp_path / "a.ndjson", 1)
        assert await poller.drain() == lines(1)


@pytest.mark.parametrize("path", ["feed.ndjson", "*.ndjson", "**/*.ndjson"])
async def test_wildcards_in_the_name_of_the_settings_folder_are_part_of_it(tmp_path: Path, path: str) -> None:
    folder, other = tmp_path / "release[1]*", tmp_path / "release1"
    folder.mkdir()
    other.mkdir()
    write(folder / "feed.ndjson", 1)
    write(other / "feed.ndjson", 2)
    async with FilePoller(Path(path), folder=folder, interval=60).opened() as poller:
        await poller.until(1)
        write(folder / "feed.ndjson", 3)
        await poller.until(2)
    assert poller.data == lines(1, 3)


async def test_a_missing_file_in_such_a_folder_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "release[1]"
    folder.mkdir()
    async with FilePoller(Path("feed.ndjson"), folder=folder).opened() as poller:
        with pytest.raises(Unavailable, match=r"release\[1\]/feed\.ndjson: no such file"):
            await poller.poll()


async def test_a_new_path_is_saved_at_once(tmp_path: Path) -> None:
    path, rotated = tmp_path / "a.ndjson", tmp_path / "a.ndjson.1"
    poller = FilePoller(path, rotated=f"{path}.*")
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        path.rename(rotated)
        await poller.drain()
    assert [known["path"] for known in poller.files.values()] == [str(rotated)]
