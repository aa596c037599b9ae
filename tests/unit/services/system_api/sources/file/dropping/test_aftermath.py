"""What is added to files after they were archived or deleted is a loss with a name."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from services.system_api.sources.file.dropping import aftermath as module
from services.system_api.sources.file.dropping.aftermath import Aftermath
from services.system_api.sources.file.dropping.drop import DropSource
from services.system_api.sources.source import Loss
from tests.unit.services.system_api.sources.file.descriptors import descriptors
from tests.unit.services.system_api.sources.file.file_poller import ManualClock, dropping, lines, until, write


@pytest.fixture
def aftermath() -> Iterator[Aftermath]:
    aftermath = Aftermath()
    yield aftermath
    aftermath.close()


def known(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def test_what_is_added_to_an_archived_file_is_named_once(aftermath: Aftermath, tmp_path: Path) -> None:
    archived = tmp_path / "b"
    write(archived, 1)
    aftermath.archived("in/a", known(archived), archived, 100)
    assert aftermath.check(200) == []
    write(archived, 2)
    text = f"in/a: changed after it was read and archived: 11 bytes behind byte 11 are only in {archived}"
    assert aftermath.check(300) == [Loss(text, 11)]
    assert aftermath.check(300) == []
    assert not aftermath


def test_what_is_added_to_a_deleted_file_is_named(aftermath: Aftermath, tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    descriptor, done = os.open(tmp_path / "a", os.O_RDONLY), known(tmp_path / "a")
    with (tmp_path / "a").open("a") as writer:
        (tmp_path / "a").unlink()
        aftermath.deleted("in/a", done, descriptor, 100)
        writer.write("xyz")
    text = "in/a: changed after it was read and deleted: 3 bytes behind byte 11 are lost"
    assert aftermath.check(101) == [Loss(text, 3)]


def test_files_are_watched_for_a_while_and_not_all_of_them(
    aftermath: Aftermath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ARCHIVED", 2)
    monkeypatch.setattr(module, "_DELETED", 2)
    for number in range(3):
        path = tmp_path / str(number)
        write(path, number)
        aftermath.archived(str(path), known(path), path, 100)
        aftermath.deleted(str(path), known(path), os.open(path, os.O_RDONLY), 100)
        write(path, 9)
    assert len(aftermath.check(101)) == 4
    assert descriptors(tmp_path) == 0
    write(tmp_path / "a", 1)
    aftermath.archived("a", known(tmp_path / "a"), tmp_path / "a", 100)
    aftermath.archived("b", (1, 1), tmp_path / "missing", 100)
    assert aftermath.check(10_000) == []
    assert not aftermath


@pytest.mark.parametrize("after", ["archive", "delete"])
async def test_a_file_that_is_written_to_after_it_was_finalized_is_a_problem(tmp_path: Path, after: str) -> None:
    path, hidden, clock = tmp_path / "a.ndjson", tmp_path / "hidden", ManualClock()
    write(path, 1)
    async with dropping(tmp_path, clock, after=after).opened() as poller:
        hidden.hardlink_to(path)  # stands in for a writer on a file server, which has it open
        assert await poller.drain() == lines(1)
        await until(lambda: not path.exists())
        if after == "archive":
            finalizer = cast("DropSource", poller.source)._finalizer
            # What is written before the file is watched puts it back, to be read again.
            await until(lambda: bool(finalizer._aftermath))
            assert await poller.drain() == []
        else:
            hidden.unlink()
            shutil.copy(__file__, path)
            path.unlink()
        if hidden.exists():
            write(hidden, 2)
        while after == "archive" and not poller.losses:
            await poller.drain()
    if after == "archive":
        assert [loss.size for loss in poller.losses] == [11]
        assert poller.losses[0].text in poller.problems


async def test_a_kept_file_that_changes_after_it_was_read_is_named_and_read_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    write(path, 1)
    async with dropping(tmp_path, clock).opened() as poller:
        assert await poller.drain() == lines(1)
        write(path, 2)
        assert await poller.drain() == lines(1, 2)
        (text,) = poller.taken_early
        assert text.startswith(f"{path}: changed after it was read (11 bytes then, 22 now); it is read again as a new")
        assert poller.problems == [text]
        clock.at += 25 * 3600
        await poller.drain()
        assert poller.problems == []
        os.utime(path, (path.stat().st_atime + 7200, path.stat().st_mtime + 7200))
        assert await poller.drain() == lines(1, 2)
        assert len(poller.taken_early) == 1, "a later change makes a new file of it"
