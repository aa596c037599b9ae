"""Whole files of a remote file system: read once, in bounded memory, and finished after they are committed."""

import asyncio
import io
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from services.system_api.sources.capabilities import Rewinding
from services.system_api.sources.file.remote import store as store_module
from services.system_api.sources.file.remote.store import RemoteStore
from shared.errors import SettingsError, Unavailable
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, until
from tests.unit.services.system_api.sources.file.remote.remote_files import MemoryFolder, rows


@contextmanager
def limit_of(poller: FilePoller, seconds: float) -> Iterator[None]:
    """Limit the requests of an open source, for as long as the context lasts."""
    thread: Any = poller.source.__dict__["_thread"]
    before, thread._timeout = thread._timeout, seconds
    try:
        yield
    finally:
        thread._timeout = before


async def test_files_are_read_once_oldest_first(folder: MemoryFolder) -> None:
    folder.write("b.ndjson", *range(5))
    folder.write("a.ndjson", *range(5, 9))
    folder.write("other.csv", 10)
    poller = folder.poller()
    assert await poller.drain_reopened(2) == lines(*range(9))
    assert await poller.drain_reopened() == []
    folder.write("c.ndjson", 9)
    assert await poller.drain_reopened() == lines(9)
    assert len(set(poller.ids)) == 10


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id\n1\n2\n"),
        ("a.json", rows(1, 2)),
        ("a.ndjson", '{"id":"1"}\n{"id":"2"}'),
    ],
)
async def test_formats(folder: MemoryFolder, name: str, content: str) -> None:
    folder.put(name, content)
    poller = folder.poller(f"*{Path(name).suffix}", origin=["file"])
    assert await poller.drain_reopened(1) == lines(1, 2)


