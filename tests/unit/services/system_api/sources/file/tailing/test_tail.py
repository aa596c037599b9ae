"""Files that grow: every line exactly once, through rotation, truncation, rewriting and crashes."""

import asyncio
import shutil
from pathlib import Path

import pytest

from services.system_api.sources.file import held_files as held_module
from services.system_api.sources.file.reading import disk as disk_module
from shared.errors import SettingsError
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, write


async def test_it_reads_what_is_there_and_what_is_added(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, 1, 2)
    async with FilePoller(path).opened() as poller:
        assert await poller.drain() == lines(1, 2)
        assert await poller.drain() == []
        write(path, 3)
        assert await poller.drain() == lines(3)
    assert [identity.rpartition(":")[2] for identity in poller.ids] == ["0", "11", "22"]


async def test_it_resumes_at_the_byte_after_the_last_line(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", FilePoller(tmp_path / "a.ndjson")
    for number in range(1, 6):
        write(path, number)
        assert await poller.drain_reopened() == lines(number)
    (part,) = poller.files.values()
    assert (part["offset"], part["line"], part["rows"]) == (55, 5, 5)
    assert await poller.drain_reopened() == []


async def test_an_incomplete_line_waits_for_its_end(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", FilePoller(tmp_path / "a.ndjson")
    async with poller.opened():
        path.write_text('{"id":"1"}\n{"id"')
        assert await poller.drain() == lines(1)
        with path.open("a") as file:
            file.write(':"2"')
        assert await poller.drain() == []
    async with poller.opened():
        assert await poller.drain() == []
        with path.open("a") as file:
            file.write("}\n")
        assert await poller.drain() == lines(2)
    assert poller.rejects == []


async def test_a_batch_is_bounded_and_reports_that_more_is_waiting(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, *range(25))
    async with FilePoller(path).opened() as poller:
        sizes = [len((await poller.poll(10)).records) for _ in range(3)]
        assert sizes == [10, 10, 5]
        assert (await poller.poll(10)).more is False
    assert poller.data == lines(*range(25))


async def test_a_poll_that_was_not_committed_is_repeated_with_the_same_ids(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", FilePoller(tmp_path / "a.ndjson")
    write(path, *range(20))
    async with poller.opened():
        await poller.poll(5)
        lost = await poller.source.poll(10)
    write(path, 20)
    assert await poller.drain_reopened() == lines(*range(5, 21))
    again = [record.value for record in lost.records]
    assert len(again) == 10
    assert poller.ids[5:15] == [(value or b"").partition(b'"id":"')[2].partition(b'"')[0].decode() for value in again]


async def test_a_deleted_file_with_only_a_bad_header_is_no_failure(tmp_path: Path) -> None:
    clock = ManualClock()
    (tmp_path / "a.csv").write_text("key,name")
    async with FilePoller(tmp_path / "*.csv", clock, interval=1).opened() as poller:
        await poller.drain()
        (tmp_path / "a.csv").unlink()
        await poller.drain()
        clock.at += 6
        assert await poller.drain() == []


async def test_a_copy_in_the_same_glob_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, copy = tmp_path / "a.ndjson", tmp_path / "a.1.ndjson"
    write(path, *range(100))
    async with FilePoller(tmp_path / "*.ndjson").opened() as poller:
        await poller.drain()
        write(tmp_path / "b.ndjson", *range(100, 200))
        await poller.drain()
        assert not caplog.records
        shutil.copy(path, copy)
        await poller.drain()
        (logged,) = caplog.records
        assert logged.message.startswith("file begins like another open file")
        assert (logged.__dict__["path"], logged.__dict__["original"]) == (str(copy), str(path))


async def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    poller = FilePoller(tmp_path / "a.ndjson")
    for foreign in ({"": b'{"xmin":7}'}, {"": b"[]"}, {"x": b"{}"}):
        poller.checkpoint = foreign
        with pytest.raises(SettingsError, match="not that of a file source"):
            async with poller.opened():
                pass


async def test_a_huge_line_is_dead_lettered_even_after_a_restart_in_its_middle(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", FilePoller(tmp_path / "a.ndjson", line_limit=1000)
    write(path, 1)
    with path.open("ab") as file:
        file.write(b'{"id":"' + b"x" * 20_000_000)
    async with poller.opened():
        assert await poller.drain() == lines(1)
    with path.open("ab") as file:
        file.write(b'"}\n')
    write(path, 2)
    assert await poller.drain_reopened() == lines(2)
    (reject,) = poller.rejects
    assert f"{path}, line 2, bytes 11-20000019: found a line of 20000009 bytes" in reject.error
    write(path, 3)
    assert await poller.drain_reopened() == lines(3)


async def test_csv_is_resumed_in_its_middle_and_after_its_header(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.csv", FilePoller(tmp_path / "a.csv")
    path.write_text("id,name\n")
    assert await poller.drain_reopened() == []
    for number in range(3):
        with path.open("a") as file:
            file.write(f'{number},"a\nb"\n')
        assert await poller.drain_reopened() == [{"id": str(number), "name": "a\nb"}]
    (part,) = poller.files.values()
    assert part["line"] == 7


async def test_a_wrong_header_is_a_problem_of_that_file_until_it_is_fixed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("key,name\n1,2\n")
    (tmp_path / "b.csv").write_text("id,name\n1,2\n")
    async with FilePoller(tmp_path / "*.csv").opened() as poller:
        assert len(await poller.drain()) == 1
        assert poller.problems == [f"{tmp_path}/a.csv: header: column 'id' is missing; found 'key', 'name'"]
        await poller.drain()
        assert len(poller.problems) == 1
        (tmp_path / "a.csv").write_text("id,name\n3,4\n")
        assert await poller.drain() == [{"id": "3", "name": "4"}]
        assert not poller.problems


async def test_a_wrong_column_in_the_settings_loses_no_row(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.csv", FilePoller(tmp_path / "a.csv", subject="key")
    path.write_text("id,name\n1,2\n3,4\n")
    assert await poller.drain_reopened() == []
    assert poller.problems
    poller.options = poller.options.model_copy(update={"subject": "id"})
    assert await poller.drain_reopened() == [{"id": "1", "name": "2"}, {"id": "3", "name": "4"}]


async def test_a_change_is_notified(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.touch()
    async with FilePoller(path, interval=60).opened() as poller:
        for number in range(1, 4):
            write(path, number)
            await poller.until(number)
    assert poller.data == lines(1, 2, 3)


async def test_closing_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.ndjson", 1)
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(*_: object) -> object:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
        raise OSError

    monkeypatch.setattr(disk_module, "open_verified", hang)
    monkeypatch.setattr(held_module, "open_file", lambda *_: None)
    async with asyncio.timeout(60), FilePoller(tmp_path / "*.ndjson").opened() as poller:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await poller.poll()
    released.set()
