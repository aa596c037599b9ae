"""One open file: reads its bytes into a parser and tracks the position."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from services.system_api.sources.file.filesystem import FileStat, Rewritten, read_on, status_of
from services.system_api.sources.file.parsing.parser import Parser
from services.system_api.sources.file.reading.disk import Disk, Opened
from services.system_api.sources.file.reading.opened import IncompleteLine
from services.system_api.sources.file.reading.progress import (
    SAMPLE,
    Progress,
    as_split,
    begun_with,
    fingerprint_of,
    is_known,
    known_spans,
    new_file_id,
)
from services.system_api.sources.source import Batch

CHUNK = 262_144
"""Bytes read at once: small enough that they and the events made of them fit the processor's cache."""
_FIRST = 16_384
"""Bytes that are read when a file is opened: all that is new in most files, so that nothing else need be read."""

MakeParser = Callable[[str, str, int, int], Parser]
"""Makes the parser of a file from its id and path, and the offset and line to resume from."""


@dataclass(frozen=True, slots=True)
class LineFiles:
    """A `FileOpener`: opens files of lines or rows in UTF-8."""

    disk: Disk
    make: MakeParser
    unread: ClassVar = fingerprint_of(b"", b"")

    async def begin(self, found: FileStat, number: int, *identity: int) -> "OpenFile | None":
        """See `FileOpener`."""
        return await OpenFile.begin(self.disk, found, self.make, number, *identity)

    async def resume(self, found: FileStat, file_id: str, left: Progress) -> "OpenFile":
        """See `FileOpener`."""
        return await OpenFile.resume(self.disk, found, self.make, file_id, left)


