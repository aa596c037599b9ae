"""Parses the bytes of a file, in order, into events and rejects: every byte belongs to exactly one of them. No I/O.

Skipped are blank lines, a hole or a byte order mark at the beginning, and the header of a CSV file.
"""

from typing import Protocol

from services.system_api.sources.file.parsing.decoding import line_text
from services.system_api.sources.file.parsing.dialect import UnknownDialect
from services.system_api.sources.file.parsing.first_row import HeaderFormat, SniffingFormat
from services.system_api.sources.file.parsing.hole import Hole
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.signatures import SIGNATURE_BYTES, recognise
from services.system_api.sources.file.parsing.splitter import BOM, Cut, Splitter, Suspicious
from services.system_api.sources.source import Batch, EventBuilder
from shared.errors import Malformed, TooLarge
from shared.events.dead_letter import Reject


class UnusableFile(Malformed):
    """The whole file cannot be read: its header lacks a column, for example. Nothing of it was consumed."""


Row = tuple[str, bytes, bytes | None]
"""Subject, data (one JSON value) and time of an event. A plain tuple, because one is made for each event."""


class Format(Protocol):
    """Reads the lines or rows of one file."""

    @property
    def cut(self) -> Cut:
        """Cuts the bytes into pieces, one line or row each."""
        ...

    @property
    def skip_lines(self) -> int:
        """How many lines at the beginning of a file are not read."""
        ...

    @property
    def suspicious(self) -> Suspicious:
        """Decides whether pieces have to go through `prepare` before `read`."""
        ...

    def prepare(self, piece: bytes) -> bytes:
        """Check what `read` does not, and return the piece for `read`; pieces with carriage returns come here too.

        Raises:
            Malformed: as for `read`.
        """
        ...

    def read(self, piece: bytes) -> Row:
        """Read a piece of UTF-8 text that is not blank and has no NUL bytes.

        Raises:
            Malformed: says what is wrong; the caller adds the place.
        """
        ...


