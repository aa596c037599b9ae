"""Copies that rotation makes of files before it truncates them, where `rotated` names them."""

import os
import shutil
from pathlib import Path

import pytest

from services.system_api.sources.file import opening as opening_module
from services.system_api.sources.file.births import birth_of
from services.system_api.sources.file.held_files import DescriptorBudget, Retained
from services.system_api.sources.file.tailing import copies as copies_module
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, write


class Rotated:
    """A file of which logrotate makes copies, and its source."""

    def __init__(self, folder: Path, *, below: str = "") -> None:
        self.folder, self.path, self.clock = folder / below, folder / "a.ndjson", ManualClock()
        self.folder.mkdir(exist_ok=True)
        write(folder / "b.ndjson", *range(500, 600))
        self.poller = FilePoller(folder / "*.ndjson", self.clock, rotated=str(self.folder / "*.ndjson.*"))
        write(self.path, *range(100, 200))

    def copy(self, number: int = 1) -> Path:
        copied = Path(shutil.copy(self.path, self.folder / f"a.ndjson.{number}"))
        os.utime(copied, (1_900_000_000 + number,) * 2)  # newer than what was there when the source was started
        return copied

    def truncate(self, *numbers: int) -> None:
        write(self.path, *numbers, mode="w")
        os.utime(self.path, (2_000_000_000 + numbers[0],) * 2)  # newer than the copy, which is looked at first

    async def drain(self) -> list[object]:
        self.clock.at += 2
        return await self.poller.drain()


@pytest.mark.parametrize("below", ["", "old"])
@pytest.mark.parametrize("seen", [True, False])
async def test_a_copy_repeats_no_line_and_loses_none(tmp_path: Path, below: str, seen: bool) -> None:
    files = Rotated(tmp_path, below=below)
    async with files.poller.opened() as poller:
        await files.drain()
        for number in (1, 2, 3):
            write(files.path, 1000 + number)
            files.copy(number)
            if seen:
                assert await files.drain() == lines(1000 + number)
            new = range(3000 + 100 * number, 3100 + 100 * number)
            files.truncate(*new)
            assert await files.drain() == lines(*([] if seen else [1000 + number]), *new)
        assert poller.losses == []
    assert await poller.drain_reopened() == []


@pytest.mark.parametrize("below", ["", "old"])
async def test_a_copy_that_was_made_while_the_source_was_closed_repeats_nothing(tmp_path: Path, below: str) -> None:
    files = Rotated(tmp_path, below=below)
    async with files.poller.opened():
        await files.drain()
    write(files.path, 1001)
    files.copy()
    assert await files.poller.drain_reopened() == lines(1001)
    write(files.path, 1002)
    files.copy()
    files.truncate(2001)
    assert await files.poller.drain_reopened() == lines(1002, 2001)
    assert await files.poller.drain_reopened() == []
    assert files.poller.losses == []


async def test_a_copy_without_the_newest_lines_that_were_read_repeats_nothing(tmp_path: Path) -> None:
    files = Rotated(tmp_path)
    async with files.poller.opened() as poller:
        await files.drain()
        files.copy()
        write(files.path, 1001)
        assert await files.drain() == lines(1001)
        files.truncate(2001)
        assert await files.drain() == lines(2001)
    assert await poller.drain_reopened() == []
    write(tmp_path / "a.ndjson.1", 4001)
    assert await poller.drain_reopened() == lines(4001)
    assert poller.losses == []


async def test_a_copy_in_the_middle_of_its_making_is_none_of_its_own(tmp_path: Path) -> None:
    files = Rotated(tmp_path)
    async with files.poller.opened() as poller:
        await files.drain()
        copy = files.copy()
        os.truncate(copy, 700)
        assert await files.drain() == []
        write(files.path, 1001)
        files.copy()
        files.truncate(2001)
        assert await files.drain() == lines(1001, 2001)
    assert await poller.drain_reopened() == []


@pytest.mark.parametrize("truncated", [True, False])
async def test_a_copy_of_a_file_of_which_nothing_was_read_repeats_nothing(tmp_path: Path, truncated: bool) -> None:
    files = Rotated(tmp_path)
    async with files.poller.opened():
        await files.drain()
        files.copy()
        files.truncate(2001)
        assert await files.drain() == lines(2001)
    files.truncate(*range(3000, 3100))
    files.copy(2)
    if truncated:
        files.truncate(4001)
    found = await files.poller.drain_reopened()
    assert found == lines(*range(3000, 3100), *([4001] if truncated else []))
    write(files.path, 4002)
    assert await files.poller.drain_reopened() == lines(4002)


@pytest.mark.parametrize("truncated", [True, False])
async def test_a_new_file_and_its_copy_are_read_once(tmp_path: Path, truncated: bool) -> None:
    files = Rotated(tmp_path)
    async with files.poller.opened():
        await files.drain()
        new, copy = tmp_path / "c.ndjson", tmp_path / "c.ndjson.1"
        write(new, *range(3000, 3100))
        shutil.copy(new, copy)
        os.utime(copy, (1_900_000_000,) * 2)
        if truncated:
            write(new, 4001, mode="w")
        os.utime(new, (2_000_000_000,) * 2)
        assert await files.drain() == lines(*range(3000, 3100), *([4001] if truncated else []))
    assert await files.poller.drain_reopened() == []


