"""Puts finished files away behind the reading's back: to copy or to hash a large one takes a while."""

import logging
from pathlib import Path

from services.system_api.sources.file.filesystem import FileError
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import After, DropOptions
from services.system_api.sources.file.reading.finalize import FinishedFile, finish
from services.system_api.sources.file.reading.progress import Progress
from shared.runtime.clock import Clock, rfc3339
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)


class Finalizer:
    """Finishes files one by one, each once; one with which that fails is tried again when it is asked for again."""

    def __init__(self, source: str, options: DropOptions, io_thread: IoThread, tasks: Tasks, clock: Clock) -> None:
        """`disk` is a thread of its own, for a read must not wait for it; `tasks` end with the source."""
        self.problem: dict[str, str] = {}
        """What went wrong, by id."""
        self._source = source
        self._options = options
        self._io_thread = io_thread
        self._tasks = tasks
        self._clock = clock
        self._begun: set[str] = set()
        """Files that are being put away, or were."""

    def begin(self, file_id: str, progress: Progress) -> None:
        """Put a file away, unless that has been done or is under way."""
        if file_id in self._begun:
            return
        self._begun.add(file_id)
        if self._options.after is After.DELETE and progress.truncated:
            logger.warning(
                "source %s: %s is not deleted, for some of its bytes are in no dead letter", self._source, progress.path
            )
        if self._options.after is not After.KEEP or self._options.receipt:
            _ = self._tasks.start(f"putting away {progress.path}", self._finalize(file_id, progress))

    def forget(self, file_id: str) -> None:
        """Forget a file that is gone, or that was replaced by a new one."""
        self._begun.discard(file_id)
        self.problem.pop(file_id, None)

    async def _finalize(self, file_id: str, progress: Progress) -> None:
        file = FinishedFile(self._source, file_id, Path(progress.path), progress)
        try:
            await self._io_thread.run(finish, file, self._options, rfc3339(self._clock.time()))
        except FileError as exc:
            if self.problem.get(file_id) != str(exc):
                logger.warning("source %s: %s; it is tried again", self._source, exc)
            self.problem[file_id] = str(exc)
            self._begun.discard(file_id)
        else:
            self.problem.pop(file_id, None)
