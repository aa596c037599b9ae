"""One open file that is read as a document: as records, decompressed or transcoded, by a `DocumentReader`.

It is read in the I/O thread. Its position is a number of records, or an offset in its content; the file itself is
checked by its size, its head and its last bytes.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from services.system_api.sources.file.documents.reader import DocumentReader
from services.system_api.sources.file.documents.records import UnreadableDocument
from services.system_api.sources.file.filesystem import FileError, FileStat, Rewritten, close, read_spans, status_of
from services.system_api.sources.file.parsing.parser import UnusableFile
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.opened import IncompleteLine
from services.system_api.sources.file.reading.progress import SAMPLE, Progress, new_file_id
from services.system_api.sources.source import Batch
from shared.errors import SettingsError

MakeDocument = Callable[[str, str, BinaryIO, tuple[int, int, int]], DocumentReader]
"""Makes the reader of a file from its id, its path, its bytes, and the part, position and line to resume from.

Called in the I/O thread; may raise `UnreadableDocument`."""


@dataclass(frozen=True, slots=True)
class Documents:
    """A `FileOpener`: opens files as documents."""

    disk: Disk
    make: MakeDocument

    @property
    def unread(self) -> str:
        """See `FileOpener`."""
        return _fingerprint([b"", b""])

    async def begin(self, found: FileStat, number: int, *identity: int) -> "OpenDocument | None":
        """See `FileOpener`."""
        opened = await self.disk.open(found, _spans(found.size))
        file_id = new_file_id(number, found.inode, opened.parts[0], *identity)
        return OpenDocument(self, found, opened.descriptor, file_id, _fingerprint(opened.parts))

    async def resume(self, found: FileStat, file_id: str, left: Progress) -> "OpenDocument":
        """See `FileOpener`."""
        opened = await self.disk.open(found, _spans(left.size))
        if found.size < left.size or _fingerprint(opened.parts) != left.fingerprint:
            self.disk.close(opened.descriptor)
            raise Rewritten(f"{found.path}: the contents that were read are no longer there")
        fingerprint = left.fingerprint
        if found.size > left.size:
            spans = _spans(found.size)
            fingerprint = _fingerprint(await self.disk.run(read_spans, opened.descriptor, found.path, spans))
        return OpenDocument(self, found, opened.descriptor, file_id, fingerprint, left)


class OpenDocument:
    """An `OpenedFile` that is read as a document."""

    def __init__(
        self,
        opener: Documents,
        found: FileStat,
        descriptor: int,
        file_id: str,
        fingerprint: str,
        left: Progress | None = None,
    ) -> None:
        """Use `Documents`."""
        self.id = file_id
        self.path = found.path
        self.inode = found.inode
        self.beginning: bytes | None = None
        self.waiting = False
        self._size = found.size
        self._opener = opener
        self._descriptor = descriptor
        self._fingerprint = fingerprint
        self._left = left
        self._file: BinaryIO | None = None
        self._reader: DocumentReader | None = None
        self._error: UnusableFile | None = None
        self._saved = self._place

    @property
    def _place(self) -> tuple[int, int, int]:
        """Part, position and line."""
        if self._reader is not None:
            return self._reader.part, self._reader.position, self._reader.line
        return (0, 0, 0) if self._left is None else (self._left.part, self._left.position, self._left.line)

    @property
    def unsaved(self) -> bool:
        """See `OpenedFile`."""
        return self._place != self._saved

    @property
    def position(self) -> int:
        """See `OpenedFile`."""
        return self._size

    async def fill(self, batch: Batch, limit: int) -> bool:
        """See `OpenedFile`. An error is raised once the records before it are saved."""
        if self._error is None:
            more = await self._opener.disk.run(self._read, batch, limit)
            if self._error is None:
                return more
        if self.unsaved:
            return True
        raise self._error

    def _read(self, batch: Batch, limit: int) -> bool:
        try:
            if self._reader is None:
                self._file = os.fdopen(os.dup(self._descriptor), "rb")
                self._reader = self._opener.make(self.id, self.path, self._file, self._place)
            return self._reader.read(batch, limit)
        except (UnreadableDocument, UnusableFile) as exc:
            rows = self._rows
            published = f", after {rows} events" if rows else ""
            self._error = UnusableFile(f"{self.path}: not read to its end{published}: {exc}")
        except SettingsError as exc:
            self._error = UnusableFile(str(exc))
        except OSError as exc:
            raise FileError(f"{self.path}: {exc.strerror or exc}") from exc
        return False

    @property
    def _rows(self) -> int:
        return (self._reader.rows if self._reader else 0) + (self._left.rows if self._left else 0)

    def finish(self, _batch: Batch, _limit: int) -> bool:
        """Return False: a document has no open end."""
        return False

    async def status(self) -> FileStat:
        """See `OpenedFile`."""
        return await self._opener.disk.run(status_of, self._descriptor, self.path)

    @property
    def descriptor(self) -> int:
        """See `OpenedFile`."""
        return self._descriptor

    @property
    def incomplete(self) -> IncompleteLine | None:
        """None: a document is read when it is complete."""
        return None

    def abandon_open_quote(self) -> bool:
        """Return False: a document waits for nothing."""
        return False

    def note_look(self, found: FileStat) -> None:
        """See `OpenedFile`."""
        self.path = found.path

    def progress(self, done: FileStat | None = None) -> Progress:
        """See `OpenedFile`."""
        reader, left = self._reader, self._left
        self._saved = part, position, line = self._place
        return Progress(
            path=self.path,
            dev=self.inode[0],
            ino=self.inode[1],
            offset=0 if done is None else done.size,
            line=line,
            fingerprint=self._fingerprint,
            sample=0,
            rows=self._rows,
            rejects=(reader.rejects if reader else 0) + (left.rejects if left else 0),
            truncated=bool((reader and reader.truncated) or (left and left.truncated)),
            done=None if done is None else (done.size, done.mtime),
            part=part,
            position=position,
            size=self._size,
        )

    def close(self) -> None:
        """See `OpenedFile`."""
        self._opener.disk.submit(self._close)

    def release(self) -> None:
        """See `OpenedFile`."""
        self.close()

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._file is not None:
            self._file.close()
        close(self._descriptor)


def _spans(size: int) -> list[tuple[int, int]]:
    """Return the spans of the head and of the last bytes of a file of this size."""
    return [(0, min(SAMPLE, size)), (max(0, size - SAMPLE), min(SAMPLE, size))]


def _fingerprint(samples: list[bytes]) -> str:
    return hashlib.blake2b(b"\n".join(samples), digest_size=8).hexdigest()
