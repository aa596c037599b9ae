"""Files that rotation made of others: which unknown ones are read, and which are named."""

import os
from pathlib import Path

import pytest

from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, write


@pytest.mark.parametrize("reopened", [True, False])
async def test_files_that_were_created_and_rotated_between_two_looks_are_read_if_rotated_names_them(
    tmp_path: Path, reopened: bool
) -> None:
    path, old = tmp_path / "a.ndjson", tmp_path / "old"
    old.mkdir()
    write(old / "a.1", 0)
    poller = FilePoller(path, rotated=str(old / "a.*"))
    write(path, 1)
    async with poller.opened():
        assert await poller.drain() == lines(1)
        if not reopened:
            rotate_twice(path, old)
            assert await poller.drain() == lines(2, 3, 4)
    if reopened:
        rotate_twice(path, old)
        assert await poller.drain_reopened() == lines(2, 3, 4)
    assert await poller.drain_reopened() == []
    assert not poller.losses


def rotate_twice(path: Path, old: Path) -> None:
    write(path, 2)
    path.rename(old / "a.2")
    write(path, 3)
    path.rename(old / "a.3")
    write(path, 4)


@pytest.mark.parametrize("reopened", [True, False])
async def test_a_file_that_looks_rotated_and_was_never_read_is_named(tmp_path: Path, reopened: bool) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    write(tmp_path / "a.ndjson.9", 0)
    write(tmp_path / "b.ndjson", 0)
    poller = FilePoller(path, clock)
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        if not reopened:
            rotate_beside(path)
            assert await poller.drain() == lines(2, 4)
    if reopened:
        rotate_beside(path)
        assert await poller.drain_reopened() == lines(2, 4)
    assert [(loss.text, loss.size) for loss in poller.losses] == [
        (
            f"{path}.1: looks like {path} after a rotation, and was never read; set rotated to have such files read",
            11,
        )
    ]
    assert await poller.drain_reopened() == []
    assert len(poller.losses) == 1


def rotate_beside(path: Path) -> None:
    write(path, 2)
    path.rename(f"{path}.2")
    write(path, 3)
    path.rename(f"{path}.1")
    write(path, 4)


async def test_files_that_were_written_in_the_same_moment_are_read_in_the_order_of_their_rotation(
    tmp_path: Path,
) -> None:
    """The clock of a file system moves every few milliseconds; a busy writer goes on at once."""
    path, clock = tmp_path / "a.ndjson", ManualClock()
    for poller in (
        FilePoller(path, clock, rotated=str(tmp_path / "*.ndjson.*")),
        FilePoller(f"{path}*", clock, format="ndjson"),
    ):
        write(path, 1)
        async with poller.opened():
            await poller.drain()
            write(path, 2)
            path.rename(f"{path}.3")
            write(path, 3)
            path.rename(f"{path}.2")
            write(path, 4)
            path.rename(f"{path}.1")
            write(path, 5)
            for file in tmp_path.iterdir():
                os.utime(file, (2_000_000_000,) * 2)
            clock.at += 2
            assert await poller.drain() == lines(2, 3, 4, 5)
        for file in tmp_path.iterdir():
            file.unlink()
