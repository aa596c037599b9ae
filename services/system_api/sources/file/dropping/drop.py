"""Whole files: read from a folder when they are complete, one after another, oldest first, then finalized.

A file that is partly read when the service stops is read on from its last line. A file that was archived or deleted is
forgotten. One that stays is remembered with its size and modification time, so that a new file of the same name is
recognised as new.
"""

from collections.abc import Container, Iterable
from datetime import datetime
from enum import Enum
from typing import Literal

from services.system_api.sources.file.dropping.finalizer import Finalizer
from services.system_api.sources.file.dropping.readiness import Readiness
from services.system_api.sources.file.filesystem import FileStat, Inode, is_folder_away, still_exists
from services.system_api.sources.file.folders.folder_watcher import FolderWatcher
from services.system_api.sources.file.options import After, FileSourceOptions
from services.system_api.sources.file.reading.file_problems import shown
from services.system_api.sources.file.reading.folder_view import FolderView, yielding
from services.system_api.sources.file.reading.jobs import Job, Jobs, Outcome
from services.system_api.sources.file.reading.losses import Losses
from services.system_api.sources.file.reading.open_files import BATCH_BYTES, OpenFiles
from services.system_api.sources.file.reading.recounting import RecountedFiles
from services.system_api.sources.file.reading.rewinding import checkpoint_at
from services.system_api.sources.source import Batch, Checkpoint, EventBuilder
from shared.runtime.clock import Clock

_EARLY = 3_600_000_000_000
"""Nanoseconds within which a change of a file tells that it was taken too early; a later one makes a new file of it."""


class FileState(Enum):
    """How far a known file has been read."""

    PARTLY_READ = "partly read"
    COMPLETED = "completed"
    """Everything in it has been read, and it has not changed since."""
    REWRITTEN = "rewritten"
    """Everything in it had been read, and it has changed since: it is a new file."""


