"""Whole files: read from a folder when they are complete, one after another, oldest first, then finalized.

A file that is partly read when the service stops is read on from its last line. A file that was archived or deleted is
forgotten. One that stays is remembered with its size and modification time, so that a new file of the same name is
recognised as new.
"""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from services.system_api.sources.file.filesystem import FileStat, list_files, still_exists
from services.system_api.sources.file.folder_watcher import FolderWatcher
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import After, FileSourceOptions, Ready
from services.system_api.sources.file.reading.finalize import RECEIPT, in_archive
from services.system_api.sources.file.reading.finalizer import Finalizer
from services.system_api.sources.file.reading.open_files import Job, OpenFiles, Outcome
from services.system_api.sources.file.reading.stability import Stability
from services.system_api.sources.source import Batch, EventBuilder
from shared.runtime.clock import Clock

_CHUNKS = 16
"""Maximum number of chunks read for one batch: `limit` bounds its events, this bounds its bytes."""


class FileState(Enum):
    """How far a known file has been read."""

    PARTLY_READ = "partly read"
    COMPLETED = "completed"
    """Everything in it has been read, and it has not changed since."""
    REWRITTEN = "rewritten"
    """Everything in it had been read, and it has changed since: it is a new file."""


class DropSource:
    """A `Source` of whole files. `Settling`: a file is finalized once everything in it is committed."""

    def __init__(
        self,
        options: FileSourceOptions,
        builder: EventBuilder,
        io_thread: IoThread,
        watcher: FolderWatcher,
        open_files: OpenFiles,
        finalizer: Finalizer,
        clock: Clock,
    ) -> None:
        self._options = options
        self._builder = builder
        self._io_thread = io_thread
        self._watcher = watcher
        self._open_files = open_files
        self._problems = open_files.problems
        self._catalogue = open_files.catalogue
        self._finalizer = finalizer
        self._clock = clock
        drop = options.drop
        self._stability = Stability(drop.stable_seconds if drop.ready is Ready.STABLE else 0)
        self._jobs: list[Job] = []
        """Complete files that have something to read, in reverse order."""
        self._scan_at = clock.monotonic()
        """When to list the folder again, while there is something to read."""
        self._uncommitted: dict[str, bytes | None] = {}
        """Files that were read to their end in a batch that is not known to be committed, each with the part of the
        checkpoint that says so: an earlier batch with other lines of the file has another value for that part."""
        self._lost: dict[str, str] = {}
        """Files that were deleted before their end was read, each with the problem as text."""

    async def poll(self, limit: int) -> Batch:
        """Read on in the oldest complete file."""
        batch = Batch()
        if not self._jobs or self._clock.monotonic() >= self._scan_at:
            await self._scan()
        self._builder.begin_batch()
        for _ in range(_CHUNKS):
            if not self._jobs or len(batch.records) + len(batch.rejects) >= limit:
                break
            if not await self._read_on(self._jobs[-1], batch, limit):
                self._jobs.pop()
        batch.checkpoint = self._open_files.take_checkpoint()
        batch.more = bool(self._jobs)
        problems = (self._problems.texts, self._finalizer.problems.values(), self._lost.values())
        batch.problems = tuple(sorted(text for texts in problems for text in texts))
        return batch

    async def wait_for_change(self) -> None:
        """Return when something in the folder has changed."""
        await self._watcher.wait_for_change()

    async def settle(self, batch: Batch) -> None:
        """Finalize the files whose last line is in this batch."""
        for file_id, saved in batch.checkpoint.items():
            if saved is not None and self._uncommitted.get(file_id) == saved:
                del self._uncommitted[file_id]
                self._finalizer.start(file_id, self._catalogue.files[file_id])

    async def _read_on(self, job: Job, batch: Batch, limit: int) -> bool:
        """Return whether the file may have more."""
        outcome = await self._open_files.read(job, batch, limit, job.file.size, job.file.mtime)
        self._lost.pop(job.file_id or "", None)
        if outcome is Outcome.END:
            outcome = await self._finish(job, batch, limit)
        return outcome is Outcome.MORE

    async def _finish(self, job: Job, batch: Batch, limit: int) -> Outcome:
        """Read the last line of a file whose end was found, and mark the file as completed."""
        if not await self._open_files.unchanged(job):
            return Outcome.SKIPPED  # it was not complete after all; a later scan reads the rest
        outcome = self._open_files.finish(job, batch, limit)
        if outcome is Outcome.END and job.file_id is not None:
            self._uncommitted[job.file_id] = self._open_files.complete(job)
        return outcome

    async def _scan(self) -> None:
        found = self._problems.decodable(await self._io_thread.run(self._list_ready))
        now = self._clock.monotonic()
        result = self._catalogue.classify(found, now)
        stable = {file.inode for file in self._stability.ready(found, now)}
        self._scan_at = now + self._options.interval
        self._problems.forget_missing(found)
        jobs, missing = list[Job](), set(result.missing)
        for file, file_id in result.present:
            if file_id is None and (file_id := await self._find_remounted(file, missing)) is not None:
                missing.discard(file_id)
            job = self._job(file, file_id)
            if job is not None and file.inode in stable:
                if job.file_id is None:
                    candidates = self._catalogue.candidates(file, missing)
                    job.candidates = [each for each in candidates if not self._completed_as(each)]
                jobs.append(job)
        # An open file that was deleted is still read to its end.
        jobs += [job for job in self._jobs if job.file_id in missing and job.file_id in self._open_files.open]
        # Files that are open come first.
        jobs.sort(key=lambda job: job.file_id not in self._open_files.open)
        self._jobs = jobs[::-1]
        await self._forget_gone(missing, now)

    def _list_ready(self) -> list[FileStat]:
        """Return the files that are ready, judged by names alone."""
        drop = self._options.drop
        found = [file for file in list_files(self._options.path) if not file.path.endswith(RECEIPT)]
        if drop.after is After.ARCHIVE:
            found = [file for file in found if not in_archive(Path(file.path), drop)]
        if drop.ready is Ready.DONE_FILE:
            found = [file for file in found if Path(file.path + drop.done_suffix).exists()]
        return found

    def _job(self, file: FileStat, file_id: str | None) -> Job | None:
        """Return a job if there is something to read in a file; finalize a completed file if that is still to do."""
        if file_id is not None:
            match self._state(file, file_id):
                case FileState.COMPLETED:
                    if file_id not in self._uncommitted:
                        self._finalizer.start(file_id, self._catalogue.move(file_id, file))
                    return None
                case FileState.REWRITTEN:
                    self._forget(file_id)
                    file_id = None
                case FileState.PARTLY_READ:
                    self._catalogue.move(file_id, file)
        return None if self._problems.unusable(file) else Job(file, file_id)

    def _state(self, file: FileStat, file_id: str) -> FileState:
        done = self._completed_as(file_id)
        if done is None:
            return FileState.PARTLY_READ
        return FileState.COMPLETED if done == (file.size, file.mtime) else FileState.REWRITTEN

    async def _find_remounted(self, file: FileStat, missing: Iterable[str]) -> str | None:
        """Return the id of a completed file that had another inode: its disk was mounted again, for example."""
        for file_id in self._catalogue.candidates(file, missing):
            if self._state(file, file_id) is FileState.COMPLETED and await self._open_files.agrees(file, file_id):
                self._open_files.move(file_id, file)
                return file_id
        return None

    async def _forget_gone(self, missing: set[str], now: float) -> None:
        """Forget finalized files at once, and others when they have been missing for too long."""
        gone = missing.intersection(self._catalogue.expired(now))
        if self._options.drop.after is not After.KEEP:
            gone |= {file_id for file_id in missing if self._completed_as(file_id)}
        gone -= await self._io_thread.run(self._existing, gone)
        for file_id in gone - self._uncommitted.keys():
            self._forget(file_id)
        self._lost = {
            file_id: f"{progress.path}: deleted before its end was read, after byte {progress.offset}"
            for file_id in missing - gone - self._open_files.open.keys()
            if (progress := self._catalogue.files[file_id]).done is None
        }

    def _existing(self, missing: Iterable[str]) -> set[str]:
        """Return the files that still exist although they were not listed: forgotten, they would be read again."""
        files = {file_id: self._catalogue.files[file_id] for file_id in missing}
        return {file_id for file_id, file in files.items() if still_exists(file.path, file.inode)}

    def _completed_as(self, file_id: str) -> tuple[int, int] | None:
        """Return the size and modification time at which a file was completed; None if it is partly read."""
        return self._catalogue.files[file_id].done

    def _forget(self, file_id: str) -> None:
        self._finalizer.forget(file_id)
        self._open_files.forget(file_id)
