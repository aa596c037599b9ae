"""The open files of a source: what is saved of them, and a problem with one of them."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.held_files import DescriptorBudget, HeldFiles
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.parser import Parser
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.jobs import Job, Outcome
from services.system_api.sources.file.reading.open_file import LineFiles
from services.system_api.sources.file.reading.open_files import OpenFiles
from services.system_api.sources.file.reading.progress import Count
from services.system_api.sources.source import Batch, EventBuilder
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.file.file_poller import list_files


def make(file_id: str, path: str, offset: int, line: int) -> Parser:
    form = Csv("id", None, delimiter=",", quotes=True, header=True, columns=None, types={})
    builder = EventBuilder("files", "t", None, SYSTEM_CLOCK, random.Random(1))
    return Parser(form, builder, FileIdentity("files", file_id, path), 1000, offset=offset, line=line)


@pytest.fixture
async def open_files() -> AsyncIterator[OpenFiles]:
    async with IoThread.opened("disk") as io_thread:
        disk = Disk(io_thread, HeldFiles(DescriptorBudget(10)))
        open_files = OpenFiles("files", LineFiles(disk, make), disk, Catalogue(Count(), {}, 10))
        yield open_files
        open_files.close_all()
        disk.release_all()


async def found(folder: Path) -> Sequence[FileStat]:
    return await asyncio.to_thread(list_files, f"{folder}/*")


async def read(open_files: OpenFiles, job: Job) -> Batch:
    batch = Batch()
    while await open_files.read(job, batch, 100) is Outcome.MORE:
        pass
    batch.checkpoint = open_files.take_checkpoint()
    return batch


async def test_the_file_and_the_count_are_saved(open_files: OpenFiles, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("id\n1\n")
    job = Job((await found(tmp_path))[0], None)
    batch = await read(open_files, job)
    assert job.file_id is not None
    assert batch.checkpoint.keys() == {"", job.file_id}
    assert (await read(open_files, job)).checkpoint == {}
    open_files.forget(job.file_id)
    assert open_files.take_checkpoint() == {job.file_id: None}
    assert not open_files.open


async def test_an_unusable_file_is_not_opened_again_until_it_changes(open_files: OpenFiles, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("key\n1\n")
    (file,) = await found(tmp_path)
    await read(open_files, Job(file, None))
    assert open_files.problems.unusable(file)
    assert open_files.problems.texts == [f"{path}: header: column 'id' is missing; found 'key'"]
    path.write_text("id\n12\n")
    (changed,) = await found(tmp_path)
    assert not open_files.problems.unusable(changed)
    assert len((await read(open_files, Job(changed, None))).records) == 1
    assert not open_files.problems.texts


async def test_the_outcome_distinguishes_the_end_from_a_file_that_cannot_be_read(
    open_files: OpenFiles, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("id\n1\n2")
    (tmp_path / "b").write_text("key\n1\n")
    (tmp_path / "c").touch()
    good, bad, empty = (Job(file, None) for file in sorted(await found(tmp_path), key=lambda file: file.path))
    batch = Batch()
    assert await open_files.read(good, batch, 100) is Outcome.MORE
    assert await open_files.read(good, batch, 100) is Outcome.END
    assert open_files.finish(good, batch, 1) is Outcome.MORE
    assert open_files.finish(good, batch, 100) is Outcome.END
    assert len(batch.records) == 2
    for job in (bad, empty):
        assert await open_files.read(job, batch, 100) is Outcome.SKIPPED
    assert list(open_files.open) == [good.file_id]
