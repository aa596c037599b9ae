"""What is wrong with one file, and with no other."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import Found, look
from services.system_api.sources.file.io_thread import Disk
from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.parser import Parser, Place
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.open_files import Job, Readings
from services.system_api.sources.file.reading.progress import Count
from services.system_api.sources.source import Batch, Stamp
from shared.runtime.clock import SYSTEM_CLOCK


def make(known_as: str, path: str, offset: int, line: int) -> Parser:
    form = Csv("id", None, delimiter=",", quotes=True, header=True, columns=None, types={})
    stamp = Stamp("files", "t", None, SYSTEM_CLOCK, random.Random(1))
    return Parser(form, stamp, Place("files", known_as, path), 1000, offset=offset, line=line)


@pytest.fixture
async def readings() -> AsyncIterator[Readings]:
    async with Disk.opened("disk") as disk:
        readings = Readings("files", disk, make, Catalogue(Count(), {}, 10))
        yield readings
        readings.close_all()


async def found(folder: Path) -> list[Found]:
    return await asyncio.to_thread(look, f"{folder}/*")


async def read(readings: Readings, job: Job) -> Batch:
    batch = Batch()
    while await readings.read(job, batch, 100):
        pass
    readings.save(batch)
    return batch


async def test_what_is_saved_is_the_file_and_the_count(readings: Readings, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("id\n1\n")
    job = Job((await found(tmp_path))[0], None)
    batch = await read(readings, job)
    assert job.known_as is not None
    assert batch.checkpoint.keys() == {"", job.known_as}
    assert (await read(readings, job)).checkpoint == {}
    batch = Batch()
    readings.forget(job.known_as, batch)
    assert batch.checkpoint == {job.known_as: None}
    assert not readings.open


async def test_a_file_that_cannot_be_used_is_not_tried_until_it_changes(readings: Readings, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("key\n1\n")
    (file,) = await found(tmp_path)
    await read(readings, Job(file, None))
    assert readings.unusable(file)
    assert list(readings.problem.values()) == [f"{path}: its header: no column 'id'; there are 'key'"]
    path.write_text("id\n12\n")
    (changed,) = await found(tmp_path)
    assert not readings.unusable(changed)
    assert len((await read(readings, Job(changed, None))).records) == 1
    assert not readings.problem


async def test_trouble_goes_with_the_file(readings: Readings, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("key\n1\n")
    files = await found(tmp_path)
    await read(readings, Job(files[0], None))
    readings.forget_trouble(files)
    assert readings.problem
    readings.forget_trouble([])
    assert not readings.problem
