"""Whole files: read once they are complete, once, and finalized only after everything in them is committed."""

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.system_api.sources.file.options import After
from services.system_api.sources.file.reading import drop as drop_module
from services.system_api.sources.source import Batch
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, write


def dropping(folder: Path, clock: ManualClock | None = None, pattern: str = "*.ndjson", **drop: Any) -> FilePoller:
    drop = {"stable_seconds": 0} | drop
    format_ = "csv" if pattern.endswith(".csv") else "ndjson"
    return FilePoller(folder / pattern, clock, mode="drop", drop=drop, format=format_)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_whole_files_are_read_once_oldest_first_with_their_last_line(tmp_path: Path) -> None:
    write(tmp_path / "b.ndjson", *range(5), end="")
    write(tmp_path / "a.ndjson", *range(5, 9))
    os.utime(tmp_path / "b.ndjson", (1, 1))
    poller = dropping(tmp_path)
    assert await poller.drain_reopened(2) == lines(*range(9))
    assert await poller.drain_reopened() == []
    assert [part["done"][0] for part in poller.files.values()] == [part["offset"] for part in poller.files.values()]


async def test_a_file_is_not_read_until_it_has_been_stable_for_a_while(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    write(path, 1)
    async with dropping(tmp_path, clock, stable_seconds=5).opened() as poller:
        assert await poller.drain() == []
        clock.at += 4
        write(path, 2)
        assert await poller.drain() == []
        clock.at += 4
        assert await poller.drain() == []
        clock.at += 1
        assert await poller.drain() == lines(1, 2)


async def test_a_done_file_marks_its_file_complete_and_is_archived_with_it(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 1)
    async with dropping(tmp_path, pattern="*", ready="done-file", after="archive").opened() as poller:
        assert await poller.drain() == []
        (tmp_path / "a.ndjson.done").touch()
        assert await poller.drain() == lines(1)
        await until(lambda: not (tmp_path / "a.ndjson.done").exists())
    assert sorted(path.name for path in (tmp_path / "archive").iterdir()) == ["a.ndjson", "a.ndjson.done"]


@pytest.mark.parametrize("after", ["archive", "delete"])
async def test_a_file_is_finalized_after_the_commit_and_then_forgotten(tmp_path: Path, after: str) -> None:
    path = tmp_path / "a.ndjson"
    write(path, *range(20))
    async with dropping(tmp_path, after=after).opened() as poller:
        await poller.poll(15)
        last = await poller.source.poll(15)
        assert path.exists(), "not before the commit"
        await poller.commit(last)
        await until(lambda: not path.exists())
        assert await poller.drain() == []
        assert poller.files == {}
    assert poller.data == lines(*range(20))
    assert (tmp_path / "archive" / "a.ndjson").exists() is (after == "archive")


async def test_an_earlier_batch_with_other_lines_of_the_file_does_not_finalize_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, *range(20))
    async with dropping(tmp_path, after="delete").opened() as poller:
        first, last = await poller.source.poll(15), await poller.source.poll(15)
        assert len(last.records) == 5
        await poller.commit(first)
        await asyncio.sleep(0.05)  # no event signals that it stays
        assert path.exists()
        await poller.commit(last)
        await until(lambda: not path.exists())


