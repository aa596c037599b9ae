"""Opens files on the I/O thread, and hands them on to those that are held."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import FileStat, Replaced
from services.system_api.sources.file.held_files import DescriptorBudget, HeldFiles
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.reading.disk import Disk
from tests.unit.services.system_api.sources.file.file_poller import list_files, write


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    async with IoThread.opened("disk") as io_thread:
        disk = Disk(io_thread, HeldFiles(DescriptorBudget(10)))
        yield disk
        disk.release_all()


@pytest.fixture
def file(tmp_path: Path) -> FileStat:
    write(tmp_path / "a", 1)
    return list_files(f"{tmp_path}/a")[0]


async def flushed(disk: Disk) -> list[tuple[int, int]]:
    return await disk.run(lambda: disk.held.inodes)


async def test_a_file_that_was_kept_is_opened_again_without_its_path(disk: Disk, file: FileStat) -> None:
    opened = await disk.open(file, [(0, 5), (2, 2)])
    assert (opened.parts, opened.real) == ([b'{"id"', b"id"], file.path)
    disk.keep(file, opened.descriptor)
    assert await flushed(disk) == [file.inode]
    Path(file.path).unlink()
    again = await disk.open(file, [(0, 5)])
    assert (again.descriptor, again.parts, again.real) == (opened.descriptor, [b'{"id"'], file.path)
    assert await flushed(disk) == []
    disk.close(again.descriptor)
    with pytest.raises(Replaced):
        await disk.open(file, [])


async def test_a_link_leads_to_the_real_path(disk: Disk, file: FileStat, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file.path)
    opened = await disk.open(file._replace(path=str(tmp_path / "link")), [])
    assert opened.real == file.path
    disk.keep(file, opened.descriptor)
    disk.release(file)
    assert await flushed(disk) == []


async def test_a_file_that_is_opened_for_a_caller_that_was_cancelled_is_held(disk: Disk, file: FileStat) -> None:
    release = threading.Event()
    blocked = asyncio.ensure_future(disk.run(release.wait))
    opening = asyncio.ensure_future(disk.open(file, []))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    release.set()
    await blocked
    assert await flushed(disk) == [file.inode]


async def test_a_file_that_was_kept_is_held_before_the_thread_has_time(disk: Disk, file: FileStat) -> None:
    opened = await disk.open(file, [])
    release = threading.Event()
    blocked = asyncio.ensure_future(disk.run(release.wait))
    disk.keep(file, opened.descriptor)
    assert disk.held.inodes == [file.inode], "another opening of the source looks now, on a thread of its own"
    release.set()
    await blocked
