"""Whole files: taken from a folder when they are complete, one after another, oldest first; and put away after that.

A file that is being read when the service stops is read on from its last line. One that was put away is forgotten; one
that stays is remembered by its size and time, so that a new file of the same name is a new file.
"""

from collections.abc import Iterable
from pathlib import Path

from services.system_api.sources.file.filesystem import Found, is_there, look
from services.system_api.sources.file.io_thread import Disk
from services.system_api.sources.file.options import After, FileSourceOptions, Ready
from services.system_api.sources.file.reading.finalize import RECEIPT, in_archive
from services.system_api.sources.file.reading.finalizer import PuttingAway
from services.system_api.sources.file.reading.open_files import Job, Readings
from services.system_api.sources.file.reading.progress import save
from services.system_api.sources.file.reading.stability import Stability
from services.system_api.sources.file.wake import Wake
from services.system_api.sources.source import Batch, Stamp
from shared.runtime.clock import Clock

_CHUNKS = 16
"""Chunks in one batch at most: events are bounded, but a line may be long."""


class DropSource:
    """A `Source` of whole files; `Settling`, for a file is put away once all of it is published."""

    def __init__(
        self,
        options: FileSourceOptions,
        stamp: Stamp,
        disk: Disk,
        wake: Wake,
        readings: Readings,
        away: PuttingAway,
        clock: Clock,
    ) -> None:
        self._options = options
        self._stamp = stamp
        self._disk = disk
        self._wake = wake
        self._readings = readings
        self._catalogue = readings.catalogue
        self._away = away
        self._clock = clock
        drop = options.drop
        self._stability = Stability(drop.stable_seconds if drop.ready is Ready.STABLE else 0)
        self._jobs: list[Job] = []
        """Files that are complete and not read to their end, the last one first."""
        self._look_at = clock.monotonic()
        """When to look next, while there is something to read."""
        self._unsettled: dict[str, bytes | None] = {}
        """Files that were read to their end, in batches that are not committed for all we know; with what those save of
        them, for an earlier batch with other lines of the file may be settled first."""
        self._lost: dict[str, str] = {}
        """Files that are gone and were not read to their end, and how far they were."""

    async def poll(self, limit: int) -> Batch:
        """Read on in the oldest file that is complete."""
        batch = Batch()
        if not self._jobs or self._clock.monotonic() >= self._look_at:
            await self._look(batch)
        self._stamp.begin()
        for _ in range(_CHUNKS):
            if not self._jobs or len(batch.records) + len(batch.rejects) >= limit:
                break
            if not await self._read_on(self._jobs[-1], batch, limit):
                self._jobs.pop()
        self._readings.save(batch)
        batch.more = bool(self._jobs)
        problems = (self._readings.problems, self._away.problem.values(), self._lost.values())
        batch.problem = tuple(sorted(text for problem in problems for text in problem))
        return batch

    async def changed(self) -> None:
        """Return when something in the folder has changed."""
        await self._wake.changed()

    async def settle(self, batch: Batch) -> None:
        """Put away the files of which the last line is in this batch."""
        for known_as, saved in batch.checkpoint.items():
            if saved is not None and self._unsettled.get(known_as) == saved:
                del self._unsettled[known_as]
                self._away.begin(known_as, self._catalogue.files[known_as])

    async def _read_on(self, job: Job, batch: Batch, limit: int) -> bool:
        """Return whether the file may have more."""
        file = job.file
        more = await self._readings.read(job, batch, limit, file.size, file.mtime)
        self._lost.pop(job.known_as or "", None)
        if more:
            return True
        known_as = job.known_as
        if known_as is None or known_as not in self._readings.open:
            return False
        if not await self._readings.unchanged(job, batch):
            return False  # it was not complete after all; a later look will say when it is
        left = self._readings.finish(job, batch, limit)
        if left is False:
            self._readings.finished(known_as, file, batch)
            self._unsettled[known_as] = batch.checkpoint[known_as]
        return left is True

    async def _look(self, batch: Batch) -> None:
        found = self._readings.named(await self._disk.run(self._complete))
        now = self._clock.monotonic()
        result = self._catalogue.sort(found, now)
        ready = {file.inode for file in self._stability.ready(found, now)}
        self._look_at = now + self._options.interval
        self._readings.forget_trouble(found)
        jobs, missing = list[Job](), set(result.missing)
        for file, known_as in result.present:
            if known_as is None and (known_as := await self._restored(file, missing, batch)) is not None:
                missing.discard(known_as)
            job = self._job(file, known_as, batch)
            if job is not None and file.inode in ready:
                if job.known_as is None:
                    job.perhaps = [each for each in self._catalogue.namesakes(file, missing) if not self._done(each)]
                jobs.append(job)
        # What was taken away while it is open is read to its end all the same.
        jobs += [job for job in self._jobs if job.known_as in missing and job.known_as in self._readings.open]
        # What was begun is ended first.
        jobs.sort(key=lambda job: job.known_as not in self._readings.open)
        self._jobs = jobs[::-1]
        await self._tidy(missing, now, batch)

    def _complete(self) -> list[Found]:
        """Return the files that may be taken, as far as names tell."""
        drop = self._options.drop
        found = [file for file in look(self._options.path) if not file.path.endswith(RECEIPT)]
        if drop.after is After.ARCHIVE:
            found = [file for file in found if not in_archive(Path(file.path), drop)]
        if drop.ready is Ready.DONE_FILE:
            found = [file for file in found if Path(file.path + drop.done_suffix).exists()]
        return found

    def _job(self, file: Found, known_as: str | None, batch: Batch) -> Job | None:
        """Return what is to be read of a file, nothing if all has been; put it away where that was not done."""
        progress = None if known_as is None else self._catalogue.files[known_as]
        if known_as is not None and progress is not None:
            if progress.done is None:
                self._catalogue.move(known_as, file)
                return None if self._readings.unusable(file) else Job(file, known_as)
            if progress.done == (file.size, file.mtime):
                if known_as not in self._unsettled:
                    self._away.begin(known_as, self._catalogue.move(known_as, file))
                return None
            self._forget(known_as, batch)  # its contents are new
        return None if self._readings.unusable(file) else Job(file, None)

    async def _restored(self, file: Found, missing: Iterable[str], batch: Batch) -> str | None:
        """Return the id of a file that was here under another inode: of a disk that was mounted again, say."""
        for known_as in self._catalogue.namesakes(file, missing):
            if self._done(known_as) == (file.size, file.mtime) and await self._readings.agrees(file, known_as):
                batch.checkpoint[known_as] = save(self._catalogue.move(known_as, file))
                return known_as
        return None

    async def _tidy(self, missing: set[str], now: float, batch: Batch) -> None:
        """Forget what was put away at once, and what has gone by itself after a while."""
        gone = missing.intersection(self._catalogue.expired(now))
        if self._options.drop.after is not After.KEEP:
            gone |= {known_as for known_as in missing if self._done(known_as)}
        gone -= await self._disk.run(self._hidden, gone)
        for known_as in gone - self._unsettled.keys():
            self._forget(known_as, batch)
        self._lost = {
            known_as: f"{progress.path} has gone before all of it was read, after byte {progress.offset}"
            for known_as in missing - gone - self._readings.open.keys()
            if (progress := self._catalogue.files[known_as]).done is None
        }

    def _hidden(self, missing: Iterable[str]) -> set[str]:
        """Return the files that are still there, though they were not found: forgotten, they would be read again."""
        files = {known_as: self._catalogue.files[known_as] for known_as in missing}
        return {known_as for known_as, file in files.items() if is_there(file.path, file.inode)}

    def _done(self, known_as: str) -> tuple[int, int] | None:
        return self._catalogue.files[known_as].done

    def _forget(self, known_as: str, batch: Batch) -> None:
        self._away.forget(known_as)
        self._readings.forget(known_as, batch)