class DropSource(RecountedFiles):
    """A `Source` of whole files. `Settling`: a file is finalized once everything in it is committed."""

    def __init__(
        self,
        options: FileSourceOptions,
        builder: EventBuilder,
        watcher: FolderWatcher,
        view: FolderView,
        open_files: OpenFiles,
        finalizer: Finalizer,
        clock: Clock,
    ) -> None:
        self._options = options
        self._builder = builder
        self._watcher = watcher
        self._view = view
        self._open_files = open_files
        self._disk = open_files.disk
        self._problems = open_files.problems
        self._catalogue = open_files.catalogue
        self._finalizer = finalizer
        self._clock = clock
        self._readiness = Readiness(options.drop, open_files.disk)
        """The files that are not taken yet."""
        self._losses = Losses(options.forget_hours * 3600)
        self._early: dict[str, tuple[float, str]] = {}
        """Files that changed right after they were read, each since when, and as text."""
        self._new_early: list[str] = []
        self._jobs = Jobs()
        """Complete files that have something to read."""
        self._first = True
        self._uncommitted: dict[str, bytes | None] = {}
        """Files that were read to their end in a batch that is not known to be committed, each with the part of the
        checkpoint that says so: an earlier batch with other lines of the file has another value for that part."""
        self._lost: dict[str, str] = {}
        """Files that were deleted before their end was read, each with the problem as text."""

    async def poll(self, limit: int) -> Batch:
        """Read on in the oldest complete file."""
        batch = Batch()
        looked = not self._jobs or self._view.due
        if looked:
            await self._look()
        self._builder.begin_batch()
        most = self._open_files.spent + BATCH_BYTES
        while self._jobs and len(batch.records) + len(batch.rejects) < limit and self._open_files.spent < most:
            job = self._jobs.first
            if not await self._read_on(job, batch, limit):
                self._jobs.remove(job.file.inode)
        batch.checkpoint = self._open_files.take_checkpoint()
        batch.begun = self._open_files.begun.take(batch.checkpoint, events=bool(batch.records))
        # Until a look has found nothing, something may be waiting that was written meanwhile.
        batch.more = bool(self._jobs) or not looked
        batch.whole = self._view.sees_all
        self._describe(batch)
        return batch

    def _describe(self, batch: Batch) -> None:
        now = self._clock.monotonic()
        for loss in self._finalizer.take_losses():
            self._losses.add(loss.text, loss.text, loss.size)
        batch.losses = self._losses.take(now)
        batch.taken_early, self._new_early = tuple(self._new_early), []
        keep = self._options.forget_hours * 3600
        self._early = {key: (since, text) for key, (since, text) in self._early.items() if now - since <= keep}
        unread, closed = self._problems.texts, self._view.unreadable
        problems = [
            *unread,
            *closed,
            *self._finalizer.problems.values(),
            *self._lost.values(),
            *self._losses.problems(now),
        ]
        batch.problems = shown([*problems, *closed, *(text for _, text in self._early.values())])
        waiting = self._readiness.waiting(now)
        if unread:
            waiting.append(f"{len(unread)} files that cannot be read; see problems")
        if closed:
            waiting.append(f"{len(closed)} folders that cannot be read; see problems")
        batch.waiting = tuple(waiting)

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint from which files are read again; see `Rewinding`."""
        return await checkpoint_at(self._catalogue, self._disk, place)

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
        if outcome is Outcome.REWRITTEN:
            self._forget(job.file_id or "")
            job.file_id = None
            return True
        if outcome is Outcome.END:
            outcome = await self._finish(job, batch, limit)
        if outcome is Outcome.SKIPPED and job.file.inode in self._problems.failed:
            self._readiness.note(job.file, self._clock.monotonic())  # it is tried again
        return outcome is Outcome.MORE

    async def _finish(self, job: Job, batch: Batch, limit: int) -> Outcome:
        """Read the last line of a file whose end was found, and mark the file as completed."""
        if not await self._open_files.unchanged(job):
            return Outcome.SKIPPED  # it was not complete after all; a later look finds the rest
        outcome = self._open_files.finish(job, batch, limit)
        if outcome is Outcome.END and job.file_id is not None:
            self._uncommitted[job.file_id] = self._open_files.complete(job)
        return outcome

    async def _look(self) -> None:
        thorough = self._view.thorough
        changes = await self._view.look()
        now = self._clock.monotonic()
        if self._first:
            self._catalogue.begin(self._view.inodes, now)
            if self._open_files.start.applies:
                there = [file for each in changes for file in each.changed]
                complete = filter(self._open_files.start.passes_over, await self._readiness.complete(there))
                self._open_files.pass_over(complete, whole=True)
        left = [inode for each in changes for inode in each.gone]
        async for inode in yielding(left):
            self._leave(inode, now)
        async for file in yielding(file for each in changes for file in each.changed):
            await self._change(file, now)
        await self._take_ready(now)
        if not self._jobs:
            await self._view.check_mounted(self._catalogue.files.values())
        if thorough or left or self._first:
            self._finalizer.retry()
            await self._forget_gone(now)
        self._first = False

    def _leave(self, inode: Inode, now: float) -> None:
        """Note that no path leads to a file any more. If it is open, it is read to its end."""
        self._problems.forget(inode)
        self._readiness.forget(inode)
        file_id = self._catalogue.note_gone(inode, now)
        if file_id not in self._open_files.open:
            self._jobs.remove(inode)

    async def _change(self, file: FileStat, now: float) -> None:
        """Note that a file is new or has changed; finalize a completed file if that is still to do."""
        if not self._problems.decodable(file):
            return
        self._jobs.remove(file.inode)
        file_id = self._open_files.found(file)
        if file_id is None:
            file_id = await self._find_remounted(file)
        if file_id is not None:
            match self._state(file, file_id):
                case FileState.COMPLETED:
                    if file_id not in self._uncommitted:
                        self._finalizer.start(file_id, self._catalogue.files[file_id])
                    return
                case FileState.REWRITTEN:
                    self._note_early(file, file_id, now)
                    self._forget(file_id)
                case FileState.PARTLY_READ:
                    pass
        if not self._problems.unusable(file):
            self._readiness.note(file, now)

    async def _take_ready(self, now: float) -> None:
        """Make jobs of the files that are complete."""
        for file in await self._readiness.take(now):
            job = Job(file, self._catalogue.id_of(file.inode))
            if job.file_id is None:
                candidates = self._catalogue.candidates(file)
                job.candidates = [each for each in candidates if not self._completed_as(each)]
            if job.file_id in self._open_files.open:
                self._jobs.add_first([job])
            else:
                self._jobs.add(job)

    def _note_early(self, file: FileStat, file_id: str, now: float) -> None:
        """Note that a file changed soon after all of it was read: it was taken before it was complete."""
        size, mtime = self._completed_as(file_id) or (0, 0)
        if self._catalogue.files[file_id].rows and file.mtime - mtime < _EARLY:
            text = (
                f"{file.path}: changed after it was read ({size} bytes then, {file.size} now); it is read again as a"
                " new file: raise drop.stable_seconds, or rename files when they are complete"
            )
            self._early[file.path] = (now, text)
            self._new_early.append(text)

    def _state(self, file: FileStat, file_id: str) -> FileState:
        done = self._completed_as(file_id)
        if done is None:
            return FileState.PARTLY_READ
        return FileState.COMPLETED if done == (file.size, file.mtime) else FileState.REWRITTEN

    async def _find_remounted(self, file: FileStat) -> str | None:
        """Return the id of a completed file that had another inode: its disk was mounted again, for example."""
        for file_id in self._catalogue.candidates(file):
            if self._state(file, file_id) is FileState.COMPLETED and await self._open_files.agrees(file, file_id):
                self._open_files.move(file_id, file)
                self._catalogue.continue_in(file_id)
                return file_id
        return None

    async def _forget_gone(self, now: float) -> None:
        """Forget finalized files at once, and others when they have been missing for too long."""
        missing = set(self._catalogue.missing)
        expired = missing.intersection(self._catalogue.expired(now))
        finalized = set[str]()
        if self._options.drop.after is not After.KEEP:
            finalized = {file_id for file_id in missing - expired if self._completed_as(file_id)}
        gone = expired | finalized
        gone -= await self._disk.run(self._kept, gone, finalized)
        for file_id in gone - self._uncommitted.keys():
            self._forget(file_id)
        self._lost = {
            file_id: f"{progress.path}: deleted before its end was read, after byte {progress.offset}"
            for file_id in missing - gone - self._open_files.open.keys()
            if (progress := self._catalogue.files[file_id]).done is None
        }

    def _kept(self, missing: Iterable[str], finalized: Container[str]) -> set[str]:
        """Return the files that must not be forgotten yet, because they would be read again.

        They still exist although they were not listed; or they are finalized, and their folder, with which they may
        come back, is away.
        """
        files = {file_id: self._catalogue.files[file_id] for file_id in missing}
        return {
            file_id
            for file_id, file in files.items()
            if still_exists(file.path, file.inode) or (file_id in finalized and is_folder_away(file.path, file.inode))
        }

    def _completed_as(self, file_id: str) -> tuple[int, int] | None:
        """Return the size and modification time at which a file was completed; None if it is partly read."""
        return self._catalogue.files[file_id].done

    def _forget(self, file_id: str) -> None:
        self._uncommitted.pop(file_id, None)
        self._finalizer.forget(file_id)
        self._open_files.forget(file_id)
