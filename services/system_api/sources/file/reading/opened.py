"""What `OpenFiles` needs of an open file, and of what opens one."""

from typing import NamedTuple, Protocol

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.progress import Progress
from services.system_api.sources.source import Batch


class IncompleteLine(NamedTuple):
    """A line or row that has begun and has no end yet."""

    offset: int
    line: int
    """Its number in the file."""
    size: int
    behind: int
    """Complete lines behind it that wait because a quote in it is open; -1 if no quote is open."""


class OpenedFile(Protocol):
    """A file that is read on from a position.

    Every method that reads may raise `FileError` (the file cannot be read), `Replaced` (its path names another file
    now), `Rewritten` (its contents are not those that were read) and `UnusableFile` (it is not of this format, or
    nothing more of it can be read; the position does not move).
    """

    id: str
    path: str
    inode: tuple[int, int]

    @property
    def unsaved(self) -> bool:
        """Whether the position has moved since it was last saved."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether something was read that is not in a batch yet."""
        ...

    @property
    def position(self) -> int:
        """The offset up to which the file was read."""
        ...

    @property
    def beginning(self) -> bytes | None:
        """The head of the file, by which a copy is recognised; None if the file is too short for that."""
        ...

    async def fill(self, batch: Batch, limit: int) -> bool:
        """Read on; append to the batch until it holds `limit` events and rejects; return whether there may be more."""
        ...

    def finish(self, batch: Batch, limit: int) -> bool:
        """Append what is left at the end of the file; return whether something is left to append."""
        ...

    async def status(self) -> FileStat:
        """Return the current size and modification time."""
        ...

    def progress(self, done: FileStat | None = None) -> Progress:
        """Return the position to save, and count it as saved; `done` is passed when the whole file has been read."""
        ...

    @property
    def descriptor(self) -> int:
        """The descriptor of the file, as long as it is open."""
        ...

    @property
    def incomplete(self) -> IncompleteLine | None:
        """The line or row at the end of what was read, if it has begun and its end has not come yet."""
        ...

    def abandon_open_quote(self) -> bool:
        """Stop waiting for a closing quote if all lines behind the open one are rows; return whether they are.

        Only when nothing is waiting. Then `fill` returns them.
        """
        ...

    def note_look(self, found: FileStat) -> None:
        """Note where the file is, and its modification time."""
        ...

    def close(self) -> None:
        """Stop reading. The file may stay open, to be read on when it has left its path."""
        ...

    def release(self) -> None:
        """Stop reading, and close the file: nothing of it is wanted any more."""
        ...


class FileOpener(Protocol):
    """Opens files for reading."""

    @property
    def unread(self) -> str:
        """The fingerprint of a file of which nothing was read."""
        ...

    async def begin(self, found: FileStat, number: int, *identity: int) -> OpenedFile | None:
        """Open a new file; `number` and `identity` become part of its id. None if nothing can be told of it yet."""
        ...

    async def resume(self, found: FileStat, file_id: str, left: Progress) -> OpenedFile:
        """Open a file that was read before, and check that its contents are still those that were read."""
        ...
