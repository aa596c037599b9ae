"""Splits bytes into lines or rows of limited size, in order, with the offset of each. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from services.system_api.sources.file.parsing.rows import RowCutter
from shared.events.dead_letter import KEPT_BYTES

BOM = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8. At the beginning of a file it belongs to no field."""

Cut = Callable[[bytes], tuple[list[bytes], bytes]]
"""Returns the complete pieces, each without the newline that ends it, and the rest."""

Suspicious = Callable[[bytes, int], bool]
"""Whether pieces, given as one text with the size of the longest, have to be checked one by one."""


@dataclass(frozen=True, slots=True)
class Oversized:
    """A line above the limit, of which only the head is kept."""

    head: bytes
    size: int
    """Bytes of the line, without its newline."""


def cut_lines(data: bytes) -> tuple[list[bytes], bytes]:
    """Split at every newline."""
    pieces = data.split(b"\n")
    return pieces, pieces.pop()


def never_suspicious(_pieces: bytes, _longest: int) -> bool:
    """Check nothing; see `Suspicious`."""
    return False


class Splitter:
    """Takes a file's bytes in order; `take` returns the pieces, and every byte belongs to exactly one of them.

    The pieces do not depend on how the bytes are divided into portions. If a quoted field is not closed within the
    limit, only its first line is a piece, and splitting continues at the next line: a stray quote must not consume what
    follows.
    """

    def __init__(
        self,
        cut: Cut,
        limit: int,
        offset: int = 0,
        suspicious: Suspicious = never_suspicious,
        *,
        utf8: bool = True,
        skip_lines: int = 0,
    ) -> None:
        """`offset` is the offset of the first byte that is fed; the bytes are ASCII, and UTF-8 or something else.

        The first `skip_lines` pieces are lines, whatever quotes are in them.
        """
        self._skip_lines = skip_lines
        self._utf8 = utf8
        self._cut = cut
        self._suspicious = suspicious
        self.limit = limit
        self.kept = min(KEPT_BYTES, limit)
        """Bytes that are kept of a line above the limit."""
        self.offset = offset
        """Offset of the first byte that was not taken."""
        self.plain = True
        """Whether all waiting pieces are UTF-8, without carriage returns or NUL bytes, within the limit, and not
        suspicious: one check for all of them is cheaper than one for each."""
        self.single = True
        """Whether each waiting piece is one line."""
        self._pieces: list[bytes] = []
        self._next = 0
        self._rest = b""
        self._oversized: Oversized | None = None
        """A complete line above the limit; it comes before all pieces."""
        self._skipped: Oversized | None = None
        """An incomplete line above the limit: its newline has not been fed."""
        self.carriage_returns = False
        """Whether carriage returns end the lines; the pieces have newlines in their place."""
        self.ended = False
        """Whether everything was taken of a file that does not end in a newline."""
        self._unended = False

    @property
    def waiting(self) -> bool:
        """Whether something can be taken."""
        return self._next < len(self._pieces) or self._oversized is not None

    @property
    def incomplete(self) -> int:
        """Number of bytes fed that belong to no complete piece."""
        return len(self._rest) if self._skipped is None else self._skipped.size

    @property
    def open_lines(self) -> int:
        """Number of complete lines that wait because a quote before them is open."""
        return self._rest.count(b"\n")

    @property
    def rest(self) -> bytes:
        """The bytes fed that belong to no complete piece, unless they are above the limit."""
        return self._rest

    def use_carriage_returns(self) -> None:
        """From now on, a carriage return ends a line."""
        self.carriage_returns = True
        self._rest = self._rest.replace(b"\r", b"\n")

    def skip(self, size: int) -> None:
        """Leave out so many bytes, which belong to no piece. Only when nothing is waiting or incomplete."""
        assert not self.waiting, "take first"
        assert not self.incomplete, "a line has begun"
        self.offset += size

    def feed(self, data: bytes) -> None:
        """Add the bytes that follow in the file. Only when nothing is waiting."""
        assert not self.waiting, "take first"
        if self.carriage_returns:
            data = data.replace(b"\r", b"\n")
        if self._skipped is not None:
            skipped, newline = self._skipped, data.find(b"\n")
            if newline < 0:
                self._skipped = Oversized(skipped.head, skipped.size + len(data))
                return
            self._oversized, self._skipped = Oversized(skipped.head, skipped.size + newline), None
            data = data[newline + 1 :]
        whole = self._rest + data if self._rest else data
        pieces, self._rest = self._split(whole)
        if len(self._rest) > self.limit:
            self._skipped, self._rest = Oversized(self._rest[: self.kept], len(self._rest)), b""
        self._wait_with(pieces, whole)

    def finish(self) -> None:
        """Mark the end of the file: what is incomplete becomes complete. Only when nothing is waiting."""
        assert not self.waiting, "take first"
        if self._skipped is not None:
            self._oversized, self._skipped = self._skipped, None
            self._unended = True
        elif self._rest:
            # As if a newline followed. A quote that is open here is never closed: its line is a piece of its own.
            whole, self._rest = self._rest + b"\n", b""
            pieces, rest = self._split(whole)
            while rest:
                line, _, rest = rest.partition(b"\n")
                more, rest = self._split(rest)
                pieces += [line, *more]
            self._wait_with(pieces, whole)
            self._unended = True

    def abandon_open_quote(self) -> bool:
        """Stop waiting for a closing quote if all complete lines behind the open one are rows; return whether they are.

        Only when nothing is waiting. Afterwards the line of the open quote is a piece of its own, and waits.
        """
        assert not self.waiting, "take first"
        end = self._cut.abandoned_end(self._rest) if isinstance(self._cut, RowCutter) else None
        if end is None:
            return False
        whole = self._rest
        pieces, self._rest = self._split(whole[end + 1 :])
        self._wait_with([whole[:end], *pieces], whole)
        return True

    def take_oversized(self) -> tuple[int, Oversized] | None:
        """Return the line above the limit with its offset; it comes before all pieces."""
        if self._oversized is None:
            return None
        found, self._oversized = (self.offset, self._oversized), None
        self.offset += found[1].size + (not self._ends_here())
        return found

    def count_before(self, end: int) -> int:
        """Return how many of the waiting pieces end, with their newlines, at this offset at the latest."""
        count, offset = 0, self.offset
        for piece in islice(self._pieces, self._next, None):
            offset += len(piece) + 1
            if offset > end:
                break
            count += 1
        return count

    def take(self, limit: int) -> list[bytes]:
        """Return up to `limit` pieces: the first begins at `offset`, each other one after a newline."""
        assert self._oversized is None, "it comes first"
        pieces = self._pieces[self._next : self._next + limit]
        self._next += len(pieces)
        self.offset += sum(map(len, pieces)) + len(pieces) - self._ends_here()
        return pieces

    def _ends_here(self) -> bool:
        if self._unended and not self.waiting and not self.ended:
            self.ended = True
            return True
        return False

    def _split(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Split; a byte order mark stays with the first piece, but is not taken for a part of its first field."""
        if self.offset or self._oversized is not None or not data.startswith(BOM):
            return self._split_rows(data)
        pieces, rest = self._split_rows(data[len(BOM) :])
        if pieces:
            pieces[0] = BOM + pieces[0]
        else:
            rest = BOM + rest
        return pieces, rest

    def _split_rows(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Split; of a row of several lines above the limit only the first line is a piece."""
        complete = list[bytes]()
        if self._skip_lines:
            *complete, data = data.split(b"\n", self._skip_lines)
            self._skip_lines -= len(complete)
            if self._skip_lines:
                return complete, data
        while True:
            pieces, rest = self._cut(data)
            good = self._good(pieces, data)
            if good == len(pieces) and (len(rest) <= self.limit or b"\n" not in rest):
                return complete + pieces, rest
            complete += pieces[:good]
            line, _, data = data[sum(map(len, pieces[:good])) + good :].partition(b"\n")
            complete.append(line)

    def _good(self, pieces: list[bytes], data: bytes) -> int:
        """Return the number of pieces before the first one that has several lines and is above the limit."""
        if len(data) > self.limit:
            for number, piece in enumerate(pieces):
                if len(piece) > self.limit and b"\n" in piece:
                    return number
        return len(pieces)

    def _wait_with(self, pieces: list[bytes], whole: bytes) -> None:
        self._pieces, self._next = pieces, 0
        self.single = not isinstance(self._cut, RowCutter) or self._cut.quote not in whole
        longest = max(map(len, pieces), default=0)
        self.plain = (
            b"\r" not in whole
            and b"\0" not in whole
            and longest <= self.limit
            and (whole.isascii() or (self._utf8 and _is_utf8(memoryview(whole)[: whole.rfind(b"\n") + 1])))
            and not self._suspicious(whole, longest)
        )


def _is_utf8(data: memoryview) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
