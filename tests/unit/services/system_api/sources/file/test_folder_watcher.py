"""A hint that something has changed."""

import asyncio
import logging
import os
import shutil
from pathlib import Path

import pytest
from watchfiles import Change

from services.system_api.sources.file.folder_watcher import FolderWatcher
from shared.runtime.clock import SystemClock
from shared.runtime.tasks import Tasks


class PausingClock(SystemClock):
    """Lets a pause end when it is told to."""

    def __init__(self) -> None:
        self.pausing = asyncio.Event()
        self.go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.pausing.set()
        await self.go_on.wait()


async def changes(watcher: FolderWatcher, path: Path) -> None:
    """Write until it wakes: a watcher is deaf until it has begun."""
    async with asyncio.timeout(10):
        woken = asyncio.ensure_future(watcher.wait_for_change())
        while not woken.done():
            path.write_text("x")
            await asyncio.wait({woken}, timeout=0.05)


@pytest.mark.parametrize(("pattern", "written"), [("*.x", "a.x"), ("a.x", "a.x"), ("**/*.x", "b/a.x")])
async def test_what_is_written_wakes(tmp_path: Path, pattern: str, written: str) -> None:
    (tmp_path / "b").mkdir()
    watcher = FolderWatcher("files", str(tmp_path / pattern), SystemClock())
    async with Tasks() as tasks:
        tasks.keep("wake", watcher.run())
        await changes(watcher, tmp_path / written)


async def test_a_file_and_what_is_said_beside_it_wake(tmp_path: Path) -> None:
    watcher = FolderWatcher("files", str(tmp_path / "*.x"), SystemClock(), suffix=".done")
    async with Tasks() as tasks:
        tasks.keep("wake", watcher.run())
        await changes(watcher, tmp_path / "a.x")
        await changes(watcher, tmp_path / "a.x.done")


def test_what_does_not_concern_it_does_not_wake(tmp_path: Path) -> None:
    watcher = FolderWatcher("files", str(tmp_path / "*.x"), SystemClock(), suffix=".done")
    concerning = [
        name for name in ("a.x", "a.x.done", "a.log", "a.done", "a.x.tmp") if watcher._concerns(Change.added, name)
    ]
    assert concerning == ["a.x", "a.x.done"]


async def test_a_folder_that_is_not_there_is_said_once_and_watched_when_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = PausingClock()
    watcher = FolderWatcher("files", str(tmp_path / "later" / "*.x"), clock)
    async with Tasks() as tasks, asyncio.timeout(10):
        tasks.keep("wake", watcher.run())
        await clock.pausing.wait()
        (tmp_path / "later").mkdir()
        clock.go_on.set()
        await changes(watcher, tmp_path / "later" / "a.x")
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "later is not watched, only looked at" in said[0]


async def test_a_folder_that_takes_the_place_of_one_that_has_gone_is_watched(tmp_path: Path) -> None:
    folder, clock = tmp_path / "in", PausingClock()
    folder.mkdir()
    watcher = FolderWatcher("files", str(folder / "*.x"), clock)
    async with Tasks() as tasks, asyncio.timeout(10):
        tasks.keep("wake", watcher.run())
        await changes(watcher, folder / "a.x")
        shutil.rmtree(folder)
        await clock.pausing.wait()
        folder.mkdir()
        clock.go_on.set()
        await changes(watcher, folder / "a.x")


async def test_a_name_that_is_no_text_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = PausingClock()
    watcher = FolderWatcher("files", str(tmp_path / "*.x"), clock)
    async with Tasks() as tasks, asyncio.timeout(10):
        tasks.keep("wake", watcher.run())
        await changes(watcher, tmp_path / "a.x")
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.x")).write_text("x")
        await clock.pausing.wait()
        clock.go_on.set()
        await changes(watcher, tmp_path / "a.x")
    assert "is not watched, only looked at" in caplog.text
