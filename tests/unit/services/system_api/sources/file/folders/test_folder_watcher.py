"""Notifications of changes in a folder."""

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from watchfiles import Change

from services.system_api.sources.file.folders.folder_watcher import FolderWatcher
from services.system_api.sources.file.folders.globbing import Glob
from shared.runtime.clock import Clock, SystemClock
from shared.runtime.tasks import Tasks


class PausedClock(SystemClock):
    """Sleeps until the test continues it."""

    def __init__(self) -> None:
        self.pausing = asyncio.Event()
        self.resume = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.pausing.set()
        await self.resume.wait()


def watcher_of(pattern: str, clock: Clock, suffix: str = "") -> FolderWatcher:
    return FolderWatcher("files", [Glob(pattern)], clock, suffix=suffix)


async def ignore(_paths: Mapping[str, bool]) -> None:
    return


async def changes(watcher: FolderWatcher, path: Path) -> None:
    """Write until a change is notified: a watcher misses changes before it has started."""
    async with asyncio.timeout(60):
        notified = asyncio.ensure_future(watcher.wait_for_change())
        while not notified.done():
            path.write_text("x")
            await asyncio.wait({notified}, timeout=0.05)


@pytest.mark.parametrize(("pattern", "written"), [("*.x", "a.x"), ("a.x", "a.x"), ("**/*.x", "b/a.x")])
async def test_a_write_is_notified(tmp_path: Path, pattern: str, written: str) -> None:
    (tmp_path / "b").mkdir()
    watcher = watcher_of(str(tmp_path / pattern), SystemClock())
    async with Tasks() as tasks:
        tasks.keep("wake", watcher.run(ignore))
        await changes(watcher, tmp_path / written)


async def test_a_file_and_its_done_file_are_notified(tmp_path: Path) -> None:
    watcher = watcher_of(str(tmp_path / "*.x"), SystemClock(), suffix=".done")
    async with Tasks() as tasks:
        tasks.keep("wake", watcher.run(ignore))
        await changes(watcher, tmp_path / "a.x")
        await changes(watcher, tmp_path / "a.x.done")


def test_other_files_are_not_notified(tmp_path: Path) -> None:
    watcher = watcher_of(str(tmp_path / "*.x"), SystemClock(), suffix=".done")
    matching = [
        name for name in ("a.x", "a.x.done", "a.log", "a.done", "a.x.tmp") if watcher._matches(Change.added, name)
    ]
    assert matching == ["a.x", "a.x.done"]


async def test_a_missing_folder_is_logged_once_and_watched_when_it_exists(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="services")
    clock = PausedClock()
    watcher = watcher_of(str(tmp_path / "later" / "*.x"), clock)
    async with Tasks() as tasks, asyncio.timeout(60):
        tasks.keep("wake", watcher.run(ignore))
        await clock.pausing.wait()
        (tmp_path / "later").mkdir()
        clock.resume.set()
        await changes(watcher, tmp_path / "later" / "a.x")
    logged = [(record.message, record.__dict__["path"], record.__dict__["source"]) for record in caplog.records]
    folder = str(tmp_path / "later")
    assert logged == [("cannot watch folder; polling it", folder, "files"), ("watching folder again", folder, "files")]
    assert caplog.records[1].__dict__["after_s"] >= 0


async def test_a_folder_that_replaces_a_deleted_one_is_watched(tmp_path: Path) -> None:
    folder, clock = tmp_path / "in", PausedClock()
    folder.mkdir()
    watcher = watcher_of(str(folder / "*.x"), clock)
    async with Tasks() as tasks, asyncio.timeout(60):
        tasks.keep("wake", watcher.run(ignore))
        await changes(watcher, folder / "a.x")
        shutil.rmtree(folder)
        await clock.pausing.wait()
        folder.mkdir()
        clock.resume.set()
        await changes(watcher, folder / "a.x")


async def test_a_name_that_is_not_utf8_does_not_end_the_watcher(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = PausedClock()
    watcher = watcher_of(str(tmp_path / "*.x"), clock)
    async with Tasks() as tasks, asyncio.timeout(60):
        tasks.keep("wake", watcher.run(ignore))
        await changes(watcher, tmp_path / "a.x")
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.x")).write_text("x")
        await clock.pausing.wait()
        clock.resume.set()
        await changes(watcher, tmp_path / "a.x")
    assert "cannot watch folder; polling it" in caplog.messages


async def test_the_paths_are_named(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    seen = dict[str, bool]()

    async def note(paths: Mapping[str, bool]) -> None:
        seen.update({path: new or seen.get(path, False) for path, new in paths.items()})

    globs = [Glob(str(tmp_path / "*.x")), Glob(str(tmp_path / "old" / "*")), Glob(str(tmp_path / "later" / "*"))]
    watcher = FolderWatcher("files", globs, SystemClock(), suffix=".done")
    async with Tasks() as tasks:
        tasks.keep("wake", watcher.run(note))
        await changes(watcher, tmp_path / "a.x")
        await changes(watcher, tmp_path / "b.x.done")
        await changes(watcher, tmp_path / "old" / "c")
    assert seen.keys() == {str(tmp_path / "a.x"), str(tmp_path / "b.x"), str(tmp_path / "old" / "c")}
    assert seen[str(tmp_path / "old" / "c")]
