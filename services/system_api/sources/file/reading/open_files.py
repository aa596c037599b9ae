"""The open files of a source: reads them one at a time, and collects the parts of the checkpoint that moved."""

import logging
from collections.abc import Iterable

import msgspec

from services.system_api.sources.file.filesystem import FileError, FileStat, Replaced, Rewritten
from services.system_api.sources.file.parsing.parser import UnusableFile
from services.system_api.sources.file.reading.begun import Begun
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.file_problems import FileProblems
from services.system_api.sources.file.reading.jobs import Job, Outcome
from services.system_api.sources.file.reading.open_file import CHUNK
from services.system_api.sources.file.reading.opened import FileOpener, OpenedFile
from services.system_api.sources.file.reading.progress import Progress, new_file_id, passed_over, save
from services.system_api.sources.file.start import FROM_BEGINNING
from services.system_api.sources.source import Batch

logger = logging.getLogger(__name__)

BATCH_BYTES = 4_194_304
"""What reading for one batch may cost: `limit` bounds its events, this bounds its bytes."""
_LEAST = 4096
"""What reading one file costs at least."""
_OPEN_LIMIT = 64
"""Files that keep a parser and its buffers. More files are held open without them."""


class OpenFiles:
    """Opens files, reads them, and tracks the position in each."""

    def __init__(self, source: str, opener: FileOpener, disk: Disk, catalogue: Catalogue) -> None:
        """`source` is the name of the source, for the log."""
        self.open: dict[str, OpenedFile] = {}
        """By id, the least recently read first."""
        self.catalogue = catalogue
        self.disk = disk
        self.start = FROM_BEGINNING
        self.problems = FileProblems(source)
        self.spent = 0
        """What reading has cost so far, in bytes: those that were read, and some for each file."""
        self._fields: dict[str, object] = {"component": "source", "source": source}
        self._opener = opener
        self._stat_at_end: dict[str, tuple[int, int]] = {}
        """By id: size and modification time of files when their end was read."""
        self._checkpoint: dict[str, bytes | None] = {}
        """Parts of the checkpoint that moved since it was last taken."""
        self.begun = Begun()

    async def read(self, job: Job, batch: Batch, limit: int, *identity: int) -> Outcome:
        """Read on in a file, and append to the batch until it holds `limit` events and rejects.

        `identity` is hashed into the id of a new file.
        """
        try:
            open_file = await self._get(job, identity)
            more = open_file is not None and await self._fill(open_file, batch, limit)
        except (FileError, UnusableFile) as exc:
            self._note_problem(job, exc)
            return Outcome.SKIPPED
        except Replaced:
            self.close(job.file_id)
            return Outcome.SKIPPED  # the next look shows what happened to it
        except Rewritten as exc:
            return self._after_rewrite(job, exc)
        self.problems.clear(job.file)
        if open_file is None:
            return Outcome.SKIPPED
        if more:
            return Outcome.MORE
        self._stat_at_end[open_file.id] = (job.file.size, job.file.mtime)
        return Outcome.END

    async def _fill(self, open_file: OpenedFile, batch: Batch, limit: int) -> bool:
        before = open_file.position
        more = await open_file.fill(batch, limit)
        # The position of a document does not tell how much of it was read.
        self.spent += max(_LEAST, open_file.position - before) if open_file.position > before or not more else CHUNK
        return more

    def finish(self, job: Job, batch: Batch, limit: int) -> Outcome:
        """Append what a file ends with if that is no newline. Only after `read` has returned END."""
        assert job.file_id is not None, "it is open"
        try:
            return Outcome.MORE if self.open[job.file_id].finish(batch, limit) else Outcome.END
        except UnusableFile as exc:
            self._note_problem(job, exc)
            return Outcome.SKIPPED

    def complete(self, job: Job) -> bytes:
        """Close a file of which everything has been read; return the part of the checkpoint that says so."""
        assert job.file_id is not None, "it is open"
        open_file = self.open.pop(job.file_id)
        part = self._put(job.file_id, open_file.progress(done=job.file))
        open_file.release()
        return part

    def pass_over(self, files: Iterable[FileStat], *, whole: bool) -> None:
        """Leave unread what these new files hold, and of `whole` files what comes; note that the source was started."""
        for file in files:
            file_id = new_file_id(self.catalogue.next_number, file.inode, b"", file.size, file.mtime)
            self.catalogue.add(file_id, progress := passed_over(file, self._opener.unread, whole=whole))
            self._checkpoint[file_id] = save(progress)
        self.catalogue.count = msgspec.structs.replace(self.catalogue.count, started=True)
        self.save_count()

    def end(self, file_id: str) -> None:
        """Close a file that has left, and of which all that can be read was read."""
        self.close(file_id)
        known = msgspec.structs.replace(self.catalogue.files[file_id], ended=True)
        self._put(file_id, known)
        self.disk.release(FileStat(known.path, *known.inode, 0, 0))

    def save_complete(self, file_id: str, *, complete: bool) -> None:
        """Save whether nothing more is expected in a file."""
        self._put(file_id, msgspec.structs.replace(self.catalogue.files[file_id], complete=complete))

    def found(self, file: FileStat) -> str | None:
        """Note that a file is where it belongs; return its id if it is known."""
        before = self.catalogue.path_of(file.inode)
        file_id = self.catalogue.note_found(file)
        if file_id is not None and ((known := self.catalogue.files[file_id]).ended or before != file.path):
            self._put(file_id, msgspec.structs.replace(known, ended=False))
        return file_id

    def move(self, file_id: str, file: FileStat) -> None:
        """Save a new path and inode of a file."""
        before = self.catalogue.files[file_id]
        if (moved := self.catalogue.move(file_id, file)) is not before:
            self._checkpoint[file_id] = save(moved)

    def save_count(self) -> None:
        """Save what is known of the source itself."""
        self._checkpoint[""] = save(self.catalogue.count)

    def take_checkpoint(self) -> dict[str, bytes | None]:
        """Return the parts of the checkpoint that moved since the last call; None removes a part."""
        for file_id, open_file in self.open.items():
            if open_file.unsaved:
                self._save(file_id, open_file)
        moved, self._checkpoint = self._checkpoint, {}
        return moved

    def stat_at_end(self, file_id: str) -> tuple[int, int] | None:
        """Return the size and modification time (ns) of a file when its end was read; None if it was not."""
        return self._stat_at_end.get(file_id)

    def idle(self, file_id: str, file: FileStat) -> bool:
        """Whether a file has nothing new: it is as it was when its end was read, or when it was found unusable.

        A file that was rewritten at its size, or got the inode of one that was deleted, differs in its time.
        """
        return self._stat_at_end.get(file_id) == (file.size, file.mtime) or self.problems.unusable(file)

    async def unchanged(self, job: Job) -> bool:
        """Whether an open file has the size and the modification time that the last look showed."""
        assert job.file_id is not None, "it is open"
        try:
            now = await self.open[job.file_id].status()
        except FileError as exc:
            self._note_problem(job, exc)
            return False
        return (now.size, now.mtime) == (job.file.size, job.file.mtime)

    async def agrees(self, file: FileStat, file_id: str) -> bool:
        """Whether a file has the contents that were read of a known one, as far as its fingerprint tells."""
        try:
            open_file = await self._resume(file, file_id)
        except (FileError, Replaced, Rewritten, UnusableFile):
            return False
        open_file.close()
        return True

    def close(self, file_id: str | None) -> None:
        """Stop reading a file and save the position in it; it may stay open without its parser."""
        open_file = None if file_id is None else self.open.pop(file_id, None)
        if open_file is not None:
            if open_file.unsaved:
                self._save(open_file.id, open_file)
            open_file.close()

    def close_idle(self) -> None:
        """Close the least recently read files if too many are open."""
        for file_id in list(self.open)[: max(0, len(self.open) - _OPEN_LIMIT)]:
            self.close(file_id)

    def close_all(self) -> None:
        """Close all files; positions that were not saved are lost."""
        for open_file in self.open.values():
            open_file.close()
        self.open.clear()

    def forget(self, file_id: str | None) -> None:
        """Close a file and remove it from the catalogue and the checkpoint."""
        if file_id is None:
            return
        known = self.catalogue.files.get(file_id)
        self._discard(file_id)
        self._stat_at_end.pop(file_id, None)
        if known is not None and self.catalogue.forget(file_id):
            self.disk.release(FileStat(known.path, *known.inode, 0, 0))
            self._checkpoint[file_id] = None

    async def _get(self, job: Job, identity: tuple[int, ...]) -> OpenedFile | None:
        open_file = None if job.file_id is None else self.open.pop(job.file_id, None)
        if open_file is None:
            open_file = await self._open(job, identity)
        if open_file is not None:
            open_file.note_look(job.file)
            self.open[open_file.id] = open_file
        return open_file

    async def _open(self, job: Job, identity: tuple[int, ...]) -> OpenedFile | None:
        catalogue = self.catalogue
        if job.file_id is not None:
            return await self._resume(job.file, job.file_id)
        if (open_file := await self._resume_candidate(job)) is not None:
            return open_file
        open_file = await self._opener.begin(job.file, catalogue.next_number, *identity)
        if open_file is not None:
            job.file_id = open_file.id
            self._warn_of_copy(open_file)
            catalogue.add(open_file.id, progress := open_file.progress())
            self.save_count()
            self.begun.add({"": save(catalogue.count), open_file.id: save(progress)})
        return open_file

    async def _resume(self, file: FileStat, file_id: str) -> OpenedFile:
        return await self._opener.resume(file, file_id, self.catalogue.files[file_id])

    async def _resume_candidate(self, job: Job) -> OpenedFile | None:
        """Continue a missing file in the file that has its name and its contents."""
        for file_id in job.candidates:
            if (missing := self.open.get(file_id)) is not None and missing.unsaved:
                self._save(file_id, missing)
            try:
                open_file = await self._resume(job.file, file_id)
            except Rewritten:
                continue
            if (missing := self.open.pop(file_id, None)) is not None:
                missing.release()
            known = self.catalogue.files[file_id]
            self.disk.release(FileStat(known.path, *known.inode, 0, 0))
            job.file_id = file_id
            self.catalogue.continue_in(file_id)
            # At once, for the old inode may be reused by any other file.
            self._save(file_id, open_file)
            return open_file
        return None

    def _warn_of_copy(self, open_file: OpenedFile) -> None:
        beginning = open_file.beginning
        original = next((other for other in self.open.values() if other.beginning == beginning), None)
        if beginning is not None and original is not None:
            logger.warning(
                "file begins like another open file; lines of a copy are read twice, keep copies out of the path",
                extra=self._fields | {"path": open_file.path, "original": original.path},
            )

    def _after_rewrite(self, job: Job, error: Rewritten) -> Outcome:
        if job.file_id in self.open:
            # Perhaps only an incomplete line was taken back: reopened, the file is compared by its complete lines.
            self.close(job.file_id)
            return Outcome.MORE
        logger.warning(
            "file was rewritten; reading it from the beginning",
            extra=self._fields | {"path": job.file.path, "error": str(error)},
        )
        return Outcome.REWRITTEN

    def _note_problem(self, job: Job, error: FileError | UnusableFile) -> None:
        unusable = isinstance(error, UnusableFile)
        if unusable:
            self._discard(job.file_id)
        else:
            self.close(job.file_id)
        self.problems.note(job.file, str(error), unusable=unusable)

    def _discard(self, file_id: str | None) -> None:
        """Close a file without saving the position in it."""
        open_file = None if file_id is None else self.open.pop(file_id, None)
        if open_file is not None:
            open_file.close()

    def _save(self, file_id: str, open_file: OpenedFile) -> None:
        self._put(file_id, open_file.progress())

    def _put(self, file_id: str, progress: Progress) -> bytes:
        """Save the progress of a known file; return the part of the checkpoint."""
        self.catalogue.update(file_id, progress)
        self._checkpoint[file_id] = part = save(progress)
        return part