async def test_a_backup_of_a_file_that_is_not_truncated_is_not_read(tmp_path: Path) -> None:
    files = Rotated(tmp_path)
    async with files.poller.opened() as poller:
        await files.drain()
        files.copy()
        assert await files.drain() == []
        write(files.path, 1001)
        assert await files.drain() == lines(1001)
        (tmp_path / "a.ndjson.1").unlink()
        assert await files.drain() == []
    assert poller.losses == []


async def test_a_copy_is_read_where_the_file_left_before_its_end_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_module, "RETAINED", Retained(DescriptorBudget(0)))
    files = Rotated(tmp_path, below="old")
    async with files.poller.opened():
        await files.drain()
        for number in range(70):  # more than are kept open
            write(tmp_path / f"c{number}.ndjson", number)
        await files.drain()
        files.copy()
        assert await files.drain() == []
        with files.path.open("a") as file, (tmp_path / "old" / "a.ndjson.1").open("a") as copy:
            file.write('{"id":"1001"}\n')
            copy.write('{"id":"1001"}\n')
        files.path.unlink()
        assert await files.drain() == lines(*range(100, 200), 1001)


async def test_a_file_with_the_same_beginning_is_read(tmp_path: Path) -> None:
    files = Rotated(tmp_path)
    async with files.poller.opened():
        await files.drain()
        other = files.copy()
        write(other, 1001)
        assert await files.drain() == lines(*range(100, 200), 1001)


async def test_a_short_file_with_the_same_beginning_is_read_where_it_is_older(tmp_path: Path) -> None:
    """Each file of an application may begin with the same lines."""
    path, older = tmp_path / "a.ndjson", tmp_path / "older"
    write(older, 1, 1)
    create_after(older, path)
    write(path, 1, 1, 2)
    poller = FilePoller(path, ManualClock(), rotated=f"{path}.*")
    async with poller.opened():
        assert await poller.drain() == lines(1, 1, 2)
        move_late(older, tmp_path / "a.ndjson.1")
        assert await poller.drain() == lines(1, 1)
        create_after(path, tmp_path / "copy")
        move_late(Path(shutil.copy(path, tmp_path / "copy")), tmp_path / "a.ndjson.2")
        assert await poller.drain() == []


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("told", [True, False])
async def test_a_short_file_that_is_found_with_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, copied: bool, told: bool
) -> None:
    if not told:
        monkeypatch.setattr(copies_module, "birth_of", lambda _descriptor: None)
    path, rotated, older = tmp_path / "a.ndjson", tmp_path / "a.ndjson.1", tmp_path / "older"
    poller = FilePoller(path, ManualClock(), rotated=f"{path}.*")
    write(path, 0)
    async with poller.opened():
        await poller.drain()
        path.rename(tmp_path / "a.ndjson.2")
        write(older, 1)
        create_after(older, path)
        write(path, 1)
        if copied:
            create_after(path, tmp_path / "copy")
            older = Path(shutil.copy(path, tmp_path / "copy"))
        move_late(older, rotated)
        assert await poller.drain() == (lines(1) if copied and told else lines(1, 1))


async def test_a_copy_of_a_short_file_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    poller = FilePoller(path, ManualClock(), rotated=str(tmp_path / "*.ndjson.*"))
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        for name in ("a.ndjson.1", "b.ndjson.1"):
            create_after(path, tmp_path / "copy")
            move_late(Path(shutil.copy(path, tmp_path / "copy")), tmp_path / name)
        assert await poller.drain() == lines(1)


def create_after(older: Path, path: Path) -> None:
    """Create an empty file with a later time of creation than another one: file systems count in milliseconds."""
    with older.open() as file:
        before = birth_of(file.fileno())
        assert before is not None
        while True:
            with path.open("w") as new:
                if (birth_of(new.fileno()) or 0) > before:
                    return
            path.unlink()


def move_late(path: Path, target: Path) -> None:
    """Move a file to where rotation puts it, with a time behind the start of the source."""
    os.utime(path, (1_900_000_000,) * 2)
    path.rename(target)


async def test_a_hole_that_a_writer_leaves_costs_no_line(tmp_path: Path) -> None:
    """A writer that does not append goes on at its old offset behind the truncation."""
    path, poller = tmp_path / "a.ndjson", FilePoller(tmp_path / "a.ndjson", ManualClock(), line_limit=64)
    with path.open("wb", buffering=0) as writer:
        async with poller.opened():
            for number in (1, 2, 3):
                writer.write(b'{"id":"%d"}\n' % number * 100)
                assert await poller.drain() == lines(*[number] * 100)
                shutil.copy(path, tmp_path / f"a.ndjson.{number}")
                os.truncate(path, 0)
        writer.write(b'{"id":"4"}\n')
        assert await poller.drain_reopened() == lines(4)
    assert poller.rejects == []
