"""One file that is open and being read: its bytes into a parser, and how far that has come."""

from collections.abc import Callable
from typing import Self

from services.system_api.sources.file.filesystem import (
    Found,
    Rewritten,
    attach,
    close,
    is_deleted,
    read_on,
    status_of,
)
from services.system_api.sources.file.io_thread import Disk
from services.system_api.sources.file.parsing.parser import Parser
from services.system_api.sources.file.reading.progress import SAMPLE, Progress, file_id, mark_of
from services.system_api.sources.source import Batch

CHUNK = 262_144
"""Bytes read at once: what is made of them still lies in the processor's cache beside them."""
HEAD = 65_536
"""Bytes within which the header of a CSV file must lie, for reading to go on in the file's middle."""

MakeParser = Callable[[str, str, int, int], Parser]
"""Makes the parser of a file: its id and path, and the offset and line to go on from."""


class Reading:
    """Reads one file, from its beginning or from where it was left.

    Every method that reads may raise `FileTrouble` (the file cannot be read), `Replaced` (its path leads elsewhere by
    now), `Rewritten` (it has other contents than when it was read) and `Unusable` (nothing can be made of it in this
    format).
    """

    def __init__(self, disk: Disk, found: Found, descriptor: int, parser: Parser, known_as: str) -> None:
        """Use `begin` or `resume`."""
        self.id = known_as
        self.path = found.path
        self.inode = found.inode
        self.parser = parser
        self._disk = disk
        self._descriptor = descriptor
        self._head = b""
        self._before = b""
        """What lies right before the position."""
        self._position = self._saved = parser.splitter.offset
        self._earlier: Progress | None = None

    @classmethod
    async def begin(cls, disk: Disk, found: Found, make: MakeParser, number: int, *identity: int) -> Self | None:
        """Open a file that is new; `identity` is what else its id is made of.

        Nothing comes of an empty one, unless it has an identity beside its contents.
        """
        descriptor, (head,) = await disk.run(attach, found.path, found.inode, [(0, SAMPLE)])
        if not head and not identity:
            disk.later(close, descriptor)
            return None
        known_as = file_id(number, found.inode, head, *identity)
        reading = cls(disk, found, descriptor, make(known_as, found.path, 0, 0), known_as)
        reading._head = head
        return reading

    @classmethod
    async def resume(cls, disk: Disk, found: Found, make: MakeParser, known_as: str, left: Progress) -> Self:
        """Open a file that was read before, and check that it is the one."""
        sampled = left.offset - 1 - left.sample
        before = max(0, left.offset - SAMPLE)
        spans = [(0, HEAD), (max(0, sampled), left.sample), (before, left.offset - before)]
        descriptor, (head, last, tail) = await disk.run(attach, found.path, found.inode, spans)
        try:
            _check_mark(found, left, head, last, tail)
            parser = make(known_as, found.path, left.offset, left.line)
            if left.offset:
                parser.resume(head)
                parser.last = last
        except BaseException:
            disk.later(close, descriptor)
            raise
        reading = cls(disk, found, descriptor, parser, known_as)
        reading._head, reading._before, reading._earlier = head[:SAMPLE], tail, left
        return reading

    @property
    def moved(self) -> bool:
        """Whether there is progress that was not saved."""
        return self.parser.splitter.offset != self._saved

    @property
    def waiting(self) -> bool:
        """Whether lines were read that have not been taken."""
        return self.parser.splitter.waiting

    @property
    def position(self) -> int:
        """How far the file was read, incomplete lines included."""
        return self._position

    @property
    def beginning(self) -> bytes | None:
        """What tells a copy of this file from others; None where it is too short for that."""
        return self._head if len(self._head) == SAMPLE else None

    async def fill(self, batch: Batch, limit: int) -> bool:
        """Read on and take, until the batch holds `limit` events and rejects; return whether the file may have more."""
        parser = self.parser
        if not parser.splitter.waiting:
            data = await self._disk.run(read_on, self._descriptor, self.path, self._position, self._before, CHUNK)
            if not data:
                return False
            if self._position < SAMPLE:
                self._head = (self._head[: self._position] + data)[:SAMPLE]
            self._position += len(data)
            self._before = (data if len(data) >= SAMPLE else self._before + data)[-SAMPLE:]
            parser.splitter.feed(data)
        parser.take(batch, limit)
        return True

    def finish(self, batch: Batch, limit: int) -> bool:
        """Take what the file ends with, where that is no newline; return whether something was left out.

        Only when `fill` has found the end; the file cannot be read on afterwards.
        """
        splitter = self.parser.splitter
        if not splitter.waiting and splitter.incomplete:
            splitter.finish()
        self.parser.take(batch, limit)
        return splitter.waiting

    async def status(self) -> Found:
        """Return what the file looks like now."""
        return await self._disk.run(status_of, self._descriptor, self.path)

    async def deleted(self) -> bool:
        """Whether the file has no name left: one that was only moved may grow for a while."""
        return await self._disk.run(is_deleted, self._descriptor)

    def progress(self, done: Found | None = None) -> Progress:
        """Return the place to save, and count it as saved; `done` is the file of which all has been read."""
        parser, earlier = self.parser, self._earlier
        self._saved = offset = parser.splitter.offset
        last = parser.last[-SAMPLE:]
        return Progress(
            path=self.path,
            dev=self.inode[0],
            ino=self.inode[1],
            offset=offset,
            line=parser.line,
            mark=mark_of(self._head[: min(SAMPLE, offset)], last),
            sample=len(last),
            rows=parser.rows + (earlier.rows if earlier else 0),
            rejects=parser.rejects + (earlier.rejects if earlier else 0),
            cut=parser.cut or (earlier is not None and earlier.cut),
            done=None if done is None else (done.size, done.mtime),
        )

    def close(self) -> None:
        """Close the file, some time."""
        self._disk.later(close, self._descriptor)


def _check_mark(found: Found, left: Progress, head: bytes, last: bytes, tail: bytes) -> None:
    if len(tail) < min(SAMPLE, left.offset) or mark_of(head[: left.head], last) != left.mark:
        raise Rewritten(f"{found.path}: what was read up to byte {left.offset} is not there any more")
