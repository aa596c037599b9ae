"""Whole files: read once they are complete, once, and finalized only after everything in them is committed."""

import os
from pathlib import Path

import pytest

from services.system_api.sources.file.folders import listing as listing_module
from tests.unit.services.system_api.sources.file.file_poller import ManualClock, dropping, lines, until, write


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


async def test_after_a_crash_in_the_middle_of_a_file_it_resumes_after_the_last_commit(tmp_path: Path) -> None:
    poller = dropping(tmp_path)
    write(tmp_path / "a.ndjson", *range(30))
    async with poller.opened():
        await poller.poll(10)
        await poller.source.poll(10)  # lost
    assert await poller.drain_reopened() == lines(*range(10, 30))


async def test_a_file_that_changes_before_its_end_is_committed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, 1)
    async with dropping(tmp_path, after="delete").opened() as poller:
        batches = [await poller.source.poll(1000)]
        write(path, 2)
        while len(batches[-1].records) < 2:
            batches.append(await poller.source.poll(1000))
        for batch in batches:
            await poller.commit(batch)
        assert poller.data == lines(1, 1, 2)
        await until(lambda: not path.exists())


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
            patch.setattr(listing_module, "regular_file", lambda _: None)
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
        assert len(await poller.drain()) == 10
        assert path.exists()
        clock.at += 1
        assert await poller.drain() == lines(20, 21)
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
