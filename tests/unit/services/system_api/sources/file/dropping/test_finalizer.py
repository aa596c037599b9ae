"""A file is finalized once, and again after a failure."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from services.system_api.sources.file.dropping.finalizer import Finalizer
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import DropOptions
from services.system_api.sources.file.reading.progress import Progress
from services.system_api.sources.source import Loss
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks


def progress(path: Path) -> Progress:
    status = path.stat()
    done = (status.st_size, status.st_mtime_ns)
    return Progress(path=str(path), dev=1, ino=1, offset=0, line=0, fingerprint="", sample=0, done=done)


async def test_a_failure_is_repeated(tmp_path: Path) -> None:
    path, archive = tmp_path / "a", tmp_path / "archive"
    path.touch()
    archive.touch()
    known = progress(path)
    async with IoThread.opened("disk") as io_thread, Tasks() as tasks:
        finalizer = Finalizer("files", DropOptions.model_validate({"after": "archive"}), io_thread, tasks, SYSTEM_CLOCK)
        finalizer.start("1", known)
        while "1" not in finalizer.problems:
            await io_thread.run(archive.exists)
        archive.unlink()
        finalizer.retry()
        while finalizer.problems:
            await io_thread.run(archive.exists)
    assert (archive / "a").exists()


class SlowThread:
    """Stands in for the thread: each call has a result once the test gives it one."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[Any]] = []

    async def run(self, *_: object) -> Any:
        self.calls.append(asyncio.get_running_loop().create_future())
        return await self.calls[-1]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_each_loss_is_taken_once_whichever_check_ends_first(tmp_path: Path, order: tuple[int, int]) -> None:
    async def settled() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    thread, losses = SlowThread(), [Loss("a", 1), Loss("b", 2)]
    async with Tasks() as tasks:
        finalizer = Finalizer("files", DropOptions(), cast("IoThread", thread), tasks, SYSTEM_CLOCK)
        finalizer._aftermath.archived("a", (1, 1), tmp_path / "a", 0.0)
        taken = []
        for _ in range(2):
            finalizer.retry()
            await settled()
            taken += finalizer.take_losses()
        for number in order:
            thread.calls[number].set_result([losses[number]])
            await settled()
        for _ in range(2):
            taken += finalizer.take_losses()
    assert sorted(taken, key=lambda loss: loss.text) == losses


async def test_a_file_that_is_kept_needs_no_thread(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    async with Tasks() as tasks:
        finalizer = Finalizer("files", DropOptions(), IoThread("never started"), tasks, SYSTEM_CLOCK)
        finalizer.start("1", progress(tmp_path / "a"))
    assert not finalizer.problems
