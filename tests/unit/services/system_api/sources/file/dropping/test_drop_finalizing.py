"""What becomes of a whole file after the commit of its last line: archived, deleted or kept."""

import asyncio
import contextlib
import errno
import hashlib
import json
from pathlib import Path

import pytest

from shared.errors import Unavailable
from tests.unit.services.system_api.sources.file.file_poller import dropping, lines, until, write


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


@pytest.mark.parametrize("after", ["archive", "delete"])
async def test_a_published_file_is_remembered_while_its_folder_is_away(tmp_path: Path, after: str) -> None:
    folder, away = tmp_path / "in", tmp_path / "away"
    folder.mkdir()
    path = folder / "a.ndjson"
    write(path, 1, 2)
    async with dropping(folder, after=after).opened() as poller:
        batch = await poller.source.poll(1000)
        folder.rename(away)
        await poller.commit(batch)
        for _ in range(2):  # the second time, the file is missing since the first
            with contextlib.suppress(Unavailable):
                await poller.drain()
        away.rename(folder)
        assert await poller.drain() == []
        await until(lambda: not path.exists())
    assert poller.data == lines(1, 2)


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

    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.parent != target.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    async with dropping(tmp_path, after="archive").opened() as poller:
        await poller.drain()
        await until(lambda: not path.exists())
    assert [found.read_bytes() for found in (tmp_path / "archive").iterdir()] == [content]


async def test_an_empty_file_is_archived_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").touch()
    async with dropping(tmp_path, after="archive").opened() as poller:
        assert await poller.drain() == []
        await until(lambda: not (tmp_path / "a.ndjson").exists())
    assert (tmp_path / "archive" / "a.ndjson").stat().st_size == 0


@pytest.mark.parametrize("pattern", ["archive/*.ndjson", "archive/**/*.ndjson"])
async def test_an_input_folder_may_be_called_archive(tmp_path: Path, pattern: str) -> None:
    path = tmp_path / "archive" / "x.ndjson"
    path.parent.mkdir()
    write(path, 1)
    async with dropping(tmp_path, pattern=pattern, after="archive").opened() as poller:
        assert await poller.drain() == lines(1)
        await until(lambda: not path.exists())
        assert await poller.drain() == []
    assert (path.parent / "archive" / "x.ndjson").exists()
    assert await poller.drain_reopened() == []


async def test_the_archive_is_no_source(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 1)
    poller = dropping(tmp_path, pattern="**/*.ndjson", after="archive")
    async with poller.opened():
        assert await poller.drain() == lines(1)
        await until(lambda: not (tmp_path / "a.ndjson").exists())
        assert await poller.drain() == []
    assert await poller.drain_reopened() == []
