"""A file is finalized once, and again after a failure."""

from pathlib import Path

from services.system_api.sources.file.dropping.finalizer import Finalizer
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import DropOptions
from services.system_api.sources.file.reading.progress import Progress
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


async def test_a_file_that_is_kept_needs_no_thread(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    async with Tasks() as tasks:
        finalizer = Finalizer("files", DropOptions(), IoThread("never started"), tasks, SYSTEM_CLOCK)
        finalizer.start("1", progress(tmp_path / "a"))
    assert not finalizer.problems
