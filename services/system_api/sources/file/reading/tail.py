"""Files that grow: read on from their saved positions, through renaming, rotation, truncation and rewriting.

    scan    which files exist, which of them have grown, which are missing
    read    a chunk of each in turn, while the batch has room

An incomplete last line waits for its end; in a file that was deleted it counts as a line.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from services.system_api.sources.file.filesystem import FileStat, find_inodes, is_glob, list_files, literal
from services.system_api.sources.file.folder_watcher import FolderWatcher
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.reading.open_files import Job, OpenFiles, Outcome
from services.system_api.sources.source import Batch, EventBuilder
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_CHUNKS = 16
"""Maximum number of chunks read for one batch: `limit` bounds its events, this bounds its bytes."""
_COMPLETE_AFTER = 5.0
"""Seconds after which a deleted file counts as complete."""


class TailSource:
    """A `Source` of files that grow."""

    def __init__(
        self,
        options: FileSourceOptions,
        builder: EventBuilder,
        io_thread: IoThread,
        watcher: FolderWatcher,
        open_files: OpenFiles,
        clock: Clock,
    ) -> None:
        self._options = options
        self._builder = builder
        self._io_thread = io_thread
        self._watcher = watcher
        self._open_files = open_files
        self._problems = open_files.problems
        self._catalogue = open_files.catalogue
        self._clock = clock
        self._jobs: list[Job] = []
        """Files that may have something to read, in reverse order: a rotated file is read before its successor, a file
        that never stops growing after all others."""
        self._scan_at = clock.monotonic()
        """When to list the folder again, while there is something to read."""
        self._ending: set[str] = set()
        """Files that no longer grow, so that their last line is complete."""

    async def poll(self, limit: int) -> Batch:
        """Read what is new, one file after another."""
        batch = Batch()
        if not self._jobs or self._clock.monotonic() >= self._scan_at:
            await self._scan()
        self._builder.begin_batch()
        for _ in range(_CHUNKS):
            if not self._jobs or len(batch.records) + len(batch.rejects) >= limit:
                break
            if not await self._read_on(self._jobs[-1], batch, limit):
                self._jobs.pop()
        self._open_files.close_idle()
        batch.checkpoint = self._open_files.take_checkpoint()
        batch.more = bool(self._jobs)
        batch.problems = tuple(sorted(self._problems.texts))
        return batch

    async def wait_for_change(self) -> None:
        """Return when something in the folder has changed."""
        await self._watcher.wait_for_change()

    async def _read_on(self, job: Job, batch: Batch, limit: int) -> bool:
        """Return whether the file may have more."""
        outcome = await self._open_files.read(job, batch, limit)
        if outcome is Outcome.END and job.file_id in self._ending:
            outcome = self._open_files.finish(job, batch, limit)
            if outcome is Outcome.END:
                self._open_files.close(job.file_id)
        return outcome is Outcome.MORE

    async def _scan(self) -> None:
        found = self._problems.decodable(await self._io_thread.run(list_files, self._options.path))
        now = self._clock.monotonic()
        result = self._catalogue.classify(found, now)
        renamed = await self._find_renamed(result.missing)
        jobs = self._jobs_outside_glob(result.missing, renamed)
        gone = [file_id for file_id in result.missing if file_id not in renamed]
        for file, file_id in result.present:
            if file_id is not None:
                self._catalogue.move(file_id, file)
                if not self._open_files.idle(file_id, file):
                    jobs.append(Job(file, file_id))
            elif file.size and not self._problems.unusable(file):
                jobs.append(Job(file, None, candidates=self._catalogue.candidates(file, gone)))
        if not found and not jobs and not is_glob(self._options.path):
            raise Unavailable(f"{literal(self._options.path)}: no such file")
        self._scan_at = now + self._options.interval
        self._open_files.log_lost(self._jobs, [*found, *renamed.values()])
        self._jobs = jobs[::-1]
        self._problems.forget_missing(found)
        await self._retire_deleted(gone, now)

    async def _find_renamed(self, missing: Sequence[str]) -> dict[str, FileStat]:
        """Return the files that were renamed out of the glob: a rotated file may still be written to."""
        files = {self._catalogue.files[file_id].inode: file_id for file_id in missing}
        if not files:
            return {}
        folders = {str(Path(self._catalogue.files[file_id].path).parent) for file_id in missing}
        return {files[file.inode]: file for file in await self._io_thread.run(find_inodes, folders, frozenset(files))}

    def _jobs_outside_glob(self, missing: Sequence[str], renamed: Mapping[str, FileStat]) -> list[Job]:
        """Return jobs for files that left the glob: those that were renamed, and open ones that were deleted."""
        jobs = []
        for file_id in missing:
            if (file := renamed.get(file_id)) is not None:
                self._catalogue.move(file_id, file)
                if not self._open_files.idle(file_id, file):
                    jobs.append(Job(file, file_id, outside_glob=True))
            elif (open_file := self._open_files.open.get(file_id)) is not None:
                jobs.append(Job(FileStat(open_file.path, *open_file.inode, 0, 0), file_id, outside_glob=True))
        return jobs

    async def _retire_deleted(self, gone: Iterable[str], now: float) -> None:
        """Count a deleted file as complete after a while, and forget files that have been missing for too long."""
        unread = {job.file_id for job in self._jobs}
        deleted = [file_id for file_id in gone if self._catalogue.missing_for(file_id, now) > _COMPLETE_AFTER]
        # A file that was moved, or is in a folder that cannot be entered, may still grow.
        self._ending = {
            file_id
            for file_id in deleted
            if file_id in self._open_files.open and await self._open_files.deleted(file_id)
        }
        for file_id in self._catalogue.expired(now):
            if file_id in unread:
                self._ending.add(file_id)
            else:
                self._open_files.forget(file_id)
