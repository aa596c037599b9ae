"""Opens the files of a source on its I/O thread, or takes those that are held open."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, ParamSpec, TypeVar

from services.system_api.sources.file.filesystem import FileStat, close, open_verified, path_of, read_spans
from services.system_api.sources.file.held_files import HeldFiles
from services.system_api.sources.file.io_thread import IoThread

P = ParamSpec("P")
T = TypeVar("T")


class Opened(NamedTuple):
    """An open file, and what was read of it."""

    descriptor: int
    parts: list[bytes]
    """The bytes of the spans that were asked for."""
    real: str
    """Its path without links."""


class Disk:
    """The I/O thread of a source, and its held files."""

    def __init__(self, io_thread: IoThread, held: HeldFiles) -> None:
        self.held = held
        self._io_thread = io_thread
        self._opened: Opened | None = None
        """What was opened last, until the caller has it."""

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in the I/O thread and return its result."""
        return await self._io_thread.run(work, *args, **kwargs)

    async def open(self, file: FileStat, spans: Sequence[tuple[int, int]]) -> Opened:
        """Open a file and read some spans (offset and size) of it.

        Raises:
            FileError: it cannot be read.
            Replaced: it is not held, and its path names another file now, or none.
        """
        try:
            opened = await self._io_thread.run(self._open, file, spans)
        except asyncio.CancelledError:
            self._io_thread.submit(self._give_back, file)
            raise
        self._opened = None
        return opened

    def keep(self, file: FileStat, descriptor: int) -> None:
        """Hold an open file, or close it where the limit does not allow that."""
        self.held.give(file.inode, file.path, descriptor, self.close)

    def submit(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `work` in the I/O thread without waiting for it; it must not raise."""
        self._io_thread.submit(work, *args, **kwargs)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        self._io_thread.submit(close, descriptor)

    def release(self, file: FileStat) -> None:
        """Close a file if it is held."""
        self._io_thread.submit(self.held.release, file.inode)

    def release_all(self) -> None:
        """Close all held files."""
        self._io_thread.submit(self.held.release_all)

    def _open(self, file: FileStat, spans: Sequence[tuple[int, int]]) -> Opened:
        descriptor = self.held.take(file.inode)
        if descriptor is None:
            descriptor, parts = open_verified(file.path, file.inode, spans)
        else:
            parts = read_spans(descriptor, file.path, spans)
        self._opened = Opened(descriptor, parts, path_of(descriptor, file.path))
        return self._opened

    def _give_back(self, file: FileStat) -> None:
        """Hold what was opened for a caller that was cancelled."""
        opened, self._opened = self._opened, None
        if opened is not None:
            self.held.give(file.inode, file.path, opened.descriptor, close)
