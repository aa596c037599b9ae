"""One open file."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import FileStat, Replaced, Rewritten
from services.system_api.sources.file.held_files import DescriptorBudget, HeldFiles
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import Parser
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.open_file import CHUNK, OpenFile
from services.system_api.sources.source import Batch, EventBuilder
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.file.file_poller import list_files, write


def make(file_id: str, path: str, offset: int, line: int) -> Parser:
    builder = EventBuilder("files", "t", None, SYSTEM_CLOCK, random.Random(1))
    return Parser(Ndjson("id", None), builder, FileIdentity("files", file_id, path), 1000, offset=offset, line=line)


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    async with IoThread.opened("disk") as io_thread:
        disk = Disk(io_thread, HeldFiles(DescriptorBudget(10)))
        yield disk
        disk.release_all()


async def begin(disk: Disk, path: Path) -> OpenFile:
    (file,) = await disk.run(list_files, str(path))
    open_file = await OpenFile.begin(disk, file, make, 1)
    assert open_file is not None
    return open_file


async def test_a_large_file_is_read_in_chunks(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, *range(30_000))
    open_file, batch = await begin(disk, path), Batch()
    while await open_file.fill(batch, 10**6):
        assert len(batch.records) * 10 <= (open_file.position // CHUNK + 1) * CHUNK
    assert len(batch.records) == 30_000
    assert open_file.position == path.stat().st_size
    assert open_file.unsaved
    saved = open_file.progress()
    assert not open_file.unsaved
    assert (saved.offset, saved.rows, saved.line) == (open_file.position, 30_000, 30_000)
    open_file.close()


@pytest.mark.parametrize("first", [1, 30, 200])
async def test_it_is_recognised_by_its_contents_alone(disk: Disk, tmp_path: Path, first: int) -> None:
    path = tmp_path / "a"
    write(path, *range(first))
    open_file, batch = await begin(disk, path), Batch()
    while await open_file.fill(batch, 10**6):
        pass
    left = open_file.progress()
    open_file.close()
    write(path, first)
    (file,) = await disk.run(list_files, str(path))
    again = await OpenFile.resume(disk, file, make, open_file.id, left)
    batch = Batch()
    assert await again.fill(batch, 10)
    assert (len(batch.records), again.progress().rows) == (1, first + 1)
    again.close()
    content = bytearray(path.read_bytes())
    content[left.offset - 3] = ord("x")
    path.write_bytes(content)
    with pytest.raises(Rewritten):
        await OpenFile.resume(disk, file, make, open_file.id, left)
    path.write_bytes(content[: left.offset - 1])
    with pytest.raises(Rewritten):
        await OpenFile.resume(disk, file, make, open_file.id, left)


async def test_an_empty_file_is_not_opened_without_an_identity(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (file,) = await disk.run(list_files, str(tmp_path / "a"))
    assert await OpenFile.begin(disk, file, make, 1) is None
    assert await OpenFile.begin(disk, file, make, 1, file.size, file.mtime) is not None


async def test_a_path_that_names_another_file_is_not_opened(disk: Disk, tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    with pytest.raises(Replaced):
        await OpenFile.begin(disk, FileStat(str(tmp_path / "a"), 0, 0, 11, 0), make, 1)