class OpenFile:
    """Reads one file, from its beginning or from a saved position.

    Every method that reads may raise `FileError` (the file cannot be read), `Replaced` (its path names another file
    now), `Rewritten` (its contents are not those that were read) and `UnusableFile` (it is not of this format).
    """

    def __init__(self, disk: Disk, found: FileStat, opened: Opened, parser: Parser, file_id: str) -> None:
        """Use `begin` or `resume`."""
        self.id = file_id
        self.path = found.path
        self.inode = found.inode
        self.parser = parser
        self.mtime = found.mtime
        """The modification time that the last look showed."""
        self._disk = disk
        self._descriptor = opened.descriptor
        self._real = opened.real
        self._head = b""
        self._before = b""
        """The bytes right before the position."""
        self._position = self._saved = parser.splitter.offset
        self._size = found.size
        """The size that the last look showed."""
        self._first: bytes | None = None
        """What was read at the position when the file was opened."""
        self._at_end = False
        """Whether the last read ended before the size that it asked for, at the size that the last look showed."""
        self._earlier: Progress | None = None

    @classmethod
    async def begin(cls, disk: Disk, found: FileStat, make: MakeParser, number: int, *identity: int) -> Self | None:
        """Open a new file; `identity` is hashed into its id.

        Returns None for an empty file without an `identity`: it could not be distinguished from another empty file.
        """
        opened = await disk.open(found, [(0, _FIRST)])
        (first,) = opened.parts
        head = first[:SAMPLE]
        if not head and not identity:
            disk.keep(found, opened.descriptor)
            return None
        file_id = new_file_id(number, found.inode, head, *identity)
        open_file = cls(disk, found, opened, make(file_id, found.path, 0, 0), file_id)
        open_file._head, open_file._first = head, first
        return open_file

    @classmethod
    async def resume(cls, disk: Disk, found: FileStat, make: MakeParser, file_id: str, left: Progress) -> Self:
        """Open a file that was read before, and check that its contents are still those that were read."""
        opened = await disk.open(found, [*known_spans(left), (left.offset, _FIRST)])
        head, last, tail, first = opened.parts
        try:
            _check_known(found, left, (head, last, tail))
            parser = make(file_id, found.path, left.offset, left.line)
            if left.carriage_returns:
                parser.splitter.use_carriage_returns()
            if left.offset:
                parser.resume(head, left.delimiter)
                parser.last = as_split(left, last)
            parser.begin = left.begin
        except BaseException:
            disk.keep(found, opened.descriptor)
            raise
        open_file = cls(disk, found, opened, parser, file_id)
        open_file._head, open_file._before, open_file._first = head[:SAMPLE], tail, first
        open_file._earlier = left
        return open_file

    def note_look(self, found: FileStat) -> None:
        """Note where the file is, and its modification time."""
        if (found.size, found.mtime) != (self._size, self.mtime):
            self._at_end = False
        self.path, self.mtime, self._size = found.path, found.mtime, found.size

    @property
    def unsaved(self) -> bool:
        """Whether the position has moved since it was last saved."""
        return self.parser.splitter.offset != self._saved

    @property
    def descriptor(self) -> int:
        """The descriptor of the file, as long as it is open."""
        return self._descriptor

    @property
    def waiting(self) -> bool:
        """Whether lines were read that are not in a batch yet."""
        return self.parser.splitter.waiting

    @property
    def position(self) -> int:
        """The offset up to which the file was read, incomplete lines included."""
        return self._position

    @property
    def beginning(self) -> bytes | None:
        """The head of the file, by which a copy is recognised; None if the file is too short for that."""
        return self._head if len(self._head) == SAMPLE else None

    async def fill(self, batch: Batch, limit: int) -> bool:
        """Read on; append to the batch until it holds `limit` events and rejects; return whether there may be more."""
        parser = self.parser
        if not parser.splitter.waiting:
            data = await self._read_on()
            if not data:
                return False
            if self._position < SAMPLE:
                self._head = (self._head[: self._position] + data)[:SAMPLE]
            self._position += len(data)
            self._before = (data if len(data) >= SAMPLE else self._before + data)[-SAMPLE:]
            parser.feed(data)
        parser.take(batch, limit)
        return True

    async def _read_on(self) -> bytes:
        """Return the next bytes of the file; none at its end."""
        if self._at_end:  # as the read before has shown
            self._at_end = False
            return b""
        data, asked, self._first = self._first, _FIRST, None
        if data is None or (not data and self._position < self._size):
            data = await self._disk.run(read_on, self._descriptor, self.path, self._position, self._before, CHUNK)
            asked = CHUNK
        # A read may be short before the end, on a file server; a file that has grown since the look is looked at again.
        self._at_end = 0 < len(data) < asked and self._position + len(data) >= self._size
        return data

    def finish(self, batch: Batch, limit: int) -> bool:
        """Append what the file ends with if that is no newline; return whether something is left to append.

        Only when `fill` has found the end; afterwards the file cannot be read on.
        """
        splitter = self.parser.splitter
        if not splitter.waiting and splitter.incomplete:
            splitter.finish()
        self.parser.take(batch, limit)
        return splitter.waiting

    async def status(self) -> FileStat:
        """Return the current size and modification time."""
        return await self._disk.run(status_of, self._descriptor, self.path)

    def progress(self, done: FileStat | None = None) -> Progress:
        """Return the position to save, and count it as saved; `done` is passed when the whole file has been read."""
        parser, earlier = self.parser, self._earlier
        self._saved = offset = parser.splitter.offset
        last = parser.last[-SAMPLE:]
        return Progress(
            path=self.path,
            real="" if self._real == self.path else self._real,
            dev=self.inode[0],
            ino=self.inode[1],
            offset=offset,
            line=parser.line,
            fingerprint=fingerprint_of(self._head[: min(SAMPLE, offset)], last),
            sample=len(last),
            mtime=self.mtime,
            rows=parser.rows + (earlier.rows if earlier else 0),
            rejects=parser.rejects + (earlier.rejects if earlier else 0),
            carriage_returns=parser.splitter.carriage_returns,
            delimiter=parser.delimiter or (earlier.delimiter if earlier else ""),
            truncated=parser.truncated or (earlier is not None and earlier.truncated),
            begin=parser.begin,
            begun=None if offset else begun_with(self._head),
            done=None if done is None else (done.size, done.mtime),
        )

    @property
    def incomplete(self) -> IncompleteLine | None:
        """The line or row at the end of what was read, if it has begun; see `OpenedFile`."""
        splitter = self.parser.splitter
        if not splitter.incomplete:
            return None
        return IncompleteLine(splitter.offset, self.parser.line + 1, splitter.incomplete, splitter.open_lines - 1)

    def abandon_open_quote(self) -> bool:
        """Stop waiting for a closing quote; see `OpenedFile`."""
        return self.parser.splitter.abandon_open_quote()

    def close(self) -> None:
        """Stop reading. The file may stay open, to be read on when it has left its path."""
        self._disk.keep(FileStat(self.path, *self.inode, 0, 0), self._descriptor)

    def release(self) -> None:
        """Stop reading, and close the file: nothing of it is wanted any more."""
        self._disk.close(self._descriptor)


def _check_known(found: FileStat, left: Progress, parts: Sequence[bytes]) -> None:
    if not is_known(left, found.size, parts):
        raise Rewritten(f"{found.path}: the contents read up to byte {left.offset} are no longer there")
