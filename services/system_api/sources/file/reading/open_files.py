"""The files of a source that are open, and those that cannot be read: what goes wrong with one stops no other."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from services.system_api.sources.file.filesystem import FileError, FileStat, Replaced, Rewritten, is_undecodable
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.parsing.parser import UnusableFile
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.open_file import MakeParser, OpenFile
from services.system_api.sources.file.reading.progress import save
from services.system_api.sources.source import Batch

logger = logging.getLogger(__name__)

_OPEN = 64
"""Files that stay open while nothing is read from them: what is written to one before it is deleted is not lost."""


@dataclass(slots=True)
class Job:
    """A file that may have something to read."""

    file: FileStat
    file_id: str | None
    """Its id; None until a new one has been opened."""
    candidates: Sequence[str] = ()
    """Files of the same name that are gone: if the contents agree, this is that file."""
    outside_glob: bool = False
    """Whether it has left the glob: it is read to its end, but what it is rewritten with is none of ours."""


class OpenFiles:
    """Opens files, reads them, and saves how far that has come."""

    def __init__(self, name: str, io_thread: IoThread, make: MakeParser, catalogue: Catalogue) -> None:
        """`name` is the source's, for the log."""
        self.open: dict[str, OpenFile] = {}
        """By id; the one that was read last is the last."""
        self.problem: dict[tuple[int, int], str] = {}
        """What is wrong with files, by inode."""
        self.catalogue = catalogue
        self._name = name
        self._io_thread = io_thread
        self._make = make
        self._unusable: dict[tuple[int, int], FileStat] = {}
        self._undecodable: frozenset[str] = frozenset()
        self._stat_at_end: dict[str, tuple[int, int]] = {}
        """By id: size and time of files when their ends were read."""

    def decodable(self, found: Sequence[FileStat]) -> list[FileStat]:
        """Return the files that can be named, and note the problem with the others."""
        strangers = {repr(file.path.encode(errors="surrogateescape")) for file in found if is_undecodable(file.path)}
        for name in sorted(strangers - self._undecodable):
            logger.warning("source %s: %s is not read, for its name is no UTF-8 text", self._name, name)
        self._undecodable = frozenset(strangers)
        return [file for file in found if not is_undecodable(file.path)] if strangers else list(found)

    @property
    def problems(self) -> list[str]:
        """What is wrong with files, as text."""
        return [
            *self.problem.values(),
            *(f"{name} is not read, for its name is no UTF-8 text" for name in self._undecodable),
        ]

    def log_lost(self, jobs: Sequence[Job], found: Sequence[FileStat]) -> None:
        """Say of which files something has been lost, given what was to be read and what there is now."""
        if not jobs:
            return
        inodes, paths = {file.inode for file in found}, {file.path for file in found}
        for job in jobs:
            # What is open is read to its end, and what took a file's place may be its copy.
            if job.file_id not in self.open and job.file.inode not in inodes and job.file.path not in paths:
                logger.error("source %s: %s has gone before all of it was read", self._name, job.file.path)

    def unusable(self, file: FileStat) -> bool:
        """Whether nothing can be made of a file, as long as it stays as it is."""
        return self._unusable.get(file.inode) == file

    def idle(self, file_id: str, file: FileStat) -> bool:
        """Whether nothing new can be in a file: it is as it was when its end was read, or when it was found unusable.

        A file that was rewritten at its size, or got the inode of one that was deleted, differs in its time.
        """
        return self._stat_at_end.get(file_id) == (file.size, file.mtime) or self.unusable(file)

    async def read(self, job: Job, batch: Batch, limit: int, *identity: int) -> bool:
        """Read on, until the batch holds `limit` events and rejects; return whether the file may have more.

        `identity` is what else the id of a new file is made of.
        """
        try:
            open_file = await self._get(job, batch, identity)
            more = open_file is not None and await open_file.fill(batch, limit)
        except (FileError, UnusableFile) as exc:
            self._refuse(job, exc, batch)
            return False
        except Replaced:
            self.close(job.file_id, batch)
            return False  # the next look tells what became of it
        except Rewritten as exc:
            if job.file_id in self.open:
                # Perhaps nothing but an incomplete line was taken back: opened anew, the lines before it tell.
                self.close(job.file_id, batch)
                return True
            logger.warning("source %s: %s; it is read from its beginning", self._name, exc)
            self.forget(job.file_id, batch)
            job.file_id = None
            return not job.outside_glob
        self.problem.pop(job.file.inode, None)
        self._unusable.pop(job.file.inode, None)
        if open_file is not None and not more:
            self._stat_at_end[open_file.id] = (job.file.size, job.file.mtime)
        return more

    async def deleted(self, file_id: str) -> bool:
        """Whether a file that is open has no name left anywhere."""
        return await self.open[file_id].deleted()

    async def agrees(self, file: FileStat, file_id: str) -> bool:
        """Whether a file has the contents of one that is gone, as far as that is known."""
        try:
            open_file = await self._resume(file, file_id)
        except (FileError, Replaced, Rewritten, UnusableFile):
            return False
        open_file.close()
        return True

    async def unchanged(self, job: Job, batch: Batch) -> bool:
        """Whether a file that is open is still as it was found."""
        assert job.file_id is not None, "it is open"
        try:
            now = await self.open[job.file_id].status()
        except FileError as exc:
            self._refuse(job, exc, batch)
            return False
        return (now.size, now.mtime) == (job.file.size, job.file.mtime)

    def finish(self, job: Job, batch: Batch, limit: int) -> bool | None:
        """Take what a file that is open ends with, where that is no newline; return whether something is left of it.

        Only when `read` has found the end. None says that nothing can be made of the file.
        """
        assert job.file_id is not None, "it is open"
        try:
            return self.open[job.file_id].finish(batch, limit)
        except UnusableFile as exc:
            self._refuse(job, exc, batch)
            return None

    def save(self, batch: Batch) -> None:
        """Put into the batch how far each file has come."""
        for file_id, open_file in self.open.items():
            if open_file.unsaved:
                self._save(file_id, open_file, batch)

    def finished(self, file_id: str, file: FileStat, batch: Batch) -> None:
        """Put into the batch that all of a file has been read, and close it."""
        open_file = self.open.pop(file_id)
        self.catalogue.files[file_id] = progress = open_file.progress(done=file)
        batch.checkpoint[file_id] = save(progress)
        open_file.close()

    def close(self, file_id: str | None, batch: Batch) -> None:
        """Close a file, and put into the batch how far it has come."""
        open_file = None if file_id is None else self.open.pop(file_id, None)
        if open_file is not None:
            if open_file.unsaved:
                self._save(open_file.id, open_file, batch)
            open_file.close()

    def forget(self, file_id: str | None, batch: Batch) -> None:
        """Close a file and know it no more."""
        if file_id is None:
            return
        self._discard(file_id)
        self._stat_at_end.pop(file_id, None)
        if self.catalogue.forget(file_id):
            batch.checkpoint[file_id] = None

    def forget_problems(self, found: Sequence[FileStat]) -> None:
        """Forget what was wrong with files that are gone."""
        if not self.problem:
            return
        inodes = {file.inode for file in found}
        for inode in [inode for inode in self.problem if inode not in inodes]:
            del self.problem[inode]
            self._unusable.pop(inode, None)

    def close_idle(self, batch: Batch) -> None:
        """Close the files that were read longest ago, where too many are open."""
        for file_id in list(self.open)[: max(0, len(self.open) - _OPEN)]:
            self.close(file_id, batch)

    def close_all(self) -> None:
        """Close everything, when the source is closed."""
        for open_file in self.open.values():
            open_file.close()
        self.open.clear()

    async def _get(self, job: Job, batch: Batch, identity: tuple[int, ...]) -> OpenFile | None:
        open_file = None if job.file_id is None else self.open.pop(job.file_id, None)
        if open_file is None:
            open_file = await self._open(job, batch, identity)
        if open_file is not None:
            self.open[open_file.id] = open_file
        return open_file

    async def _open(self, job: Job, batch: Batch, identity: tuple[int, ...]) -> OpenFile | None:
        catalogue = self.catalogue
        if job.file_id is not None:
            return await self._resume(job.file, job.file_id)
        if (open_file := await self._resume_renamed(job, batch)) is not None:
            return open_file
        open_file = await OpenFile.begin(self._io_thread, job.file, self._make, catalogue.next_number, *identity)
        if open_file is not None:
            job.file_id = open_file.id
            self._warn_of_copy(open_file)
            catalogue.add(open_file.id, open_file.progress())
            batch.checkpoint[""] = save(catalogue.count)
        return open_file

    def _warn_of_copy(self, open_file: OpenFile) -> None:
        beginning = open_file.beginning
        twin = next((other for other in self.open.values() if other.beginning == beginning), None)
        if beginning is not None and twin is not None:
            logger.warning(
                "source %s: %s begins as %s does: if it is a copy, as copytruncate makes one, its lines are read twice;"
                " keep copies out of the path of the source",
                self._name,
                open_file.path,
                twin.path,
            )

    async def _resume(self, file: FileStat, file_id: str) -> OpenFile:
        return await OpenFile.resume(self._io_thread, file, self._make, file_id, self.catalogue.files[file_id])

    async def _resume_renamed(self, job: Job, batch: Batch) -> OpenFile | None:
        """Go on in a copy of a file that is gone."""
        for file_id in job.candidates:
            try:
                open_file = await self._resume(job.file, file_id)
            except Rewritten:
                continue
            if (gone := self.open.pop(file_id, None)) is not None:
                gone.close()
            job.file_id = file_id
            # At once, for the inode of the one that is gone may be given to any other file.
            self._save(file_id, open_file, batch)
            return open_file
        return None

    def _discard(self, file_id: str | None) -> None:
        """Close a file without a word on how far it has come: nothing of what was read counts."""
        open_file = None if file_id is None else self.open.pop(file_id, None)
        if open_file is not None:
            open_file.close()

    def _save(self, file_id: str, open_file: OpenFile, batch: Batch) -> None:
        self.catalogue.files[file_id] = progress = open_file.progress()
        batch.checkpoint[file_id] = save(progress)

    def _refuse(self, job: Job, error: FileError | UnusableFile, batch: Batch) -> None:
        if isinstance(error, UnusableFile):
            self._discard(job.file_id)
        else:
            self.close(job.file_id, batch)
        if self.problem.get(job.file.inode) != str(error):
            logger.warning("source %s: %s; the other files are read", self._name, error)
        self.problem[job.file.inode] = str(error)
        if isinstance(error, UnusableFile):
            self._unusable[job.file.inode] = job.file
