"""Files that are rotated, truncated, rewritten, copied or deleted while a tail source reads them."""

import contextlib
import os
from pathlib import Path

import pytest

from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, write


@pytest.mark.parametrize("reopened", [True, False])
async def test_a_file_that_is_renamed_within_the_glob_is_the_same(tmp_path: Path, reopened: bool) -> None:
    poller = FilePoller(tmp_path / "*.ndjson")
    write(tmp_path / "a.ndjson", 1)
    async with poller.opened():
        assert await poller.drain() == lines(1)
        if not reopened:
            (tmp_path / "a.ndjson").rename(tmp_path / "b.ndjson")
            write(tmp_path / "b.ndjson", 2)
            assert await poller.drain() == lines(2)
    if reopened:
        (tmp_path / "a.ndjson").rename(tmp_path / "b.ndjson")
        write(tmp_path / "b.ndjson", 2)
        assert await poller.drain_reopened() == lines(2)
    assert len(poller.files) == 1


@pytest.mark.parametrize("reopened", [True, False])
async def test_a_file_that_is_rotated_out_of_the_glob_is_read_to_its_end_first(tmp_path: Path, reopened: bool) -> None:
    path, rotated = tmp_path / "a.ndjson", tmp_path / "a.ndjson.1"
    poller = FilePoller(path)
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        if reopened:
            await poller.drain()
    async with poller.opened():
        if not reopened:
            await poller.drain()
        write(path, 2)
        path.rename(rotated)
        write(rotated, 3)
        write(path, 4)
        os.utime(path, (1, 1))
        assert await poller.drain() == lines(2, 3, 4)
        write(rotated, 5)
        assert await poller.drain() == lines(5)


async def test_a_file_that_is_deleted_is_read_to_its_end(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    write(path, 1)
    async with FilePoller(tmp_path / "*.ndjson", clock, interval=1).opened() as poller:
        await poller.drain()
        write(path, 2, 3, end="")
        path.unlink()
        assert await poller.drain() == lines(2)
        clock.at += 4
        assert await poller.drain() == []
        clock.at += 2
        assert await poller.drain() == lines(3)
        assert await poller.drain() == []


@pytest.mark.parametrize("size", [3, 5])
async def test_a_truncated_file_is_read_from_its_beginning(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.ndjson"
    write(path, 11, 12, 13, 14)
    async with FilePoller(path).opened() as poller:
        await poller.drain()
        write(path, *range(21, 21 + size), mode="w")
        assert await poller.drain() == lines(*range(21, 21 + size))
        write(path, 31)
        assert await poller.drain() == lines(31)
    assert len(set(poller.ids)) == len(poller.ids)
    assert len(poller.files) == 1


async def test_a_file_that_is_rewritten_at_the_same_size_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, 1)
    async with FilePoller(path).opened() as poller:
        assert await poller.drain() == lines(1)
        write(path, 2, mode="w")
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # the time stamps of a file system are coarse
        assert await poller.drain() == lines(2)
        assert await poller.drain() == []


@pytest.mark.parametrize("reopened", [True, False])
async def test_an_incomplete_line_that_is_taken_back_repeats_nothing(tmp_path: Path, reopened: bool) -> None:
    path, poller = tmp_path / "a.ndjson", FilePoller(tmp_path / "a.ndjson")
    write(path, 1, 2)
    size = path.stat().st_size
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(poller.opened())
        write(path, 3, end="")
        assert await poller.drain() == lines(1, 2)
        if reopened:
            await stack.aclose()
            await stack.enter_async_context(poller.opened())
        os.truncate(path, size)
        assert await poller.drain() == []
        write(path, 4)
        assert await poller.drain() == lines(4)


async def test_an_incomplete_line_of_a_file_that_was_moved_away_waits_for_its_end(tmp_path: Path) -> None:
    path, elsewhere, clock = tmp_path / "a.ndjson", tmp_path / "elsewhere", ManualClock()
    elsewhere.mkdir()
    path.write_text('{"id":"1"}\n{"id"')
    async with FilePoller(tmp_path / "*.ndjson", clock).opened() as poller:
        await poller.drain()
        path.rename(elsewhere / "a.ndjson")
        for _ in range(3):
            clock.at += 6
            await poller.drain()
        with (elsewhere / "a.ndjson").open("a") as file:
            file.write(':"2"}\n')
        clock.at += 6
        await poller.drain()
    assert poller.data == lines(1, 2)
    assert poller.rejects == []


async def test_contents_that_changed_while_the_source_was_closed_are_read_from_the_beginning(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", FilePoller(tmp_path / "a.ndjson")
    write(path, 11, 12)
    await poller.drain_reopened()
    write(path, 21, 22, mode="w")
    assert await poller.drain_reopened() == lines(21, 22)
    assert len(set(poller.ids)) == 4


async def test_an_editor_that_writes_a_copy_and_renames_it_repeats_nothing(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.ndjson", tmp_path / ".a.ndjson.swp"
    write(path, 1, 2)
    async with FilePoller(path).opened() as poller:
        await poller.drain()
        copy.write_bytes(path.read_bytes())
        write(copy, 3)
        copy.rename(path)
        assert await poller.drain() == lines(3)
        write(path, 4)
        assert await poller.drain() == lines(4)
        copy.write_text('{"id":"9"}\n')
        copy.rename(path)
        assert await poller.drain() == lines(9)


async def test_positions_are_kept_while_files_are_missing_and_forgotten_in_the_end(tmp_path: Path) -> None:
    path, elsewhere, clock = tmp_path / "a.ndjson", tmp_path / "elsewhere", ManualClock()
    elsewhere.mkdir()
    write(path, 1)
    async with FilePoller(tmp_path / "*.ndjson", clock, forget_hours=1, interval=1).opened() as poller:
        await poller.drain()
        path.rename(elsewhere / "a")
        for _ in range(3):
            clock.at += 1000
            assert await poller.drain() == []
        (elsewhere / "a").rename(path)
        assert await poller.drain() == []
        assert len(poller.files) == 1
        path.rename(elsewhere / "a")
        for _ in range(6):
            clock.at += 1000
            await poller.drain()
        assert poller.files == {}
        (elsewhere / "a").rename(path)
        assert await poller.drain() == lines(1)
    assert poller.ids[0] != poller.ids[1]
