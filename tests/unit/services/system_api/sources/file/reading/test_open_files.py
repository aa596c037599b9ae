"""What is wrong with one file, and with no other."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import FileStat, list_files
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.parser import FileIdentity, Parser
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.open_files import Job, OpenFiles
from services.system_api.sources.file.reading.progress import Count
from services.system_api.sources.source import Batch, EventBuilder
from shared.runtime.clock import SYSTEM_CLOCK


def make(file_id: str, path: str, offset: int, line: int) -> Parser:
    form = Csv("id", None, delimiter=",", quotes=True, header=True, columns=None, types={})
    builder = EventBuilder("files", "t", None, SYSTEM_CLOCK, random.Random(1))
    return Parser(form, builder, FileIdentity("files", file_id, path), 1000, offset=offset, line=line)


@pytest.fixture
async def open_files() -> AsyncIterator[OpenFiles]:
    async with IoThread.opened("disk") as io_thread:
        open_files = OpenFiles("files", io_thread, make, Catalogue(Count(), {}, 10))
        yield open_files
        open_files.close_all()


async def found(folder: Path) -> list[FileStat]:
    return await asyncio.to_thread(list_files, f"{folder}/*")


async def read(open_files: OpenFiles, job: Job) -> Batch:
    batch = Batch()
    while await open_files.read(job, batch, 100):
        pass
    open_files.save(batch)
    return batch


async def test_what_is_saved_is_the_file_and_the_count(open_files: OpenFiles, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("id\n1\n")
    job = Job((await found(tmp_path))[0], None)
    batch = await read(open_files, job)
    assert job.file_id is not None
    assert batch.checkpoint.keys() == {"", job.file_id}
    assert (await read(open_files, job)).checkpoint == {}
    batch = Batch()
    open_files.forget(job.file_id, batch)
    assert batch.checkpoint == {job.file_id: None}
    assert not open_files.open


async def test_a_file_that_cannot_be_used_is_not_tried_until_it_changes(open_files: OpenFiles, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("key\n1\n")
    (file,) = await found(tmp_path)
    await read(open_files, Job(file, None))
    assert open_files.unusable(file)
    assert list(open_files.problem.values()) == [f"{path}: its header: no column 'id'; there are 'key'"]
    path.write_text("id\n12\n")
    (changed,) = await found(tmp_path)
    assert not open_files.unusable(changed)
    assert len((await read(open_files, Job(changed, None))).records) == 1
    assert not open_files.problem


async def test_trouble_goes_with_the_file(open_files: OpenFiles, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("key\n1\n")
    files = await found(tmp_path)
    await read(open_files, Job(files[0], None))
    open_files.forget_problems(files)
    assert open_files.problem
    open_files.forget_problems([])
    assert not open_files.problem
