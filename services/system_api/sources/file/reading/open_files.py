"""The files of a source that are open, and those that cannot be read: what goes wrong with one stops no other."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from services.system_api.sources.file.filesystem import FileTrouble, Found, Replaced, Rewritten, misnamed
from services.system_api.sources.file.io_thread import Disk
from services.system_api.sources.file.parsing.parser import Unusable
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.open_file import MakeParser, Reading
from services.system_api.sources.file.reading.progress import save
from services.system_api.sources.source import Batch

logger = logging.getLogger(__name__)

_OPEN = 64
"""Files that stay open while nothing is read from them: what is written to one before it is deleted is not lost."""


@dataclass(slots=True)
class Job:
    """A file that may have something to read."""

    file: Found
    known_as: str | None
    """Its id; None until a new one has been opened."""
    perhaps: Sequence[str] = ()
    """Files of the same name that are gone: if the contents agree, this is that file."""
    elsewhere: bool = False
    """Whether it has left the glob: it is read to its end, but what it is rewritten with is none of ours."""


class Readings:
    """Opens files, reads them, and saves how far that has come."""

    def __init__(self, name: str, disk: Disk, make: MakeParser, catalogue: Catalogue) -> None:
        """`name` is the source's, for the log."""
        self.open: dict[str, Reading] = {}
        """By id; the one that was read last is the last."""
        self.problem: dict[tuple[int, int], str] = {}
        """What is wrong with files, by inode."""
        self.catalogue = catalogue
        self._name = name
        self._disk = disk
        self._make = make
        self._unusable: dict[tuple[int, int], Found] = {}
        self._misnamed: frozenset[str] = frozenset()
        self._ended_as: dict[str, tuple[int, int]] = {}
        """By id: size and time of files when their ends were read."""

    def named(self, found: Sequence[Found]) -> list[Found]:
        """Return the files that can be named, and note the problem with the others."""
        strangers = {repr(file.path.encode(errors="surrogateescape")) for file in found if misnamed(file.path)}
        for name in sorted(strangers - self._misnamed):
            logger.warning("source %s: %s is not read, for its name is no UTF-8 text", self._name, name)
        self._misnamed = frozenset(strangers)
        return [file for file in found if not misnamed(file.path)] if strangers else list(found)

    @property
    def problems(self) -> list[str]:
        """What is wrong with files, as text."""
        return [
            *self.problem.values(),
            *(f"{name} is not read, for its name is no UTF-8 text" for name in self._misnamed),
        ]

    def tell_missed(self, jobs: Sequence[Job], found: Sequence[Found]) -> None:
        """Say of which files something has been lost, given what was to be read and what there is now."""
        if not jobs:
            return
        inodes, paths = {file.inode for file in found}, {file.path for file in found}
        for job in jobs:
            # What is open is read to its end, and what took a file's place may be its copy.
            if job.known_as not in self.open and job.file.inode not in inodes and job.file.path not in paths:
                logger.error("source %s: %s has gone before all of it was read", self._name, job.file.path)

    def unusable(self, file: Found) -> bool:
        """Whether nothing can be made of a file, as long as it stays as it is."""
        return self._unusable.get(file.inode) == file

    def idle(self, known_as: str, file: Found) -> bool:
        """Whether nothing new can be in a file: it is as it was when its end was read, or when it was found unusable.

        A file that was rewritten at its size, or got the inode of one that was deleted, differs in its time.
        """
        return self._ended_as.get(known_as) == (file.size, file.mtime) or self.unusable(file)

    async def read(self, job: Job, batch: Batch, limit: int, *identity: int) -> bool:
        """Read on, until the batch holds `limit` events and rejects; return whether the file may have more.

        `identity` is what else the id of a new file is made of.
        """
        try:
            reading = await self._get(job, batch, identity)
            more = reading is not None and await reading.fill(batch, limit)
        except (FileTrouble, Unusable) as exc:
            self._refuse(job, exc, batch)
            return False
        except Replaced:
            self.close(job.known_as, batch)
            return False  # the next look tells what became of it
        except Rewritten as exc:
            if job.known_as in self.open:
                # Perhaps nothing but an incomplete line was taken back: opened anew, the lines before it tell.
                self.close(job.known_as, batch)
                return True
            logger.warning("source %s: %s; it is read from its beginning", self._name, exc)
            self.forget(job.known_as, batch)
            job.known_as = None
            return not job.elsewhere
        self.problem.pop(job.file.inode, None)
        self._unusable.pop(job.file.inode, None)
        if reading is not None and not more:
            self._ended_as[reading.id] = (job.file.size, job.file.mtime)
        return more

    async def deleted(self, known_as: str) -> bool:
        """Whether a file that is open has no name left anywhere."""
        return await self.open[known_as].deleted()

    async def agrees(self, file: Found, known_as: str) -> bool:
        """Whether a file has the contents of one that is gone, as far as that is known."""
        try:
            reading = await self._resume(file, known_as)
        except (FileTrouble, Replaced, Rewritten, Unusable):
            return False
        reading.close()
        return True

    async def unchanged(self, job: Job, batch: Batch) -> bool:
        """Whether a file that is open is still as it was found."""
        assert job.known_as is not None, "it is open"
        try:
            now = await self.open[job.known_as].status()
        except FileTrouble as exc:
            self._refuse(job, exc, batch)
            return False
        return (now.size, now.mtime) == (job.file.size, job.file.mtime)

    def finish(self, job: Job, batch: Batch, limit: int) -> bool | None:
        """Take what a file that is open ends with, where that is no newline; return whether something is left of it.

        Only when `read` has found the end. None says that nothing can be made of the file.
        """
        assert job.known_as is not None, "it is open"
        try:
            return self.open[job.known_as].finish(batch, limit)
        except Unusable as exc:
            self._refuse(job, exc, batch)
            return None

    def save(self, batch: Batch) -> None:
        """Put into the batch how far each file has come."""
        for known_as, reading in self.open.items():
            if reading.moved:
                self._save(known_as, reading, batch)

    def finished(self, known_as: str, file: Found, batch: Batch) -> None:
        """Put into the batch that all of a file has been read, and close it."""
        reading = self.open.pop(known_as)
        self.catalogue.files[known_as] = progress = reading.progress(done=file)
        batch.checkpoint[known_as] = save(progress)
        reading.close()

    def close(self, known_as: str | None, batch: Batch) -> None:
        """Close a file, and put into the batch how far it has come."""
        reading = None if known_as is None else self.open.pop(known_as, None)
        if reading is not None:
            if reading.moved:
                self._save(reading.id, reading, batch)
            reading.close()

    def forget(self, known_as: str | None, batch: Batch) -> None:
        """Close a file and know it no more."""
        if known_as is None:
            return
        self._discard(known_as)
        self._ended_as.pop(known_as, None)
        if self.catalogue.forget(known_as):
            batch.checkpoint[known_as] = None

    def forget_trouble(self, found: Sequence[Found]) -> None:
        """Forget what was wrong with files that are gone."""
        if not self.problem:
            return
        inodes = {file.inode for file in found}
        for inode in [inode for inode in self.problem if inode not in inodes]:
            del self.problem[inode]
            self._unusable.pop(inode, None)

    def close_idle(self, batch: Batch) -> None:
        """Close the files that were read longest ago, where too many are open."""
        for known_as in list(self.open)[: max(0, len(self.open) - _OPEN)]:
            self.close(known_as, batch)

    def close_all(self) -> None:
        """Close everything, when the source is closed."""
        for reading in self.open.values():
            reading.close()
        self.open.clear()

    async def _get(self, job: Job, batch: Batch, identity: tuple[int, ...]) -> Reading | None:
        reading = None if job.known_as is None else self.open.pop(job.known_as, None)
        if reading is None:
            reading = await self._open(job, batch, identity)
        if reading is not None:
            self.open[reading.id] = reading
        return reading

    async def _open(self, job: Job, batch: Batch, identity: tuple[int, ...]) -> Reading | None:
        catalogue = self.catalogue
        if job.known_as is not None:
            return await self._resume(job.file, job.known_as)
        if (reading := await self._adopt(job, batch)) is not None:
            return reading
        reading = await Reading.begin(self._disk, job.file, self._make, catalogue.next_number, *identity)
        if reading is not None:
            job.known_as = reading.id
            self._tell_copy(reading)
            catalogue.add(reading.id, reading.progress())
            batch.checkpoint[""] = save(catalogue.count)
        return reading

    def _tell_copy(self, reading: Reading) -> None:
        beginning = reading.beginning
        twin = next((other for other in self.open.values() if other.beginning == beginning), None)
        if beginning is not None and twin is not None:
            logger.warning(
                "source %s: %s begins as %s does: if it is a copy, as copytruncate makes one, its lines are read twice;"
                " keep copies out of the path of the source",
                self._name,
                reading.path,
                twin.path,
            )

    async def _resume(self, file: Found, known_as: str) -> Reading:
        return await Reading.resume(self._disk, file, self._make, known_as, self.catalogue.files[known_as])

    async def _adopt(self, job: Job, batch: Batch) -> Reading | None:
        """Go on in a copy of a file that is gone."""
        for known_as in job.perhaps:
            try:
                reading = await self._resume(job.file, known_as)
            except Rewritten:
                continue
            if (gone := self.open.pop(known_as, None)) is not None:
                gone.close()
            job.known_as = known_as
            # At once, for the inode of the one that is gone may be given to any other file.
            self._save(known_as, reading, batch)
            return reading
        return None

    def _discard(self, known_as: str | None) -> None:
        """Close a file without a word on how far it has come: nothing of what was read counts."""
        reading = None if known_as is None else self.open.pop(known_as, None)
        if reading is not None:
            reading.close()

    def _save(self, known_as: str, reading: Reading, batch: Batch) -> None:
        self.catalogue.files[known_as] = progress = reading.progress()
        batch.checkpoint[known_as] = save(progress)

    def _refuse(self, job: Job, error: FileTrouble | Unusable, batch: Batch) -> None:
        if isinstance(error, Unusable):
            self._discard(job.known_as)
        else:
            self.close(job.known_as, batch)
        if self.problem.get(job.file.inode) != str(error):
            logger.warning("source %s: %s; the other files are read", self._name, error)
        self.problem[job.file.inode] = str(error)
        if isinstance(error, Unusable):
            self._unusable[job.file.inode] = job.file
