"""Counts the events of the files that are there, so that they can be compared with what is published of them.

Each file is read again up to its saved position, as it was read first, and nothing is built of it. What cannot be
compared is said: files that are gone or were rewritten, rows behind the saved position, and rows without a time.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from services.system_api.sources.file.filesystem import FileError, Replaced, Rewritten, regular_file
from services.system_api.sources.file.parsing.parser import UnusableFile
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.opened import FileOpener, OpenedFile
from services.system_api.sources.file.reading.progress import Progress, unread
from services.system_api.sources.source import Batch, EventBuilder, NumberedEvent
from shared.bus.protocol import Outgoing
from shared.errors import Malformed, SettingsError

STEP = 10_000
"""Rows that are read at once."""
_NOTHING = Outgoing(b"", None, ())
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_SHOWN = 20
"""Files that are named one by one."""


class _Known(Protocol):
    """What a checkpoint has of a file."""

    @property
    def path(self) -> str: ...
    @property
    def passed_over(self) -> bool: ...


Known = TypeVar("Known", bound=_Known)
Known_contra = TypeVar("Known_contra", bound=_Known, contravariant=True)


class Place(NamedTuple):
    """A place in a file: of a document the part and the number of a record, else the offset."""

    part: int
    number: int


class EventCounter(EventBuilder):
    """Counts events instead of building them."""

    def count_in(self, since: datetime, until: datetime, end: Place) -> None:
        """Count from now on the events of a file that are before `end`, and whose time is within [since, until)."""
        self._range, self._end = (since, until), end
        self.events = 0
        self.timeless = set[str]()
        """Positions of events without a time of their own."""

    def numbered(self, prefix: str) -> NumberedEvent:
        """See `EventBuilder`."""
        part = int(prefix.split(".")[2]) if prefix.count(".") > 1 else 0
        (since, until), end = self._range, self._end

        def event(number: int, _subject: str, _data: bytes, time: bytes | None) -> Outgoing:
            if (part, number) >= end:
                return _NOTHING
            if time is None:
                self.timeless.add(f"{prefix}:{number}")
            elif since <= msgspec.convert(time.decode(), datetime) < until:
                self.events += 1
            return _NOTHING

        return event


class Reread(Protocol[Known_contra]):
    """Reads files again, so that their events go to an `EventCounter`."""

    def end(self, known: Known_contra, /) -> Place:
        """Return the place up to which a file is published."""
        ...

    async def read(self, file_id: str, known: Known_contra, end: Place, /) -> bool:
        """Read a file up to a place; return whether it could be read, and is the one that was read first."""
        ...


class FileRecount(Generic[Known]):
    """What the files of a source hold; see `Recountable`."""

    def __init__(
        self, files: Mapping[str, Known], reread: Reread[Known], counter: EventCounter, *, timed: bool
    ) -> None:
        """The events of files that `reread` reads go to `counter`; `timed`: whether rows have times of their own."""
        self._files = files
        self._reread = reread
        self._counter = counter
        self._timed = timed
        self._ends: dict[str, Place] = {}
        """The files that are compared, each with the place up to which it is."""
        self._timeless: set[str] | None = None
        """Events that a range of time does not include; None without a range."""
        self.remarks: Sequence[str] = ()

    async def count(self, since: datetime | None, until: datetime | None) -> int:
        """See `Recountable`.

        Raises:
            Malformed: the rows have no time.
        """
        if not self._timed and (since or until):
            raise Malformed("from, to: the rows have no time of their own; omit from and to, or set time")
        self._timeless = set() if since or until else None
        since, until = since or _FIRST, until or _LAST
        total, unequal = 0, list[str]()
        for file_id, known in self._files.items():
            if known.passed_over:
                continue
            found = await self._count_file(file_id, known, since, until)
            if found is None:
                unequal.append(known.path)
            else:
                total += found
        self.remarks = self._remarks(unequal)
        return total

    def _remarks(self, unequal: Sequence[str]) -> Sequence[str]:
        """Return as text what is not compared."""
        remarks = ["events of files that the source has forgotten", "rows behind the saved position"]
        if unequal:
            more = "" if len(unequal) <= _SHOWN else f" and {len(unequal) - _SHOWN} more"
            names = ", ".join(unequal[:_SHOWN])
            remarks.append(f"files that are gone, were rewritten or cannot be read: {names}{more}")
        if self._timeless:
            remarks.append(f"{len(self._timeless)} rows without a time of their own")
        return remarks

    def entity(self, position: str) -> str | None:
        """See `Recountable`."""
        prefix, _, number = position.rpartition(":")
        name, _, part = prefix.partition(".")
        digest, _, part = part.partition(".")
        end = self._ends.get(f"{name}.{digest}")
        if end is None or (int(part or 0), int(number)) >= end:
            return None
        return None if self._timeless is not None and position in self._timeless else position

    async def _count_file(self, file_id: str, known: Known, since: datetime, until: datetime) -> int | None:
        """Return the events of a file up to its saved position; None if it cannot be compared."""
        end = self._reread.end(known)
        self._counter.count_in(since, until, end)
        if not await self._reread.read(file_id, known, end):
            return None
        self._ends[file_id] = end
        if self._timeless is None:
            return self._counter.events + len(self._counter.timeless)
        self._timeless |= self._counter.timeless
        return self._counter.events


class LocalReread:
    """A `Reread` of files on this machine."""

    def __init__(self, disk: Disk, opener: FileOpener) -> None:
        self._disk = disk
        self._opener = opener

    def end(self, known: Progress) -> Place:
        """See `Reread`."""
        return Place(known.part, known.position) if known.size else Place(0, known.offset)

    async def read(self, file_id: str, known: Progress, end: Place) -> bool:
        """See `Reread`."""
        found = await self._disk.run(regular_file, known.path)
        if found is None or found.inode != known.inode:
            return False
        try:
            (await self._opener.resume(found, file_id, known)).close()
            again = msgspec.structs.replace(unread(known), begin=known.begin)
            open_file = await self._opener.resume(found, file_id, again)
            try:
                await self._read_to(open_file, end, finish=known.done is not None)
            finally:
                open_file.release()
        except (FileError, Replaced, Rewritten, UnusableFile, SettingsError):
            return False
        return True

    async def _read_to(self, open_file: OpenedFile, end: Place, *, finish: bool) -> None:
        more = True
        while more and self.end(open_file.progress()) < end:
            more = await open_file.fill(Batch(), STEP)
        while finish and open_file.finish(Batch(), STEP):
            pass


class RecountedFiles:
    """The part of a `Recountable` source that reads files."""

    files: FileRecount[Any]
    """Set where the source is opened."""

    async def recount(self, since: datetime | None, until: datetime | None) -> int:
        """See `Recountable`."""
        return await self.files.count(since, until)

    def entity(self, position: str) -> str | None:
        """See `Recountable`."""
        return self.files.entity(position)

    @property
    def remarks(self) -> Sequence[str]:
        """See `Recountable`."""
        return self.files.remarks