async def test_a_crash_between_commit_and_archive_repeats_only_the_archiving(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", dropping(tmp_path, after="archive")
    write(path, 1, 2)
    async with poller.opened():
        batch = await poller.source.poll(1000)
        poller.checkpoint = {part: value for part, value in batch.checkpoint.items() if value is not None}
    assert path.exists()
    async with poller.opened():
        assert await poller.drain() == []
        await until(lambda: not path.exists())
        assert await poller.drain() == []
    assert (tmp_path / "archive" / "a.ndjson").exists()
    assert poller.files == {}


async def test_after_a_crash_in_the_middle_of_a_file_it_resumes_after_the_last_commit(tmp_path: Path) -> None:
    poller = dropping(tmp_path)
    write(tmp_path / "a.ndjson", *range(30))
    async with poller.opened():
        await poller.poll(10)
        await poller.source.poll(10)  # lost
    assert await poller.drain_reopened() == lines(*range(10, 30))


async def test_a_new_file_of_the_same_name_is_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    async with dropping(tmp_path, after="archive").opened() as poller:
        for _ in range(3):
            write(path, 1)
            assert await poller.drain() == lines(1)
            await until(lambda: not path.exists())
    assert len(set(poller.ids)) == 3
    assert len(list((tmp_path / "archive").iterdir())) == 3


async def test_a_kept_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", dropping(tmp_path)
    write(path, 1)
    assert await poller.drain_reopened() == lines(1)
    path.rename(tmp_path / "b.ndjson")
    assert await poller.drain_reopened() == []
    write(tmp_path / "b.ndjson", 2, mode="w")
    os.utime(tmp_path / "b.ndjson", (1, 1))
    assert await poller.drain_reopened() == lines(2)
    assert len(poller.files) == 1


async def test_a_disk_that_was_mounted_again_repeats_nothing(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", dropping(tmp_path)
    write(path, 1)
    assert await poller.drain_reopened() == lines(1)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(0, path.stat().st_mtime_ns))
    copy.rename(path)
    assert await poller.drain_reopened() == []
    (part,) = poller.files.values()
    assert part["ino"] == path.stat().st_ino


async def test_another_file_of_the_same_name_size_and_time_is_read(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.ndjson", tmp_path / "a.new"
    async with dropping(tmp_path).opened() as poller:
        for number in (1, 2):
            write(copy, number)
            os.utime(copy, (1e9, 1e9))
            copy.replace(path)
            assert await poller.drain() == lines(number)
        assert await poller.drain() == []


async def test_a_file_that_is_not_listed_for_a_while_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.ndjson", 1)
    (tmp_path / "file").write_text("no folder")
    async with dropping(tmp_path, after="archive", archive=str(tmp_path / "file" / "archive")).opened() as poller:
        assert await poller.drain() == lines(1)
        # As for an account that may list the folder but not enter it; root may do both.
        with monkeypatch.context() as patch:
            patch.setattr(drop_module, "list_files", lambda _: [])
            await poller.drain()
        assert await poller.drain() == []
    assert len(poller.files) == 1


async def test_a_file_that_grows_while_it_is_read_is_completed_when_it_is_stable_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    write(path, *range(20))
    async with dropping(tmp_path, clock, stable_seconds=1, after="delete").opened() as poller:
        await poller.drain()
        clock.at += 1
        await poller.poll(10)
        write(path, 20, 21)
        assert len(await poller.drain()) == 12
        assert path.exists()
        clock.at += 1
        assert await poller.drain() == []
        clock.at += 1
        assert await poller.drain() == []
        await until(lambda: not path.exists())
    assert poller.data == lines(*range(22))


async def test_a_file_that_is_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, *range(20))
    async with dropping(tmp_path, after="archive").opened() as poller:
        await poller.poll(5)
        path.unlink()
        await poller.drain()
        assert poller.problems == []
    assert poller.data == lines(*range(20))


async def test_a_file_that_is_deleted_before_its_end_was_read_is_a_problem(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", dropping(tmp_path)
    write(path, *range(20))
    async with poller.opened():
        await poller.poll(5)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    path.unlink()
    async with poller.opened():
        assert await poller.drain() == []
        assert poller.problems == [f"{path}: deleted before its end was read, after byte 55"]
        copy.rename(path)
        assert await poller.drain() == lines(*range(5, 20))
        assert poller.problems == []


async def test_an_unusable_file_is_never_moved_and_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("key,name\n1,2\n")
    (tmp_path / "b.csv").write_text("id,name\n1,2\n")
    os.utime(tmp_path / "a.csv", (1, 1))
    async with dropping(tmp_path, pattern="*.csv", after="delete").opened() as poller:
        assert await poller.drain() == [{"id": "1", "name": "2"}]
        await until(lambda: not (tmp_path / "b.csv").exists())
        await poller.drain()
        assert poller.problems == [f"{tmp_path}/a.csv: header: column 'id' is missing; found 'key', 'name'"]
    assert (tmp_path / "a.csv").exists()


async def test_a_wrong_header_without_a_newline_is_a_problem_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("key,name")
    (tmp_path / "b.csv").write_text("id,name")
    async with dropping(tmp_path, pattern="*.csv", after="delete").opened() as poller:
        await poller.drain()
        await until(lambda: not (tmp_path / "b.csv").exists())
        await poller.drain()
        assert poller.problems == [f"{tmp_path}/a.csv: header: column 'id' is missing; found 'key', 'name'"]
    assert (tmp_path / "a.csv").exists()


async def test_a_file_with_rejects_is_deleted_but_not_one_with_a_truncated_line(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('no json\n{"id":"0"}\n')
    (tmp_path / "b.ndjson").write_text("x" * 2_000_000 + '\n{"id":"1"}\n')
    async with dropping(tmp_path, after="delete").opened() as poller:
        assert sorted(each["id"] for each in await poller.drain()) == ["0", "1"]
        await until(lambda: not (tmp_path / "a.ndjson").exists())
        await poller.drain()
    assert len(poller.rejects) == 2
    assert (tmp_path / "b.ndjson").exists()
    assert await poller.drain_reopened() == []


@pytest.mark.parametrize("after", ["keep", "archive", "delete"])
async def test_a_receipt_describes_the_file(tmp_path: Path, after: str) -> None:
    path, poller = tmp_path / "a.ndjson", dropping(tmp_path, pattern="a.*", after=after, receipt=True)
    write(path, 1, 2)
    with path.open("a") as file:
        file.write("bad\n")
    content = path.read_bytes()
    receipt = (tmp_path / "archive" if after == "archive" else tmp_path) / "a.ndjson.receipt.json"
    async with poller.opened():
        await poller.poll(1)
    async with poller.opened():
        await poller.drain()
        await until(receipt.exists)
        if after != "keep":
            await until(lambda: not path.exists())
        await poller.drain()
    found = json.loads(receipt.read_bytes())
    assert (found["rows"], found["rejects"], found["bytes"]) == (2, 1, len(content))
    assert found["sha256"] == hashlib.sha256(content).hexdigest()
    assert found["source"] == "files"


async def test_a_failing_archive_is_a_problem_and_is_retried(tmp_path: Path) -> None:
    path, archive = tmp_path / "a.ndjson", tmp_path / "put"
    archive.touch()
    write(path, 1)
    async with dropping(tmp_path, after="archive", archive=str(archive)).opened() as poller:
        await poller.drain()
        while not poller.problems:
            await poller.drain()
        assert "all of it is published, but cannot archive it" in poller.problems[0]
        assert path.exists()
        archive.unlink()
        while path.exists() or poller.problems:
            await poller.drain()
    assert (archive / "a.ndjson").exists()
    assert poller.data == lines(1)


async def test_the_archive_may_be_on_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ndjson"
    write(path, 1)
    content = path.read_bytes()

    def refuse(_path: Path, _target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "rename", refuse)
    async with dropping(tmp_path, after="archive").opened() as poller:
        await poller.drain()
        await until(lambda: not path.exists())
    assert [found.read_bytes() for found in (tmp_path / "archive").iterdir()] == [content]


async def test_an_empty_file_is_put_away_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").touch()
    async with dropping(tmp_path, after="archive").opened() as poller:
        assert await poller.drain() == []
        await until(lambda: not (tmp_path / "a.ndjson").exists())
    assert (tmp_path / "archive" / "a.ndjson").stat().st_size == 0


async def test_the_archive_is_no_source(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 1)
    poller = dropping(tmp_path, pattern="**/*.ndjson", after="archive")
    async with poller.opened():
        assert await poller.drain() == lines(1)
        await until(lambda: not (tmp_path / "a.ndjson").exists())
        assert await poller.drain() == []
    assert await poller.drain_reopened() == []


class RandomOperations:
    """Files are dropped while two batches are in flight and the reader crashes, at random."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.poller = dropping(folder, after=rng.choice(["archive", "delete", "keep"]), receipt=rng.random() < 0.3)
        self.in_flight: deque[Batch] = deque()
        self.opened = contextlib.AsyncExitStack()
        self.written = 0
        self.files = 0

    async def drop(self) -> None:
        part, count = self.folder / "part", self.rng.randrange(30)
        write(part, *range(self.written, self.written + count), end=self.rng.choice(["\n", ""]))
        self.written += count
        self.files += 1
        os.utime(part, (self.files, self.files))
        part.rename(self.folder / f"{self.files}.ndjson")
        if count == 0:
            (self.folder / f"{self.files}.ndjson").unlink()  # a blank line is no event

    async def poll(self) -> None:
        self.in_flight.append(await self.poller.source.poll(self.rng.randrange(1, 25)))
        if len(self.in_flight) > 2:
            await self.commit()

    async def commit(self) -> None:
        if self.in_flight:
            await self.poller.commit(self.in_flight.popleft())

    async def reopen(self) -> None:
        self.in_flight.clear()  # what was not committed is lost
        await self.opened.aclose()
        await self.opened.enter_async_context(self.poller.opened())


@pytest.mark.parametrize("seed", range(12))
async def test_random_operations_publish_every_line_once_and_in_order(tmp_path: Path, seed: int) -> None:
    random_operations = RandomOperations(tmp_path, random.Random(seed))
    operations = (
        [random_operations.drop] * 2
        + [random_operations.poll] * 5
        + [random_operations.commit] * 2
        + [random_operations.reopen]
    )
    await random_operations.reopen()
    async with random_operations.opened:
        for _ in range(300):
            await random_operations.rng.choice(operations)()
        while random_operations.in_flight:
            await random_operations.commit()
        async with asyncio.timeout(20):
            while (await random_operations.poller.poll()).more or (
                random_operations.poller.options.drop.after is not After.KEEP and list(tmp_path.glob("*.ndjson"))
            ):
                pass
    assert random_operations.poller.data == lines(*range(random_operations.written)), f"seed {seed}"
    assert len(set(random_operations.poller.ids)) == random_operations.written
    assert random_operations.poller.rejects == []
