"""Files that grow: read on from their saved positions, through renaming, rotation, truncation and rewriting.

    look    which files have changed, which are new, which have left
    read    a chunk of each in turn, while the batch has room

An incomplete last line waits for its end; in a file that was deleted it counts as a line.
"""

from datetime import datetime
from typing import Literal

from services.system_api.sources.file.folders.folder_watcher import FolderWatcher
from services.system_api.sources.file.reading.file_problems import shown
from services.system_api.sources.file.reading.jobs import Job, Outcome
from services.system_api.sources.file.reading.losses import Losses
from services.system_api.sources.file.reading.open_files import BATCH_BYTES, OpenFiles
from services.system_api.sources.file.reading.recounting import RecountedFiles
from services.system_api.sources.file.reading.rewinding import checkpoint_at
from services.system_api.sources.file.tailing.changes import ChangeTracker
from services.system_api.sources.file.tailing.incomplete_lines import IncompleteLines
from services.system_api.sources.source import Batch, Checkpoint, EventBuilder
from shared.runtime.clock import Clock


class TailSource(RecountedFiles):
    """A `Source` of files that grow."""

    def __init__(
        self,
        builder: EventBuilder,
        watcher: FolderWatcher,
        tracker: ChangeTracker,
        open_files: OpenFiles,
        losses: Losses,
        clock: Clock,
    ) -> None:
        self._builder = builder
        self._watcher = watcher
        self._tracker = tracker
        self._jobs = tracker.jobs
        self._departed = tracker.departed
        self._copies = tracker.copies
        self._open_files = open_files
        self._problems = open_files.problems
        self._catalogue = open_files.catalogue
        self._held = open_files.disk.held
        self._clock = clock
        self._losses = losses
        self._lines = IncompleteLines()
        self._unwatched = set(self._catalogue.files)
        """Files that have not been read since the source was opened: what happened before was not seen."""

    async def poll(self, limit: int) -> Batch:
        """Read what is new, one file after another."""
        batch = Batch()
        looked = await self._tracker.look()
        for job in self._lines.due(self._clock.monotonic()):
            self._jobs.add(job)
        self._builder.begin_batch()
        most = self._open_files.spent + BATCH_BYTES
        while self._jobs and len(batch.records) + len(batch.rejects) < limit and self._open_files.spent < most:
            job = self._jobs.first
            if not await self._read_on(job, batch, limit):
                self._jobs.remove(job.file.inode)
        self._open_files.close_idle()
        # Until a look has found nothing, something may be waiting that was written meanwhile.
        batch.more = bool(self._jobs) or not looked
        batch.whole = self._tracker.sees_all
        self._describe(batch)
        return batch

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint from which files are read again; see `Rewinding`."""
        return await checkpoint_at(self._catalogue, self._open_files.disk, place)

    async def wait_for_change(self) -> None:
        """Return when something in the folder has changed."""
        await self._watcher.wait_for_change()

    def _describe(self, batch: Batch) -> None:
        now = self._clock.monotonic()
        batch.checkpoint = self._open_files.take_checkpoint()
        batch.begun = self._open_files.begun.take(batch.checkpoint, events=bool(batch.records))
        batch.losses = self._losses.take(now)
        unread, closed = self._problems.texts, self._tracker.unreadable
        read = (each.inode for each in self._open_files.open.values())
        problems = [
            *unread,
            *closed,
            *self._losses.problems(now),
            *self._lines.problems(now),
            *self._held.problems(read),
        ]
        batch.problems = shown(problems)
        waiting = [*self._lines.waiting(now), *self._departed.waiting()]
        if unread:
            waiting.append(f"{len(unread)} files that cannot be read; see problems")
        if closed:
            waiting.append(f"{len(closed)} folders that cannot be read; see problems")
        batch.waiting = tuple(waiting)

    async def _read_on(self, job: Job, batch: Batch, limit: int) -> bool:
        """Return whether the file may have more; if not, its job is done."""
        if job.file_id is None:
            job.file_id = self._catalogue.id_of(job.file.inode)
        if job.file_id is None:
            job.candidates = self._catalogue.candidates(job.file)
            if self._tracker.may_be_copy(job):
                # A missing file of its name says nothing unless its contents are here.
                job.candidates = [each for each in job.candidates if await self._open_files.agrees(job.file, each)]
            if not job.candidates and await self._tracker.is_copy(job):
                return False
            if not job.candidates and await self._tracker.is_copy_of_unread(job):
                self._jobs.add(job)  # behind the file that it was made of
                return True
        outcome = await self._open_files.read(job, batch, limit)
        if outcome is Outcome.REWRITTEN:
            return await self._after_rewrite(job)
        if outcome is Outcome.END:
            outcome = self._at_end(job, batch, limit)
        if outcome is Outcome.SKIPPED and job.file.inode in self._problems.failed:
            self._tracker.retry(job)
        return outcome is Outcome.MORE

    def _at_end(self, job: Job, batch: Batch, limit: int) -> Outcome:
        assert job.file_id is not None, "it was read"
        now, open_file = self._clock.monotonic(), self._open_files.open[job.file_id]
        self._unwatched.discard(job.file_id)
        self._tracker.completion.note_end(job, now)
        if job.file_id in self._departed.ending:
            outcome = self._open_files.finish(job, batch, limit)
            if outcome is Outcome.END:
                self._departed.end(job.file_id)
                self._lines.forget(job.file_id)
            return outcome
        if self._lines.abandons(job.file_id, now) and open_file.abandon_open_quote():
            return Outcome.MORE
        self._lines.note(job, open_file.incomplete, now)
        return Outcome.END

    async def _after_rewrite(self, job: Job) -> bool:
        """Read a file that was truncated or rewritten from the beginning, after the copy that was made of it."""
        file_id = job.file_id
        assert file_id is not None, "it was read before"
        self._lines.forget(file_id)
        copy = None
        if not job.departed:
            await self._tracker.find_copies()
            copy = await self._departed.find_copy(file_id, self._copies.of(file_id))
        await self._copies.leave_unread(file_id)
        if copy is None:
            known = self._catalogue.files[file_id]
            if file_id in self._unwatched and known.offset >= known.begin:
                self._losses.add(
                    file_id,
                    f"{known.path}: rewritten while Trelay did not watch it, and no copy of its earlier contents was"
                    f" found; it was read up to byte {known.offset}, and what was written behind that is lost",
                )
            self._open_files.forget(file_id)
            self._unwatched.discard(file_id)
            job.file_id = None
            return not job.departed
        self._catalogue.missing[file_id] = self._clock.monotonic()
        self._departed.ending.add(file_id)
        self._jobs.add_first([copy, Job(job.file, None)])
        return True
