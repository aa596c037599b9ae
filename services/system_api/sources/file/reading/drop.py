"""Whole files: taken from a folder when they are complete, one after another, oldest first; and put away after that.

A file that is being read when the service stops is read on from its last line. One that was put away is forgotten; one
that stays is remembered by its size and time, so that a new file of the same name is a new file.
"""

from collections.abc import Iterable
from pathlib import Path

from services.system_api.sources.file.filesystem import FileStat, list_files, still_exists
from services.system_api.sources.file.folder_watcher import FolderWatcher
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import After, FileSourceOptions, Ready
from services.system_api.sources.file.reading.finalize import RECEIPT, in_archive
from services.system_api.sources.file.reading.finalizer import Finalizer
from services.system_api.sources.file.reading.open_files import Job, OpenFiles
from services.system_api.sources.file.reading.progress import save
from services.system_api.sources.file.reading.stability import Stability
from services.system_api.sources.source import Batch, EventBuilder
from shared.runtime.clock import Clock

_CHUNKS = 16
"""Chunks in one batch at most: events are bounded, but a line may be long."""


class DropSource:
    """A `Source` of whole files; `Settling`, for a file is put away once all of it is published."""

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
        self._catalogue = open_files.catalogue
        self._finalizer = finalizer
        self._clock = clock
        drop = options.drop
        self._stability = Stability(drop.stable_seconds if drop.ready is Ready.STABLE else 0)
        self._jobs: list[Job] = []
        """Files that are complete and not read to their end, the last one first."""
        self._scan_at = clock.monotonic()
        """When to look next, while there is something to read."""
        self._unsettled: dict[str, bytes | None] = {}
        """Files that were read to their end, in batches that are not committed for all we know; with what those save of
        them, for an earlier batch with other lines of the file may be settled first."""
        self._lost: dict[str, str] = {}
        """Files that are gone and were not read to their end, and how far they were."""

    async def poll(self, limit: int) -> Batch:
        """Read on in the oldest file that is complete."""
        batch = Batch()
        if not self._jobs or self._clock.monotonic() >= self._scan_at:
            await self._scan(batch)
        self._builder.begin_batch()
        for _ in range(_CHUNKS):
            if not self._jobs or len(batch.records) + len(batch.rejects) >= limit:
                break
            if not await self._read_on(self._jobs[-1], batch, limit):
                self._jobs.pop()
        self._open_files.save(batch)
        batch.more = bool(self._jobs)
        problems = (self._open_files.problems, self._finalizer.problem.values(), self._lost.values())
        batch.problems = tuple(sorted(text for problem in problems for text in problem))
        return batch

    async def wait_for_change(self) -> None:
        """Return when something in the folder has changed."""
        await self._watcher.wait_for_change()

    async def settle(self, batch: Batch) -> None:
        """Put away the files of which the last line is in this batch."""
        for file_id, saved in batch.checkpoint.items():
            if saved is not None and self._unsettled.get(file_id) == saved:
                del self._unsettled[file_id]
                self._finalizer.begin(file_id, self._catalogue.files[file_id])

    async def _read_on(self, job: Job, batch: Batch, limit: int) -> bool:
        """Return whether the file may have more."""
        file = job.file
        more = await self._open_files.read(job, batch, limit, file.size, file.mtime)
        self._lost.pop(job.file_id or "", None)
        if more:
            return True
        file_id = job.file_id
        if file_id is None or file_id not in self._open_files.open:
            return False
        if not await self._open_files.unchanged(job, batch):
            return False  # it was not complete after all; a later look will say when it is
        left = self._open_files.finish(job, batch, limit)
        if left is False:
            self._open_files.finished(file_id, file, batch)
            self._unsettled[file_id] = batch.checkpoint[file_id]
        return left is True

    async def _scan(self, batch: Batch) -> None:
        found = self._open_files.decodable(await self._io_thread.run(self._list_complete))
        now = self._clock.monotonic()
        result = self._catalogue.classify(found, now)
        ready = {file.inode for file in self._stability.ready(found, now)}
        self._scan_at = now + self._options.interval
        self._open_files.forget_problems(found)
        jobs, missing = list[Job](), set(result.missing)
        for file, file_id in result.present:
            if file_id is None and (file_id := await self._find_remounted(file, missing, batch)) is not None:
                missing.discard(file_id)
            job = self._job(file, file_id, batch)
            if job is not None and file.inode in ready:
                if job.file_id is None:
                    job.candidates = [each for each in self._catalogue.same_name(file, missing) if not self._done(each)]
                jobs.append(job)
        # What was taken away while it is open is read to its end all the same.
        jobs += [job for job in self._jobs if job.file_id in missing and job.file_id in self._open_files.open]
        # What was begun is ended first.
        jobs.sort(key=lambda job: job.file_id not in self._open_files.open)
        self._jobs = jobs[::-1]
        await self._forget_gone(missing, now, batch)

    def _list_complete(self) -> list[FileStat]:
        """Return the files that may be taken, as far as names tell."""
        drop = self._options.drop
        found = [file for file in list_files(self._options.path) if not file.path.endswith(RECEIPT)]
        if drop.after is After.ARCHIVE:
            found = [file for file in found if not in_archive(Path(file.path), drop)]
        if drop.ready is Ready.DONE_FILE:
            found = [file for file in found if Path(file.path + drop.done_suffix).exists()]
        return found

    def _job(self, file: FileStat, file_id: str | None, batch: Batch) -> Job | None:
        """Return what is to be read of a file, nothing if all has been; put it away where that was not done."""
        progress = None if file_id is None else self._catalogue.files[file_id]
        if file_id is not None and progress is not None:
            if progress.done is None:
                self._catalogue.move(file_id, file)
                return None if self._open_files.unusable(file) else Job(file, file_id)
            if progress.done == (file.size, file.mtime):
                if file_id not in self._unsettled:
                    self._finalizer.begin(file_id, self._catalogue.move(file_id, file))
                return None
            self._forget(file_id, batch)  # its contents are new
        return None if self._open_files.unusable(file) else Job(file, None)

    async def _find_remounted(self, file: FileStat, missing: Iterable[str], batch: Batch) -> str | None:
        """Return the id of a file that was here under another inode: of a disk that was mounted again, say."""
        for file_id in self._catalogue.same_name(file, missing):
            if self._done(file_id) == (file.size, file.mtime) and await self._open_files.agrees(file, file_id):
                batch.checkpoint[file_id] = save(self._catalogue.move(file_id, file))
                return file_id
        return None

    async def _forget_gone(self, missing: set[str], now: float, batch: Batch) -> None:
        """Forget what was put away at once, and what has gone by itself after a while."""
        gone = missing.intersection(self._catalogue.expired(now))
        if self._options.drop.after is not After.KEEP:
            gone |= {file_id for file_id in missing if self._done(file_id)}
        gone -= await self._io_thread.run(self._still_existing, gone)
        for file_id in gone - self._unsettled.keys():
            self._forget(file_id, batch)
        self._lost = {
            file_id: f"{progress.path} has gone before all of it was read, after byte {progress.offset}"
            for file_id in missing - gone - self._open_files.open.keys()
            if (progress := self._catalogue.files[file_id]).done is None
        }

    def _still_existing(self, missing: Iterable[str]) -> set[str]:
        """Return the files that are still there, though they were not found: forgotten, they would be read again."""
        files = {file_id: self._catalogue.files[file_id] for file_id in missing}
        return {file_id for file_id, file in files.items() if still_exists(file.path, file.inode)}

    def _done(self, file_id: str) -> tuple[int, int] | None:
        return self._catalogue.files[file_id].done

    def _forget(self, file_id: str, batch: Batch) -> None:
        self._finalizer.forget(file_id)
        self._open_files.forget(file_id, batch)
