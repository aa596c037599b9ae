"""Finalizes completed files in the background: copying or hashing a large file takes a while."""

import logging
from pathlib import Path

from services.system_api.sources.file.dropping.aftermath import Aftermath
from services.system_api.sources.file.dropping.finalize import FinishedFile, finalize
from services.system_api.sources.file.filesystem import FileError, close, is_deleted, open_file
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import After, DropOptions
from services.system_api.sources.file.reading.progress import Progress
from services.system_api.sources.source import Loss
from shared.runtime.clock import Clock, rfc3339
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)


class Finalizer:
    """Finalizes files one by one, each once. After a failure, `retry` repeats it."""

    def __init__(self, source: str, options: DropOptions, io_thread: IoThread, tasks: Tasks, clock: Clock) -> None:
        """`io_thread` is not the one that reads, because a read must not wait for it; `tasks` end with the source."""
        self.problems: dict[str, str] = {}
        """Errors by file id."""
        self._source = source
        self._options = options
        self._io_thread = io_thread
        self._tasks = tasks
        self._clock = clock
        self._fields: dict[str, object] = {"component": "source", "source": source}
        self._started: set[str] = set()
        """Files that are being finalized, or were."""
        self._failed: dict[str, Progress] = {}
        self._aftermath = Aftermath()
        self._losses: list[Loss] = []

    def start(self, file_id: str, progress: Progress) -> None:
        """Finalize a file, unless that is done or in progress."""
        if file_id in self._started or progress.passed_over:
            return
        self._started.add(file_id)
        if progress.rejects and not progress.rows:
            # Perhaps it is of another format, or of other columns: what was in it must not disappear.
            self._note(file_id, progress, "file not finalized; none of its lines became an event", _no_event(progress))
            return
        if self._options.after is After.DELETE and progress.truncated:
            logger.warning(
                "file not deleted; it has a line that is in no dead letter as a whole",
                extra=self._fields | {"path": progress.path},
            )
        if self._options.after is not After.KEEP or self._options.receipt:
            _ = self._tasks.start(f"finalize {progress.path}", self._finalize(file_id, progress))

    def retry(self) -> None:
        """Repeat what has failed."""
        failed, self._failed = self._failed, {}
        for file_id, progress in failed.items():
            self.start(file_id, progress)
        if self._aftermath:
            _ = self._tasks.start(f"check finalized files of {self._source}", self._check())

    def take_losses(self) -> list[Loss]:
        """Return what was added to files after they were archived or deleted, each once."""
        losses, self._losses = self._losses, []
        return losses

    def close(self) -> None:
        """Close the files that were deleted lately."""
        self._io_thread.submit(self._aftermath.close)

    async def _check(self) -> None:
        found = await self._io_thread.run(self._aftermath.check, self._clock.monotonic())
        self._losses += found  # which may be another list by now

    def forget(self, file_id: str) -> None:
        """Forget a file that is gone, or was replaced by a new one."""
        self._started.discard(file_id)
        self._failed.pop(file_id, None)
        self.problems.pop(file_id, None)

    async def _finalize(self, file_id: str, progress: Progress) -> None:
        file = FinishedFile(self._source, file_id, Path(progress.path), progress)
        try:
            await self._io_thread.run(self._finalize_and_watch, file, rfc3339(self._clock.time()))
        except FileError as exc:
            self._note(file_id, progress, "cannot finalize file; retrying", str(exc))
            if file_id in self._started:
                self._started.discard(file_id)
                self._failed[file_id] = progress
        else:
            if self.problems.pop(file_id, None) is not None:
                logger.info("file finalized", extra=self._fields | {"path": progress.path})

    def _finalize_and_watch(self, file: FinishedFile, now: str) -> None:
        """Finalize a file, and notice what is added to it afterwards. Blocking."""
        known, deletes = file.progress, self._options.after is not After.KEEP
        descriptor = open_file(known.path, known.inode) if deletes else None
        try:
            target = finalize(file, self._options, now)
        except FileError:
            if descriptor is not None:
                close(descriptor)
            raise
        done, at = known.done or (0, 0), self._clock.monotonic()
        if target is not None:
            self._aftermath.archived(known.path, done, target, at)
        if descriptor is not None:
            if is_deleted(descriptor):
                self._aftermath.deleted(known.path, done, descriptor, at)
            else:
                close(descriptor)

    def _note(self, file_id: str, progress: Progress, message: str, error: str) -> None:
        if self.problems.get(file_id) != error:
            logger.warning(message, extra=self._fields | {"path": progress.path, "error": error})
        self.problems[file_id] = error


def _no_event(progress: Progress) -> str:
    return (
        f"{progress.path}: none of its lines became an event, {progress.rejects} are in the dead letter topic;"
        " the file stays: correct the file or the settings, and touch the file to have it read again"
    )
