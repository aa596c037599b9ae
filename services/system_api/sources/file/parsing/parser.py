"""From a file's bytes, in order, to events and rejects: every byte belongs to exactly one of them. No I/O.

What is skipped without a word: blank lines, a byte order mark at the beginning, and the header of a CSV file.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from services.system_api.sources.file.parsing.splitter import Cut, Splitter
from services.system_api.sources.source import Batch, EventBuilder
from shared.errors import Malformed, TooLarge
from shared.events.dead_letter import Reject

BOM = b"\xef\xbb\xbf"


class UnusableFile(Malformed):
    """Nothing can be made of the whole file, e.g. its header lacks a column. Nothing of it was consumed."""


Row = tuple[str, bytes, bytes | None]
"""What an event is made of: subject, data (one JSON value) and time. A bare tuple, for one is made an event."""


class Format(Protocol):
    """How one file's lines or rows are read."""

    @property
    def cut(self) -> Cut:
        """Cuts the bytes into pieces, a line or a row each."""
        ...

    def normalize(self, piece: bytes) -> bytes:
        """Prepare a piece that may hold carriage returns for `read`; any other is ready as it is."""
        ...

    def read(self, piece: bytes) -> Row:
        """Read a piece that is UTF-8, and neither blank nor binary.

        Raises:
            Malformed: says what is wrong with it; its place is added by the caller.
        """
        ...


@runtime_checkable
class HeaderFormat(Protocol):
    """Formats that may have to see the file's first piece before they can read any other."""

    @property
    def wants_header(self) -> bool:
        """Whether the header has not been seen."""
        ...

    def header(self, piece: bytes) -> None:
        """Take the first piece that is not blank.

        Raises:
            Malformed: it lacks what the settings name.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """The file that is read, as event ids and rejects name it."""

    source: str
    """The source's name."""
    file: str
    """What tells this file from every other one that this source ever reads."""
    path: str

    def reject(self, value: bytes, error: str, *, line: int, offset: int, size: int) -> Reject:
        """Make the reject of a piece; `value` is what is kept of its `size` bytes."""
        return Reject(
            f"{self.source}:{self.file}:{offset}",
            value,
            f"{self.path}, line {line}, bytes {offset}-{offset + size - 1}: {error}",
            "source",
            f"{self.source}:{self.path}:{line}",
        )


class Parser:
    """Reads one file from a saved place onwards: feed its `splitter`, then take."""

    def __init__(
        self, form: Format, builder: EventBuilder, place: FileIdentity, limit: int, *, offset: int = 0, line: int = 0
    ) -> None:
        """`limit` is the largest line in bytes; what is fed begins at `offset`, after `line` lines."""
        self.splitter = Splitter(form.cut, limit, offset)
        self.line = line
        """Lines taken so far."""
        self.rows = 0
        """Events made by this parser."""
        self.rejects = 0
        self.last = b""
        """The last line or row that was taken, where a newline follows it; empty where it was too large to be kept."""
        self.truncated = False
        """Whether something was put aside without all of its bytes."""
        self._form = form
        self._headed = form if isinstance(form, HeaderFormat) and form.wants_header else None
        """Until its header was seen."""
        self._builder = builder
        self._place = place

    def resume(self, head: bytes) -> None:
        """Learn from the beginning of the file what is needed to go on in its middle.

        Raises:
            Unusable: as for `take`.
        """
        offset = 0
        for piece in self._form.cut(head)[0]:
            if self._headed is None:
                return
            self._read_checked(piece, offset)
            offset += len(piece) + 1
        if self._headed is not None:
            raise UnusableFile(f"{self._place.path}: no header within the first {len(head)} bytes")

    def take(self, batch: Batch, limit: int) -> None:
        """Move what waits into a batch, until it holds `limit` events and rejects.

        Raises:
            Unusable: the file's header does not do. The batch is as it was; this parser is of no further use.
        """
        self._take_oversized(batch)
        splitter, append, before = self.splitter, batch.records.append, len(batch.records)
        read, event = self._form.read, self._builder.numbered(self._place.file)
        # What is not plain is looked at piece by piece; so is the first, for its byte order mark and header.
        plain, single, offset, line = splitter.plain, splitter.single, splitter.offset, self.line
        pieces = splitter.take(max(0, limit - before - len(batch.rejects)))
        for piece in pieces:
            try:
                if plain and piece and offset:
                    subject, data, time = read(piece)
                    append(event(offset, subject, data, time))
                elif (row := self._read_checked(piece, offset)) is not None:
                    append(event(offset, *row))
            except Malformed as exc:
                self._reject(batch, piece, exc, line=line + 1, offset=offset)
            offset += len(piece) + 1
            line += 1 if single else 1 + piece.count(b"\n")
        if pieces:
            self.last = b"" if splitter.ended else pieces[-1]
        self.line = line
        self.rows += len(batch.records) - before

    def _read_checked(self, piece: bytes, offset: int) -> Row | None:
        """Read a piece of which nothing is known yet; nothing comes of a blank one or of the header."""
        try:
            if len(piece) > self.splitter.limit:
                raise self._too_large(len(piece))
            text = _text(piece if offset else piece.removeprefix(BOM))
            if not text or text.isspace():
                return None
            if self._headed is not None:
                self._headed.header(text)
                self._headed = None
                return None
        except Malformed as exc:
            if self._headed is not None:
                raise UnusableFile(f"{self._place.path}: its header: {exc}") from exc
            raise
        return self._form.read(self._form.normalize(text))

    def _reject(self, batch: Batch, piece: bytes, error: Malformed, *, line: int, offset: int) -> None:
        if isinstance(error, UnusableFile):
            raise error
        if piece.isspace():
            return
        kept = piece[: self.splitter.kept] if isinstance(error, TooLarge) else piece
        self._add_reject(batch, self._place.reject(kept, str(error), line=line, offset=offset, size=len(piece)))
        self.truncated = self.truncated or kept is not piece

    def _take_oversized(self, batch: Batch) -> None:
        found = self.splitter.take_oversized()
        if found is None:
            return
        offset, oversized = found
        self.line += 1
        self.last = b""
        self.truncated = True
        error = str(self._too_large(oversized.size))
        self._add_reject(
            batch, self._place.reject(oversized.head, error, line=self.line, offset=offset, size=oversized.size)
        )

    def _too_large(self, size: int) -> TooLarge:
        splitter = self.splitter
        return TooLarge(f"a line of {size} bytes, the limit is {splitter.limit}; its first {splitter.kept} are kept")

    def _add_reject(self, batch: Batch, reject: Reject) -> None:
        self.rejects += 1
        batch.rejects.append(reject)


def _text(piece: bytes) -> bytes:
    """Return a piece without the carriage return before its newline.

    Raises:
        Malformed: it is no UTF-8 text.
    """
    if (nul := piece.find(b"\0")) >= 0:
        raise Malformed(f"a NUL byte at its byte {nul}: this is no text")
    try:
        piece.decode()
    except UnicodeDecodeError as exc:
        raise Malformed(f"not UTF-8: {exc.reason} at its byte {exc.start}") from exc
    return piece.removesuffix(b"\r")
