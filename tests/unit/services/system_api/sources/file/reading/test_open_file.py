"""One file that is open."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import Found, Replaced, Rewritten, look
from services.system_api.sources.file.io_thread import Disk
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import Parser, Place
from services.system_api.sources.file.reading.open_file import CHUNK, Reading
from services.system_api.sources.source import Batch, Stamp
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.file.reading_files import write


def make(known_as: str, path: str, offset: int, line: int) -> Parser:
    stamp = Stamp("files", "t", None, SYSTEM_CLOCK, random.Random(1))
    return Parser(Ndjson("id", None), stamp, Place("files", known_as, path), 1000, offset=offset, line=line)


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    async with Disk.opened("disk") as disk:
        yield disk


async def begin(disk: Disk, path: Path) -> Reading:
    (file,) = await disk.run(look, str(path))
    reading = await Reading.begin(disk, file, make, 1)
    assert reading is not None
    return reading


async def test_a_large_file_is_read_in_chunks(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, *range(30_000))
    reading, batch = await begin(disk, path), Batch()
    while await reading.fill(batch, 10**6):
        assert len(batch.records) * 10 <= (reading.position // CHUNK + 1) * CHUNK
    assert len(batch.records) == 30_000
    assert reading.position == path.stat().st_size
    assert reading.moved
    saved = reading.progress()
    assert not reading.moved
    assert (saved.offset, saved.rows, saved.line) == (reading.position, 30_000, 30_000)
    reading.close()


@pytest.mark.parametrize("first", [1, 30, 200])
async def test_it_is_known_again_by_its_contents_alone(disk: Disk, tmp_path: Path, first: int) -> None:
    path = tmp_path / "a"
    write(path, *range(first))
    reading, batch = await begin(disk, path), Batch()
    while await reading.fill(batch, 10**6):
        pass
    left = reading.progress()
    reading.close()
    write(path, first)
    (file,) = await disk.run(look, str(path))
    again = await Reading.resume(disk, file, make, reading.id, left)
    batch = Batch()
    assert await again.fill(batch, 10)
    assert (len(batch.records), again.progress().rows) == (1, first + 1)
    again.close()
    content = bytearray(path.read_bytes())
    content[left.offset - 3] = ord("x")
    path.write_bytes(content)
    with pytest.raises(Rewritten):
        await Reading.resume(disk, file, make, reading.id, left)
    path.write_bytes(content[: left.offset - 1])
    with pytest.raises(Rewritten):
        await Reading.resume(disk, file, make, reading.id, left)


async def test_nothing_comes_of_an_empty_file(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (file,) = await disk.run(look, str(tmp_path / "a"))
    assert await Reading.begin(disk, file, make, 1) is None
    assert await Reading.begin(disk, file, make, 1, file.size, file.mtime) is not None


async def test_a_path_that_leads_elsewhere_is_not_opened(disk: Disk, tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    with pytest.raises(Replaced):
        await Reading.begin(disk, Found(str(tmp_path / "a"), 0, 0, 11, 0), make, 1)
