"""Files that grow: read on from where they were left, through renaming, rotation, truncation and rewriting.

    look    which files there are, which of them have grown, which are gone
    read    a chunk of each in turn, as long as the batch has room

An incomplete last line waits for its end; of a file that was deleted, it counts as a line.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from services.system_api.sources.file.filesystem import Found, find_inodes, is_glob, look
from services.system_api.sources.file.io_thread import Disk
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.reading.open_files import Job, Readings
from services.system_api.sources.file.wake import Wake
from services.system_api.sources.source import Batch, Stamp
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_CHUNKS = 16
"""Chunks in one batch at most: events are bounded, but a line may be long."""
_RETIRE = 5.0
"""Seconds after which a file that was deleted is taken to be complete."""


class TailSource:
    """A `Source` of files that grow."""

    def __init__(
        self,
        options: FileSourceOptions,
        stamp: Stamp,
        disk: Disk,
        wake: Wake,
        readings: Readings,
        clock: Clock,
    ) -> None:
        self._options = options
        self._stamp = stamp
        self._disk = disk
        self._wake = wake
        self._readings = readings
        self._catalogue = readings.catalogue
        self._clock = clock
        self._jobs: list[Job] = []
        """Files that may have something to read, the last one first: what was rotated away comes before what follows
        it, and a file that never stops growing comes after all others."""
        self._look_at = clock.monotonic()
        """When to look next, while there is something to read."""
        self._ending: set[str] = set()
        """Files that will not grow any more, so that their last line is complete as it is."""

    async def poll(self, limit: int) -> Batch:
        """Read what is new, of one file after another."""
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
        self._readings.close_idle(batch)
        batch.more = bool(self._jobs)
        batch.problem = tuple(sorted(self._readings.problems))
        return batch

    async def changed(self) -> None:
        """Return when something in the folder has changed."""
        await self._wake.changed()

    async def _read_on(self, job: Job, batch: Batch, limit: int) -> bool:
        """Return whether the file may have more."""
        if await self._readings.read(job, batch, limit):
            return True
        if job.known_as not in self._ending or job.known_as not in self._readings.open:
            return False
        if self._readings.finish(job, batch, limit):
            return True
        self._readings.close(job.known_as, batch)
        return False

    async def _look(self, batch: Batch) -> None:
        found = self._readings.named(await self._disk.run(look, self._options.path))
        now = self._clock.monotonic()
        result = self._catalogue.sort(found, now)
        elsewhere = await self._elsewhere(result.missing)
        jobs = self._left(result.missing, elsewhere)
        gone = [known_as for known_as in result.missing if known_as not in elsewhere]
        for file, known_as in result.present:
            if known_as is not None:
                self._catalogue.move(known_as, file)
                if not self._readings.idle(known_as, file):
                    jobs.append(Job(file, known_as))
            elif file.size and not self._readings.unusable(file):
                jobs.append(Job(file, None, perhaps=self._catalogue.namesakes(file, gone)))
        if not found and not jobs and not is_glob(self._options.path):
            raise Unavailable(f"{self._options.path} does not exist")
        self._look_at = now + self._options.interval
        self._readings.tell_missed(self._jobs, [*found, *elsewhere.values()])
        self._jobs = jobs[::-1]
        self._readings.forget_trouble(found)
        await self._give_up(gone, now, batch)

    async def _elsewhere(self, missing: Sequence[str]) -> dict[str, Found]:
        """Return the files that were renamed out of the glob: a rotated file is still written to for a while."""
        files = {self._catalogue.files[known_as].inode: known_as for known_as in missing}
        if not files:
            return {}
        folders = {str(Path(self._catalogue.files[known_as].path).parent) for known_as in missing}
        return {files[file.inode]: file for file in await self._disk.run(find_inodes, folders, frozenset(files))}

    def _left(self, missing: Sequence[str], elsewhere: Mapping[str, Found]) -> list[Job]:
        """Return what there may be to read in files that have left the glob: renamed ones, and deleted ones if open."""
        jobs = []
        for known_as in missing:
            if (file := elsewhere.get(known_as)) is not None:
                self._catalogue.move(known_as, file)
                if not self._readings.idle(known_as, file):
                    jobs.append(Job(file, known_as, elsewhere=True))
            elif (reading := self._readings.open.get(known_as)) is not None:
                jobs.append(Job(Found(reading.path, *reading.inode, 0, 0), known_as, elsewhere=True))
        return jobs

    async def _give_up(self, gone: Iterable[str], now: float, batch: Batch) -> None:
        """Take what was deleted for complete after a while, and forget what will not come back."""
        reading = {job.known_as for job in self._jobs}
        away = [known_as for known_as in gone if self._catalogue.missing_for(known_as, now) > _RETIRE]
        # What was moved, or is hidden by a folder that may not be entered, still grows.
        self._ending = {
            known_as for known_as in away if known_as in self._readings.open and await self._readings.deleted(known_as)
        }
        for known_as in self._catalogue.expired(now):
            if known_as in reading:
                self._ending.add(known_as)
            else:
                self._readings.forget(known_as, batch)
