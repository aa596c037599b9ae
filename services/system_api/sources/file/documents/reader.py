"""Makes the events of a whole file, part by part and record by record."""

from collections.abc import Callable
from typing import Protocol

from services.system_api.sources.file.documents.content import Content
from services.system_api.sources.file.documents.records import (
    FoundRecord,
    Records,
    Stream,
    UnreadableDocument,
    readable,
)
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import Parser
from services.system_api.sources.source import Batch, EventBuilder
from shared.errors import Malformed
from shared.events import strict_json
from shared.events.dead_letter import KEPT_BYTES, Reject
from shared.runtime.clock import Clock

_CHUNK = 262_144
_MOST_BYTES = 4 * 1_048_576
"""About how many bytes one call reads."""
_LONGEST = 0.25
"""Seconds after which one call returns, so that it can be cancelled."""


class PartReader(Protocol):
    """Reads one part of a file."""

    position: int
    """Where the next record is: its number, or the offset in the decompressed content in UTF-8."""
    line: int
    """Lines read so far, where the format has lines."""
    rows: int
    rejects: int
    truncated: bool
    """Whether a reject does not have all bytes of its record."""

    def read(self, batch: Batch, limit: int) -> bool:
        """Append to the batch until it holds `limit` events and rejects; return whether there may be more.

        Raises:
            UnreadableDocument: nothing behind this can be read; what was appended is valid.
        """
        ...


class RecordReader:
    """Reads the records of a document."""

    def __init__(
        self,
        records: Records,
        form: Ndjson,
        builder: EventBuilder,
        identity: FileIdentity,
        limit: int,
        position: int,
        clock: Clock,
    ) -> None:
        """`records` begin at the first one; those before number `position` were published before."""
        self.position = position
        self.line = 0
        self.rows = 0
        self.rejects = 0
        self.truncated = False
        self._records = readable(records)
        self._form = form
        self._builder = builder
        self._identity = identity
        self._limit = limit
        self._clock = clock
        self._next = 0

    def read(self, batch: Batch, limit: int) -> bool:
        """See `PartReader`."""
        event = self._builder.numbered(self._identity.file)
        until, size = self._clock.monotonic() + _LONGEST, 0
        for found in self._records:
            if found is not None:
                self._next += 1
            if found is not None and self._next > self.position:
                self.position = self._next
                batch.rows = (batch.rows or 0) + 1
                size += len(found.data)
                try:
                    subject, data, when = self._row(found)
                    made = event(self._next - 1, subject, data, when)
                    batch.records.append(self._identity.with_record(made, self._next - 1))
                    self.rows += 1
                except Malformed as exc:
                    self._reject(batch, found, str(exc))
            if (
                len(batch.records) + len(batch.rejects) >= limit
                or size > _MOST_BYTES
                or self._clock.monotonic() > until
            ):
                return True
        return False

    def _row(self, found: FoundRecord) -> tuple[str, bytes, bytes | None]:
        if found.error is not None:
            raise Malformed(found.error)
        if len(found.data) > self._limit:
            raise Malformed(
                f"found a record of {len(found.data)} bytes as JSON, the limit is {self._limit};"
                f" its first {KEPT_BYTES} are kept"
            )
        strict_json.check(found.data)
        return self._form.read(found.data.replace(b"\r", b" "))

    def _reject(self, batch: Batch, found: FoundRecord, error: str) -> None:
        name, path = self._identity.source, self._identity.path
        number = self._next - 1
        kept = found.data if len(found.data) <= self._limit else found.data[:KEPT_BYTES]
        self.truncated = self.truncated or len(kept) < len(found.data) or found.size > len(kept)
        self.rejects += 1
        batch.rejects.append(
            Reject(
                f"{name}:{self._identity.file}:{number}",
                kept,
                f"{path}, record {number}, {found.place}: {error}",
                "source",
                f"{name}:{path}:record {number}",
            )
        )


