"""Files that grow: read on from where they were left, through renaming, rotation, truncation and rewriting.

    look    which files there are, which of them have grown, which are gone
    read    a chunk of each in turn, as long as the batch has room

An incomplete last line waits for its end; of a file that was deleted, it counts as a line.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from services.system_api.sources.file.filesystem import FileStat, find_inodes, is_glob, list_files
from services.system_api.sources.file.folder_watcher import FolderWatcher
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.reading.open_files import Job, OpenFiles
from services.system_api.sources.source import Batch, EventBuilder
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
        self._catalogue = open_files.catalogue
        self._clock = clock
        self._jobs: list[Job] = []
        """Files that may have something to read, the last one first: what was rotated away comes before what follows
        it, and a file that never stops growing comes after all others."""
        self._scan_at = clock.monotonic()
        """When to look next, while there is something to read."""
        self._ending: set[str] = set()
        """Files that will not grow any more, so that their last line is complete as it is."""

    async def poll(self, limit: int) -> Batch:
        """Read what is new, of one file after another."""
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
        self._open_files.close_idle(batch)
        batch.more = bool(self._jobs)
        batch.problems = tuple(sorted(self._open_files.problems))
        return batch

    async def wait_for_change(self) -> None:
        """Return when something in the folder has changed."""
        await self._watcher.wait_for_change()

    async def _read_on(self, job: Job, batch: Batch, limit: int) -> bool:
        """Return whether the file may have more."""
        if await self._open_files.read(job, batch, limit):
            return True
        if job.file_id not in self._ending or job.file_id not in self._open_files.open:
            return False
        if self._open_files.finish(job, batch, limit):
            return True
        self._open_files.close(job.file_id, batch)
        return False

    async def _scan(self, batch: Batch) -> None:
        found = self._open_files.decodable(await self._io_thread.run(list_files, self._options.path))
        now = self._clock.monotonic()
        result = self._catalogue.classify(found, now)
        outside_glob = await self._find_renamed(result.missing)
        jobs = self._jobs_outside_glob(result.missing, outside_glob)
        gone = [file_id for file_id in result.missing if file_id not in outside_glob]
        for file, file_id in result.present:
            if file_id is not None:
                self._catalogue.move(file_id, file)
                if not self._open_files.idle(file_id, file):
                    jobs.append(Job(file, file_id))
            elif file.size and not self._open_files.unusable(file):
                jobs.append(Job(file, None, candidates=self._catalogue.same_name(file, gone)))
        if not found and not jobs and not is_glob(self._options.path):
            raise Unavailable(f"{self._options.path} does not exist")
        self._scan_at = now + self._options.interval
        self._open_files.log_lost(self._jobs, [*found, *outside_glob.values()])
        self._jobs = jobs[::-1]
        self._open_files.forget_problems(found)
        await self._retire_deleted(gone, now, batch)

    async def _find_renamed(self, missing: Sequence[str]) -> dict[str, FileStat]:
        """Return the files that were renamed out of the glob: a rotated file is still written to for a while."""
        files = {self._catalogue.files[file_id].inode: file_id for file_id in missing}
        if not files:
            return {}
        folders = {str(Path(self._catalogue.files[file_id].path).parent) for file_id in missing}
        return {files[file.inode]: file for file in await self._io_thread.run(find_inodes, folders, frozenset(files))}

    def _jobs_outside_glob(self, missing: Sequence[str], outside_glob: Mapping[str, FileStat]) -> list[Job]:
        """Return what there may be to read in files that have left the glob: renamed ones, and deleted ones if open."""
        jobs = []
        for file_id in missing:
            if (file := outside_glob.get(file_id)) is not None:
                self._catalogue.move(file_id, file)
                if not self._open_files.idle(file_id, file):
                    jobs.append(Job(file, file_id, outside_glob=True))
            elif (open_file := self._open_files.open.get(file_id)) is not None:
                jobs.append(Job(FileStat(open_file.path, *open_file.inode, 0, 0), file_id, outside_glob=True))
        return jobs

    async def _retire_deleted(self, gone: Iterable[str], now: float, batch: Batch) -> None:
        """Take what was deleted for complete after a while, and forget what will not come back."""
        open_file = {job.file_id for job in self._jobs}
        finalizer = [file_id for file_id in gone if self._catalogue.missing_for(file_id, now) > _RETIRE]
        # What was moved, or is hidden by a folder that may not be entered, still grows.
        self._ending = {
            file_id
            for file_id in finalizer
            if file_id in self._open_files.open and await self._open_files.deleted(file_id)
        }
        for file_id in self._catalogue.expired(now):
            if file_id in open_file:
                self._ending.add(file_id)
            else:
                self._open_files.forget(file_id, batch)