async def test_after_a_crash_it_resumes_at_a_record_without_reading_what_is_before(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_BUFFER", 65_536)
    pad = "x" * 500
    folder.put("a.ndjson", "".join(f'{{"id":"{number}","pad":"{pad}"}}\n' for number in range(4000)))
    poller = folder.poller()
    async with poller.opened():
        while len(poller.data) < 3000:
            await poller.poll(500)
        await poller.source.poll(500)  # lost
    read = 0
    readinto = store_module._Guarded.readinto

    def counted(self: Any, buffer: Any) -> int:
        nonlocal read
        read += (size := readinto(self, buffer))
        return size

    monkeypatch.setattr(store_module._Guarded, "readinto", counted)
    await poller.drain_reopened()
    assert [int(row["id"]) for row in poller.data] == list(range(4000))
    assert read < 1_000_000, "the file has 2 MB"


async def test_a_file_that_changes_while_it_is_read_is_read_as_a_new_one(folder: MemoryFolder) -> None:
    folder.write("a.ndjson", *range(100))
    async with folder.poller().opened() as poller:
        await poller.poll(10)
        folder.write("a.ndjson", *range(100, 120))
        await poller.drain()
        assert poller.data == lines(*range(10), *range(100, 120))
        folder.write("a.ndjson", 7)
        assert await poller.drain() == lines(7)
    assert len(set(poller.ids)) == 31
    assert [text.split(": ")[1] for text in poller.taken_early] == [
        "changed after it was read; it is read again as a new file"
    ]


async def test_a_file_that_is_gone_before_it_is_read_is_named(folder: MemoryFolder) -> None:
    folder.write("a.ndjson", *range(10))
    async with folder.poller().opened() as poller:
        await poller.poll(2)
        folder.fs.rm_file(f"/{folder.name}/a.ndjson")
        await poller.drain()
        assert poller.data == lines(0, 1)
        assert poller.problems == [f"{folder.url}/a.ndjson: deleted before its end was read"]


async def test_an_outage_loses_and_repeats_nothing(folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        folder.write(f"{name}.ndjson", *(ord(name) * 100 + number for number in range(20)))
    expected = lines(*(ord(name) * 100 + number for name in "abc" for number in range(20)))
    rng = random.Random(1)

    def failing(work: Any) -> Any:
        if rng.random() < 0.15:
            raise ConnectionResetError("connection lost")
        return work()

    monkeypatch.setattr(store_module._Guarded, "_run", staticmethod(failing))
    errors = list[str]()
    async with folder.poller().opened() as poller:
        while len(poller.data) < 60:
            try:
                await poller.poll(7)
            except Unavailable as exc:
                errors.append(str(exc))
    assert errors
    assert {error.partition(": ")[2] for error in errors} == {"connection lost"}
    assert poller.data == expected
    assert len(set(poller.ids)) == 60


async def test_a_request_that_hangs_is_given_a_limit(folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a.ndjson", 1)
    listing, released = RemoteStore.list_files, threading.Event()

    def hanging(self: RemoteStore) -> object:
        if not released.is_set():
            released.wait(20)
        return listing(self)

    async with folder.poller().opened() as poller:
        monkeypatch.setattr(RemoteStore, "list_files", hanging)
        started = asyncio.get_running_loop().time()
        with limit_of(poller, 0.05), pytest.raises(Unavailable, match=r"memory://.*: no answer within 0\.05 s"):
            await poller.poll()
        assert asyncio.get_running_loop().time() - started < 10
        released.set()
        assert await poller.drain() == lines(1)


async def test_a_file_that_is_opened_too_late_is_not_read_from(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request was made again meanwhile, and the file was read on: what opened late would read that again."""
    folder.write("a.ndjson", *range(9))
    released = threading.Event()
    late: list[threading.Thread] = []
    content = folder.fs.cat_file(f"/{folder.name}/a.ndjson")

    def hanging(_store: RemoteStore, _path: str) -> BinaryIO:
        if not late:
            late.append(threading.current_thread())
            released.wait(60)
        return io.BytesIO(content)  # files in memory share one position

    monkeypatch.setattr(RemoteStore, "open", hanging)
    async with folder.poller().opened() as poller:
        while not late:  # the listing may take too long as well
            with limit_of(poller, 0.05), pytest.raises(Unavailable, match="no answer"):
                await poller.poll(3)
        await poller.poll(5)
        released.set()
        await asyncio.to_thread(late[0].join, 60)
        await poller.drain(3)
        assert poller.data == lines(*range(9))


async def test_a_file_is_not_read_until_it_is_complete(folder: MemoryFolder) -> None:
    clock = ManualClock()
    folder.write("a.ndjson", 1)
    async with folder.poller(clock=clock, drop={"stable_seconds": 5}).opened() as poller:
        assert await poller.drain() == []
        assert poller.waiting == [f"{folder.url}/a.ndjson: it is not complete yet"]
        clock.at += 4
        folder.write("a.ndjson", 1, 2)
        assert await poller.drain() == []
        clock.at += 5
        assert await poller.drain() == lines(1, 2)
        assert poller.waiting == []


async def test_a_done_file_marks_its_file_complete(folder: MemoryFolder) -> None:
    clock = ManualClock()
    folder.write("a.ndjson", 1)
    async with folder.poller(clock=clock, drop={"ready": "done-file"}).opened() as poller:
        assert await poller.drain() == []
        folder.put("a.ndjson.done", "")
        clock.at += 1
        assert await poller.drain() == lines(1)


async def test_a_broken_file_is_named_and_stays(folder: MemoryFolder) -> None:
    folder.put("a.json", '[{"id": "1"}, {"id')
    folder.put("b.json", rows(2))
    async with folder.poller("*.json", drop={"after": "delete"}).opened() as poller:
        await poller.drain()
        await until(lambda: folder.names() == ["a.json"])
        assert poller.data == lines(1, 2)
        (problem,) = poller.problems
        assert problem.startswith(f"{folder.url}/a.json: not read to its end: ")
        folder.put("a.json", rows(3))
        assert await poller.drain() == lines(3)
        assert poller.problems == []


async def test_at_the_end_only_files_are_read_that_appear_later(folder: MemoryFolder) -> None:
    folder.write("a.ndjson", 1)
    poller = folder.poller(start="end", drop={"after": "delete"})
    assert await poller.drain_reopened() == []
    folder.write("b.ndjson", 2)
    async with poller.opened():
        assert await poller.drain() == lines(2)
        await until(lambda: folder.names() == ["a.ndjson"])


async def test_files_are_read_again_with_their_ids(folder: MemoryFolder) -> None:
    folder.write("a.ndjson", 1, 2)
    poller = folder.poller()
    await poller.drain_reopened()
    before = list(poller.ids)
    async with poller.opened():
        assert isinstance(poller.source, Rewinding)
        poller.checkpoint = dict(await poller.source.checkpoint_at("beginning"))
    await poller.drain_reopened()
    assert poller.ids == before * 2


@pytest.mark.parametrize("pattern", ["none/*.ndjson", "none/**/*.ndjson"])
async def test_what_is_not_there_is_unavailable(folder: MemoryFolder, pattern: str) -> None:
    async with folder.poller(pattern).opened() as poller:
        with pytest.raises(Unavailable, match="is not there"):
            await poller.poll()


async def test_a_folder_below_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("a.ndjson", 1)
    folder.write("below/deeper/b.ndjson", 2)
    listing: Any = type(folder.fs).ls

    def failing(self: Any, path: str, **options: Any) -> Any:
        if path.endswith("/deeper") and failures:
            raise failures.pop()
        return listing(self, path, **options)

    failures: list[Exception] = [ConnectionResetError("gone")]
    monkeypatch.setattr(type(folder.fs), "ls", failing)
    async with folder.poller("**/*.ndjson").opened() as poller:
        with pytest.raises(Unavailable, match="ConnectionResetError: gone"):
            await poller.poll()
        failures.append(FileNotFoundError("deleted since it was listed"))
        assert await poller.drain() == lines(1)
        assert await poller.drain() == lines(2)


async def test_another_checkpoint_is_refused(folder: MemoryFolder) -> None:
    poller = folder.poller()
    poller.checkpoint = {"1.ab": b'{"path":"a","dev":1,"ino":2}'}
    with pytest.raises(SettingsError, match="not that of a source of remote files"):
        async with poller.opened():
            pass