class LineReader:
    """Reads lines or rows of a content that is no plain file."""

    def __init__(
        self, stream: Stream, make: Callable[[int, int], Parser], position: int, line: int, clock: Clock
    ) -> None:
        """`make` takes the offset and the line of the first byte that is fed."""
        self.truncated = False
        self._clock = clock
        self._stream = stream
        self._parser: Parser | None = None
        self._make = make
        self._start = (position, line)
        self._head = b""
        self._skipped = 0
        self._ended = False
        self.position, self.line = position, line
        self.rows = self.rejects = 0

    def read(self, batch: Batch, limit: int) -> bool:
        """See `PartReader`."""
        until, size = self._clock.monotonic() + _LONGEST, 0
        while len(batch.records) + len(batch.rejects) < limit:
            if size > _MOST_BYTES or self._clock.monotonic() > until:
                return True
            if self._parser is None:
                if self._skip():
                    continue
                self._parser = self._made()
            parser = self._parser
            if not parser.splitter.waiting:
                if self._ended:
                    return False
                size += self._feed(parser)
            parser.take(batch, limit)
            self.position, self.line = parser.splitter.offset, parser.line
            self.rows, self.rejects, self.truncated = parser.rows, parser.rejects, parser.truncated
        return True

    def _feed(self, parser: Parser) -> int:
        data = self._stream.read(_CHUNK)
        if data:
            parser.feed(data)
        else:
            self._ended = True
            if parser.splitter.incomplete:
                parser.splitter.finish()
        return len(data)

    def _skip(self) -> bool:
        """Skip what was published before; return whether there is more to skip."""
        wanted = self._start[0] - self._skipped
        if not wanted:
            return False
        if len(self._head) >= _CHUNK and (seek := getattr(self._stream, "seek", None)) is not None:
            self._skipped = seek(self._start[0])  # plain bytes: nothing has to be read to know what is there
            return False
        data = self._stream.read(min(_CHUNK, wanted))
        if not data:
            raise UnreadableDocument(f"found {self._skipped} bytes of content; expected more than {self._start[0]}")
        self._skipped += len(data)
        self._head = (self._head + data)[:_CHUNK] if len(self._head) < _CHUNK else self._head
        return True

    def _made(self) -> Parser:
        parser = self._make(*self._start)
        if self._start[0]:
            beginning = self._make(0, 0)
            beginning.feed(self._head)
            if beginning.splitter.carriage_returns:
                parser.splitter.use_carriage_returns()
            parser.resume(self._head)
        return parser


MakePart = Callable[[Content, int, str, int, int], PartReader]
"""Makes the reader of a part from the content, the part's number and name, and the position and line to resume from."""


class DocumentReader:
    """Reads all parts of a file, one after another."""

    def __init__(self, content: Content, make: MakePart, *, part: int = 0, position: int = 0, line: int = 0) -> None:
        self._content = content
        self._make = make
        self.part = part
        self._position = (position, line)
        self._reader: PartReader | None = None
        self._before = [0, 0]
        self._truncated = False

    @property
    def position(self) -> int:
        """Where the next record of the part is."""
        return self._position[0] if self._reader is None else self._reader.position

    @property
    def line(self) -> int:
        """Lines read of the part."""
        return self._position[1] if self._reader is None else self._reader.line

    @property
    def rows(self) -> int:
        """Number of events made."""
        return self._before[0] + (self._reader.rows if self._reader else 0)

    @property
    def rejects(self) -> int:
        """Number of rejects made."""
        return self._before[1] + (self._reader.rejects if self._reader else 0)

    @property
    def truncated(self) -> bool:
        """Whether a reject does not have all bytes of its record."""
        return self._truncated or (self._reader is not None and self._reader.truncated)

    def read(self, batch: Batch, limit: int) -> bool:
        """Append to the batch until it holds `limit` events and rejects; return whether there may be more.

        Raises:
            UnreadableDocument: see `PartReader.read`.
        """
        while self.part < len(self._content.parts):
            if self._reader is None:
                name = self._content.parts[self.part]
                self._reader = self._make(self._content, self.part, name, *self._position)
            if self._reader.read(batch, limit):
                return True
            self._next_part()
            if len(batch.records) + len(batch.rejects) >= limit:
                break
        return self.part < len(self._content.parts)

    def close(self) -> None:
        """Close the file."""
        self._content.close()

    def _next_part(self) -> None:
        self._before = [self.rows, self.rejects]
        self._truncated = self.truncated
        self.part += 1
        self._reader, self._position = None, (0, 0)
