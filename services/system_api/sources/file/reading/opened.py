"""What `OpenFiles` needs of an open file, and of what opens one."""

from typing import Protocol

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.progress import Progress
from services.system_api.sources.source import Batch


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

    async def deleted(self) -> bool:
        """Whether the file has no name left."""
        ...

    def progress(self, done: FileStat | None = None) -> Progress:
        """Return the position to save, and count it as saved; `done` is passed when the whole file has been read."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class FileOpener(Protocol):
    """Opens files for reading."""

    async def begin(self, found: FileStat, number: int, *identity: int) -> OpenedFile | None:
        """Open a new file; `number` and `identity` become part of its id. None if nothing can be told of it yet."""
        ...

    async def resume(self, found: FileStat, file_id: str, left: Progress) -> OpenedFile:
        """Open a file that was read before, and check that its contents are still those that were read."""
        ...
