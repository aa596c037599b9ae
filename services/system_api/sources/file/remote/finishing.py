"""Archives or deletes remote files that are completely published, in the background, each once."""

import logging

from services.system_api.sources.file.options import After, FileSourceOptions
from services.system_api.sources.file.remote.ledger import RemoteProgress
from services.system_api.sources.file.remote.remote_thread import RemoteThread
from services.system_api.sources.file.remote.store import RemoteStore
from services.system_api.sources.file.remote_options import path_in
from shared.errors import TrelayError
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

_ARCHIVE = "archive"


class RemoteFinisher:
    """Finishes files. What failed is tried again by `retry`."""

    def __init__(
        self, source: str, options: FileSourceOptions, store: RemoteStore, thread: RemoteThread, tasks: Tasks
    ) -> None:
        """`tasks` end with the source."""
        self.problems: dict[str, str] = {}
        """Errors by file id."""
        self._fields: dict[str, object] = {"component": "source", "source": source}
        self._options = options
        self._store = store
        self._thread = thread
        self._tasks = tasks
        self._started: set[str] = set()
        self._failed: dict[str, RemoteProgress] = {}

    def start(self, file_id: str, progress: RemoteProgress) -> None:
        """Finish a file, unless that is done, in progress or not wanted."""
        if file_id in self._started or progress.passed_over or self._options.drop.after is After.KEEP:
            return
        self._started.add(file_id)
        if progress.rejects and not progress.rows:
            reason = f"none of its records became an event, {progress.rejects} are in the dead letter topic"
        elif progress.truncated and self._options.drop.after is After.DELETE:
            reason = "a record of it is in no dead letter as a whole"
        else:
            _ = self._tasks.start(f"finish {progress.path}", self._finish(file_id, progress))
            return
        self._note(file_id, progress, f"{progress.path}: {reason}; the file stays", "file not finished")

    def retry(self) -> None:
        """Repeat what has failed."""
        failed, self._failed = self._failed, {}
        for file_id, progress in failed.items():
            self._started.discard(file_id)
            self.start(file_id, progress)

    def forget(self, file_id: str) -> None:
        """Forget a file that is gone, or was replaced by a new one."""
        self._started.discard(file_id)
        self._failed.pop(file_id, None)
        self.problems.pop(file_id, None)

    async def _finish(self, file_id: str, progress: RemoteProgress) -> None:
        try:
            await self._thread.run(finish, self._store, self._options, file_id, progress)
        except TrelayError as exc:
            self._note(file_id, progress, f"{progress.path}: not finished: {exc}", "cannot finish file; retrying")
            self._failed[file_id] = progress
        else:
            self.problems.pop(file_id, None)

    def _note(self, file_id: str, progress: RemoteProgress, error: str, message: str) -> None:
        if self.problems.get(file_id) != error:
            logger.warning(message, extra=self._fields | {"path": progress.path, "error": error})
        self.problems[file_id] = error


def finish(store: RemoteStore, options: FileSourceOptions, file_id: str, progress: RemoteProgress) -> None:
    """Archive or delete a file, unless it has changed since it was read. Repeated after a crash. Blocking.

    Raises:
        Unavailable: worth retrying.
    """
    current = store.current(progress.path)
    if current is None or current.version != progress.version:
        return  # that is done, or the next listing shows a new file
    if options.drop.after is After.DELETE:
        store.delete(progress.path)
        return
    folder, _, name = progress.path.rpartition("/")
    folder = f"{folder}/{_ARCHIVE}" if options.remote.archive is None else path_in(options.remote.archive).rstrip("/")
    target = f"{folder}/{name}"
    # The id distinguishes two files of the same name.
    store.move(progress.path, f"{target}.{file_id}" if store.exists(target) else target, progress.version)


def is_archived(path: str, options: FileSourceOptions) -> bool:
    """Whether a file is in the archive already."""
    if options.drop.after is not After.ARCHIVE:
        return False
    folder = path.rpartition("/")[0]
    if options.remote.archive is not None:
        return folder == path_in(options.remote.archive).rstrip("/")
    return folder.rpartition("/")[2] == _ARCHIVE
