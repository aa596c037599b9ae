"""Open documents: saved by their place, recognised by their beginning and end, closed without leaks."""

import asyncio
import json
import random
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import FileStat, Rewritten
from services.system_api.sources.file.formats import DocumentMaker, record_opener
from services.system_api.sources.file.held_files import DescriptorBudget, HeldFiles
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.parsing.parser import UnusableFile
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.open_document import Documents, OpenDocument
from services.system_api.sources.source import Batch, EventBuilder
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.file.descriptors import descriptors
from tests.unit.services.system_api.sources.file.document_files import ndjson, rows
from tests.unit.services.system_api.sources.file.file_poller import list_files


def opener(io_thread: IoThread, path: Path) -> Documents:
    options = FileSourceOptions(kind="file", path=str(path), type="t", subject="id", mode="drop", encoding="utf-16-le")
    builder = EventBuilder("files", "t", None, SYSTEM_CLOCK, random.Random(1))
    disk = Disk(io_thread, HeldFiles(DescriptorBudget(0)))
    return Documents(disk, DocumentMaker("files", options, record_opener(options), builder, SYSTEM_CLOCK))


async def found(path: Path) -> FileStat:
    return (await asyncio.to_thread(list_files, str(path)))[0]


async def begun(documents: Documents, path: Path) -> OpenDocument:
    document = await documents.begin(await found(path), 1)
    assert document is not None
    return document


def write(path: Path, text: bytes, mode: str = "wb") -> None:
    with path.open(mode) as file:
        file.write(text.decode().encode("utf-16-le"))


async def test_the_place_is_saved_and_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    await asyncio.to_thread(write, path, ndjson(rows(20)))
    async with IoThread.opened("disk") as io_thread:
        documents, batch = opener(io_thread, path), Batch()
        document = await begun(documents, path)
        assert not document.unsaved
        assert await document.fill(batch, 5)
        assert document.unsaved
        left = document.progress()
        assert not document.unsaved
        assert (left.offset, left.rows, left.line, left.position > 0, left.size) == (0, 5, 5, True, document.position)
        document.close()
        await asyncio.to_thread(write, path, ndjson(rows(5, 20)), "ab")
        again = await documents.resume(await found(path), document.id, left)
        while await again.fill(batch, 100):
            pass
        data = [json.loads((record.value or b"").partition(b'"data":')[2][:-1]) for record in batch.records]
        assert data == rows(25)
        done = again.progress(await again.status())
        assert (done.offset, done.rows, done.done) == (path.stat().st_size, 25, (path.stat().st_size, done.done[1]))
        assert not again.finish(batch, 1)
        again.close()


@pytest.mark.parametrize("changed", [b"", b"{}\n", ndjson(rows(20))[:-3] + b"x}\n"])
async def test_a_file_with_another_end_is_rewritten(changed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    await asyncio.to_thread(write, path, ndjson(rows(20)))
    async with IoThread.opened("disk") as io_thread:
        documents = opener(io_thread, path)
        document = await begun(documents, path)
        await document.fill(Batch(), 5)
        left = document.progress()
        document.close()
        await asyncio.to_thread(write, path, changed)
        with pytest.raises(Rewritten, match="no longer there"):
            await documents.resume(await found(path), document.id, left)


async def test_an_error_comes_after_what_was_read_is_saved_and_again_whenever_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    await asyncio.to_thread(write, path, ndjson(rows(3)))
    with path.open("ab") as file:
        file.write(b"\x00\xd8\x00")
    async with IoThread.opened("disk") as io_thread:
        document = await begun(opener(io_thread, path), path)
        batch = Batch()
        for _ in range(3):
            assert await document.fill(batch, 100)
        assert len(batch.records) == 3
        document.progress()
        for _ in range(3):
            with pytest.raises(UnusableFile, match=r"not read to its end, after 3 events: byte .*: not utf-16-le"):
                await document.fill(batch, 100)
        document.close()


async def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    await asyncio.to_thread(write, path, ndjson(rows(3)))
    async with IoThread.opened("disk") as io_thread:
        for _ in range(3):
            document = await begun(opener(io_thread, path), path)
            await document.fill(Batch(), 1)
            document.close()
        await io_thread.run(lambda: None)
        assert await asyncio.to_thread(descriptors, tmp_path) == 0
