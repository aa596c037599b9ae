"""One file that is open and being read: its bytes into a parser, and how far that has come."""

from collections.abc import Callable
from typing import Self

from services.system_api.sources.file.filesystem import (
    FileStat,
    Rewritten,
    close,
    is_deleted,
    open_verified,
    read_on,
    status_of,
)
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.parsing.parser import Parser
from services.system_api.sources.file.reading.progress import SAMPLE, Progress, fingerprint_of, new_file_id
from services.system_api.sources.source import Batch

CHUNK = 262_144
"""Bytes read at once: what is made of them still lies in the processor's cache beside them."""
HEAD = 65_536
"""Bytes within which the header of a CSV file must lie, for open_file to go on in the file's middle."""

MakeParser = Callable[[str, str, int, int], Parser]
"""Makes the parser of a file: its id and path, and the offset and line to go on from."""


class OpenFile:
    """Reads one file, from its beginning or from where it was left.

    Every method that reads may raise `FileTrouble` (the file cannot be read), `Replaced` (its path leads elsewhere by
    now), `Rewritten` (it has other contents than when it was read) and `Unusable` (nothing can be made of it in this
    format).
    """

    def __init__(self, io_thread: IoThread, found: FileStat, descriptor: int, parser: Parser, file_id: str) -> None:
        """Use `begin` or `resume`."""
        self.id = file_id
        self.path = found.path
        self.inode = found.inode
        self.parser = parser
        self._io_thread = io_thread
        self._descriptor = descriptor
        self._head = b""
        self._before = b""
        """What lies right before the position."""
        self._position = self._saved = parser.splitter.offset
        self._earlier: Progress | None = None

    @classmethod
    async def begin(
        cls, io_thread: IoThread, found: FileStat, make: MakeParser, number: int, *identity: int
    ) -> Self | None:
        """Open a file that is new; `identity` is what else its id is made of.

        Nothing comes of an empty one, unless it has an identity beside its contents.
        """
        descriptor, (head,) = await io_thread.run(open_verified, found.path, found.inode, [(0, SAMPLE)])
        if not head and not identity:
            io_thread.submit(close, descriptor)
            return None
        file_id = new_file_id(number, found.inode, head, *identity)
        open_file = cls(io_thread, found, descriptor, make(file_id, found.path, 0, 0), file_id)
        open_file._head = head
        return open_file

    @classmethod
    async def resume(cls, io_thread: IoThread, found: FileStat, make: MakeParser, file_id: str, left: Progress) -> Self:
        """Open a file that was read before, and check that it is the one."""
        sampled = left.offset - 1 - left.sample
        before = max(0, left.offset - SAMPLE)
        spans = [(0, HEAD), (max(0, sampled), left.sample), (before, left.offset - before)]
        descriptor, (head, last, tail) = await io_thread.run(open_verified, found.path, found.inode, spans)
        try:
            _check_fingerprint(found, left, head, last, tail)
            parser = make(file_id, found.path, left.offset, left.line)
            if left.offset:
                parser.resume(head)
                parser.last = last
        except BaseException:
            io_thread.submit(close, descriptor)
            raise
        open_file = cls(io_thread, found, descriptor, parser, file_id)
        open_file._head, open_file._before, open_file._earlier = head[:SAMPLE], tail, left
        return open_file

    @property
    def unsaved(self) -> bool:
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
            data = await self._io_thread.run(read_on, self._descriptor, self.path, self._position, self._before, CHUNK)
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

    async def status(self) -> FileStat:
        """Return what the file looks like now."""
        return await self._io_thread.run(status_of, self._descriptor, self.path)

    async def deleted(self) -> bool:
        """Whether the file has no name left: one that was only moved may grow for a while."""
        return await self._io_thread.run(is_deleted, self._descriptor)

    def progress(self, done: FileStat | None = None) -> Progress:
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
            fingerprint=fingerprint_of(self._head[: min(SAMPLE, offset)], last),
            sample=len(last),
            rows=parser.rows + (earlier.rows if earlier else 0),
            rejects=parser.rejects + (earlier.rejects if earlier else 0),
            truncated=parser.truncated or (earlier is not None and earlier.truncated),
            done=None if done is None else (done.size, done.mtime),
        )

    def close(self) -> None:
        """Close the file, some time."""
        self._io_thread.submit(close, self._descriptor)


def _check_fingerprint(found: FileStat, left: Progress, head: bytes, last: bytes, tail: bytes) -> None:
    if len(tail) < min(SAMPLE, left.offset) or fingerprint_of(head[: left.head], last) != left.fingerprint:
        raise Rewritten(f"{found.path}: what was read up to byte {left.offset} is not there any more")