class Parser:
    """Reads one file from a saved position onwards: call `feed`, then `take`."""

    def __init__(  # noqa: PLR0913 -- what differs from UTF-8 that grows has defaults
        self,
        form: Format,
        builder: EventBuilder,
        identity: FileIdentity,
        limit: int,
        *,
        offset: int = 0,
        line: int = 0,
        whole: bool = False,
        encoding: str = "utf-8",
    ) -> None:
        """`limit` is the maximum size of a line in bytes; the bytes fed begin at `offset`, after `line` lines.

        `encoding` is one in which newlines, quotes and delimiters are those of ASCII.
        `whole` tells a file that is complete from one that grows: a growing one may still get its first newline.
        """
        skip = max(0, form.skip_lines - line)
        self.splitter = Splitter(form.cut, limit, offset, form.suspicious, utf8=encoding == "utf-8", skip_lines=skip)
        self._encoding = encoding
        self.line = line
        """Lines taken so far."""
        self.rows = 0
        """Number of events made by this parser."""
        self.rejects = 0
        self.last = b""
        """The last line or row that was taken if a newline follows it; empty if it was too large to keep."""
        self.truncated = False
        """Whether a reject does not have all bytes of its line."""
        self.begin = 0
        """Lines that end before this offset make no events."""
        self._form = form
        self._headed = form if isinstance(form, HeaderFormat) and form.wants_header else None
        """The format while its header is needed."""
        self._builder = builder
        self._identity = identity
        self._whole = whole
        self._beginning: bytes | None = b"" if line == 0 else None
        """The first bytes of the file behind its hole, until they are known to be text with newlines."""
        # A file that is complete, or truncated behind its header, is not what it should be.
        self._hole = None if whole or self._headed else Hole(self.splitter, inside=line == 0 < offset)

    def feed(self, data: bytes) -> None:
        """Add the bytes that follow in the file. Only when nothing is waiting.

        Raises:
            UnusableFile: the file is no text, or its lines end in carriage returns alone.
        """
        if self._hole is not None and self._beginning == b"":
            data = self._hole.behind(data)
        if self._beginning is not None:
            self._check_beginning(data)
        self.splitter.feed(data)

    def _check_beginning(self, data: bytes) -> None:
        splitter, head = self.splitter, self._beginning or b""
        self._beginning = head = (head + data)[:SIGNATURE_BYTES]
        if (found := recognise(head)) is not None:
            raise UnusableFile(f"{self._identity.path}: found {found}; expected text in UTF-8")
        waiting = splitter.rest + data
        if splitter.offset or b"\n" in waiting:
            self._beginning = None if len(head) == SIGNATURE_BYTES else head
        elif self._ends_in_carriage_returns(waiting):
            if not self._whole:
                raise UnusableFile(
                    f"{self._identity.path}: found carriage returns and no newline; expected lines that end in"
                    " newlines: with mode: drop, carriage returns alone are accepted"
                )
            splitter.use_carriage_returns()

    def _ends_in_carriage_returns(self, data: bytes) -> bool:
        """Whether bytes without a newline are several lines. A carriage return within a quoted field ends none."""
        if b"\r" not in data[:-1]:
            return False
        lines = data[:-1].replace(b"\r", b"\n").split(b"\n", self._form.skip_lines)
        if len(lines) <= self._form.skip_lines:
            return self._form.skip_lines > 0
        first = next(iter(self._form.cut(lines[-1])[0]), None)
        # Between the members of a JSON object, a carriage return is white space.
        return first is not None and (not first.lstrip().startswith(b"{") or first.rstrip().endswith(b"}"))

    @property
    def delimiter(self) -> str:
        """The delimiter that was found in the first row; empty if none was."""
        return self._form.found_delimiter if isinstance(self._form, SniffingFormat) else ""

    def resume(self, head: bytes, delimiter: str = "") -> None:
        """Read the header from the beginning of the file, to resume in the middle of it.

        `delimiter` is the one that was found there before, if one was.

        Raises:
            UnusableFile: as for `take`.
        """
        if delimiter and isinstance(self._form, SniffingFormat):
            self._form.use_delimiter(delimiter)
        if self.splitter.carriage_returns:
            head = head.replace(b"\r", b"\n")
        *skipped, head = head.removeprefix(BOM).split(b"\n", self._form.skip_lines)
        offset = sum(map(len, skipped)) + len(skipped)
        for piece in self._form.cut(head)[0]:
            if self._headed is None:
                return
            self._read_checked(piece, offset)
            offset += len(piece) + 1
        if self._headed is not None:
            raise UnusableFile(f"{self._identity.path}: no header found within the first {len(head)} bytes")

    def take(self, batch: Batch, limit: int) -> None:
        """Append what is waiting to a batch until it holds `limit` events and rejects.

        Raises:
            UnusableFile: the header is wrong. The batch is unchanged; this parser cannot be used any more.
        """
        self._take_oversized(batch)
        skip = max(0, self._form.skip_lines - self.line)
        skipped = len(self.splitter.take(min(limit, skip))) if skip else 0
        self.line += skipped
        batch.rows, batch.skipped = (batch.rows or 0) + skipped, batch.skipped + skipped
        skipped = 0
        if self.splitter.offset < self.begin:
            self._pass_over(batch)
        splitter, append, before = self.splitter, batch.records.append, len(batch.records)
        read, event = self._form.read, self._builder.numbered(self._identity.file)
        # Pieces that are not plain are checked one by one, and so are those up to the header or byte order mark.
        plain, single, offset, line = splitter.plain, splitter.single, splitter.offset, self.line
        unchecked = plain and self._headed is None and not self._identity.origin
        pieces = splitter.take(max(0, limit - before - len(batch.rejects)))
        for piece in pieces:
            try:
                if unchecked and piece and offset:
                    subject, data, time = read(piece)
                    append(event(offset, subject, data, time))
                elif (row := self._read_checked(piece, offset)) is not None:
                    made = event(offset, *row)
                    append(self._identity.with_line(made, line=line + 1, offset=offset, size=len(piece)))
                else:
                    skipped += 1
                    unchecked = plain and self._headed is None and not self._identity.origin
            except Malformed as exc:
                skipped += not self._reject(batch, piece, exc, line=line + 1, offset=offset)
            offset += len(piece) + 1
            line += 1 if single else 1 + piece.count(b"\n")
        batch.rows = (batch.rows or 0) + len(pieces)
        batch.skipped += skipped
        if pieces:
            self.last = b"" if splitter.ended else pieces[-1]
        self.line = line
        self.rows += len(batch.records) - before

    def _pass_over(self, batch: Batch) -> None:
        """Take what ends before `begin`. Only a header is read."""
        splitter, offset = self.splitter, self.splitter.offset
        pieces = splitter.take(splitter.count_before(self.begin))
        for piece in pieces:
            if self._headed is None:
                break
            self._read_checked(piece, offset)
            offset += len(piece) + 1
        if pieces:
            self.last = pieces[-1]
        self.line += len(pieces) if splitter.single else sum(1 + piece.count(b"\n") for piece in pieces)
        batch.rows = (batch.rows or 0) + len(pieces)
        batch.skipped += len(pieces)

    def _read_checked(self, piece: bytes, offset: int) -> Row | None:
        """Check and read a piece; return None for a blank one and for the header."""
        try:
            if len(piece) > self.splitter.limit:
                raise self._too_large(len(piece))
            text = line_text(piece if offset else piece.removeprefix(BOM), self._encoding)
            if not text or text.isspace():
                return None
            if self._headed is not None:
                self._headed.header(text)
                self._headed = None
                return None
        except Malformed as exc:
            if self._headed is not None:
                raise UnusableFile(f"{self._identity.path}: header: {exc}") from exc
            raise
        return self._form.read(self._form.prepare(text))

    def _reject(self, batch: Batch, piece: bytes, error: Malformed, *, line: int, offset: int) -> bool:
        """Append the reject of a piece; return False for a blank one, which needs none."""
        if isinstance(error, UnusableFile):
            raise error
        if isinstance(error, UnknownDialect):
            raise UnusableFile(f"{self._identity.path}: {error}") from error
        if piece.isspace():
            return False
        kept = piece[: self.splitter.kept] if isinstance(error, TooLarge) else piece
        self._add_reject(batch, self._identity.reject(kept, str(error), line=line, offset=offset, size=len(piece)))
        self.truncated = self.truncated or kept is not piece
        return True

    def _take_oversized(self, batch: Batch) -> None:
        found = self.splitter.take_oversized()
        if found is None:
            return
        offset, oversized = found
        batch.rows = (batch.rows or 0) + 1
        self.line += 1
        self.last = b""
        if offset + oversized.size < self.begin:
            batch.skipped += 1
            return
        self.truncated = True
        error = str(self._too_large(oversized.size))
        self._add_reject(
            batch, self._identity.reject(oversized.head, error, line=self.line, offset=offset, size=oversized.size)
        )

    def _too_large(self, size: int) -> TooLarge:
        splitter = self.splitter
        return TooLarge(
            f"found a line of {size} bytes, the limit is {splitter.limit}; its first {splitter.kept} are kept"
        )

    def _add_reject(self, batch: Batch, reject: Reject) -> None:
        self.rejects += 1
        batch.rejects.append(reject)
