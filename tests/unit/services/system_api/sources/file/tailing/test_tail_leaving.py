"""Tailed files that leave while they are watched: all their lines are read."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.services.system_api.sources.file.file_poller import FilePoller, lines, write

FILES = 300
"""More than keep a parser."""


def moved(folder: Path) -> Iterator[Callable[[Path], object]]:
    """Yield every way in which a file leaves."""
    old, below = folder.parent / "old", folder / "old"
    old.mkdir()
    below.mkdir()
    yield lambda path: path.rename(old / path.name)
    yield lambda path: path.rename(below / path.name)
    yield lambda path: path.rename(path.with_suffix(".1"))
    yield lambda path: path.unlink()


@pytest.mark.parametrize("way", range(4))
@pytest.mark.parametrize("create", [True, False])
async def test_many_files_that_leave_between_two_looks_are_read_to_their_end(
    tmp_path: Path, way: int, create: bool
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    leave = list(moved(folder))[way]
    paths = [folder / f"{number}.ndjson" for number in range(FILES)]
    for number, path in enumerate(paths):
        write(path, number)
    async with FilePoller(folder / "*.ndjson").opened() as poller:
        assert len(await poller.drain()) == FILES
        for number, path in enumerate(paths):
            write(path, 1000 + number)
            leave(path)
            if create:
                write(path, 2000 + number)
        found = sorted(int(each["id"]) for each in await poller.drain())
        assert found == [*range(1000, 1000 + FILES), *(range(2000, 2000 + FILES) if create else ())]
        assert not poller.problems
    assert not poller.losses
    assert await poller.drain_reopened() == []
    assert not poller.losses


async def test_files_behind_links_that_are_rotated_are_read_to_their_end(tmp_path: Path) -> None:
    links, pods = tmp_path / "containers", tmp_path / "pods"
    links.mkdir()
    for number in range(FILES):
        target = pods / str(number) / "0.log"
        target.parent.mkdir(parents=True)
        write(target, number)
        (links / f"{number}.log").symlink_to(target)
    poller = FilePoller(links / "*.log", format="ndjson")
    async with poller.opened():
        assert len(await poller.drain()) == FILES
        for number in range(FILES):
            target = pods / str(number) / "0.log"
            write(target, 1000 + number)
            target.rename(target.with_suffix(".log.1"))
            write(target, 2000 + number)
        assert len(await poller.drain()) == 2 * FILES
    for number in range(FILES):
        target = pods / str(number) / "0.log"
        write(target, 3000 + number)
        target.rename(target.with_suffix(".log.2"))
        write(target, 4000 + number)
    assert len(await poller.drain_reopened()) == 2 * FILES
    for number in range(FILES):
        write(pods / str(number) / "0.log", 5000 + number)
        (links / f"{number}.log").unlink()
    assert len(await poller.drain_reopened()) == FILES
    assert not poller.losses
    assert len({each["id"] for each in poller.data}) == len(poller.data) == 6 * FILES


async def test_files_whose_folder_is_deleted_are_read_to_their_end(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.ndjson", 1)
    async with FilePoller(folder / "*.ndjson").opened() as poller:
        await poller.drain()
        write(folder / "a.ndjson", 2)
        shutil.rmtree(folder)
        assert await poller.drain() == lines(2)
        folder.mkdir()
        write(folder / "a.ndjson", 3)
        assert await poller.drain() == lines(3)
    assert not poller.losses


async def test_a_file_that_is_gone_before_its_first_look_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    async with FilePoller(folder / "*.ndjson", interval=60).opened() as poller:
        await poller.drain()
        while not poller.losses:
            write(folder / "a.ndjson", 1)
            (folder / "a.ndjson").unlink()
            await poller.source.wait_for_change()
            await poller.drain()
    assert poller.losses[0].text in {
        f"{folder}/a.ndjson: came and was gone before it could be opened",
        f"{folder}/a.ndjson: gone before it was opened, with 11 bytes",  # the listing saw it
    }
