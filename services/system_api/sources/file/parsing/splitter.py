"""From bytes to lines or rows: in order, with the place of each, and none that is larger than its limit. No I/O."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from shared.events.dead_letter import KEPT_BYTES

Cut = Callable[[bytes], tuple[list[bytes], bytes]]
"""Cuts what is complete, each piece without the newline that ends it, and returns the rest."""


@dataclass(frozen=True, slots=True)
class Oversized:
    """A line above the limit, of which only the head was kept."""

    head: bytes
    size: int
    """Bytes of the line, without its newline."""


def cut_lines(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut at every newline."""
    pieces = data.split(b"\n")
    return pieces, pieces.pop()


def row_cutter(delimiter: bytes) -> Cut:
    """Return what cuts rows of CSV: a newline within quotes belongs to its field (RFC 4180, section 2, rule 6).

    A quote opens a field only where the field begins, so that one within a text does no harm.
    """
    field = rb'(?:"(?:[^"]++|"")*+"[^%b\n]*+|[^"%b\n][^%b\n]*+|)' % ((re.escape(delimiter),) * 3)
    row = re.compile(rb"%b(?:%b%b)*+\n" % (field, re.escape(delimiter), field))

    def cut(data: bytes) -> tuple[list[bytes], bytes]:
        if b'"' not in data:
            return cut_lines(data)
        pieces, start = list[bytes](), 0
        while (found := row.match(data, start)) is not None:
            pieces.append(data[start : found.end() - 1])
            start = found.end()
        return pieces, data[start:]

    return cut


class Splitter:
    """Fed with a file's bytes in order; `take` gives its pieces, and every byte belongs to exactly one of them.

    The pieces are the same in whatever portions the bytes come. A quoted field that is not closed within the limit
    costs its first line, and reading goes on at the next one: one stray quote must not swallow what follows it.
    """

    def __init__(self, cut: Cut, limit: int, offset: int = 0) -> None:
        """`offset` is where the bytes that will be fed begin."""
        self._cut = cut
        self.limit = limit
        self.kept = min(KEPT_BYTES, limit)
        """Bytes that are kept of a line above the limit."""
        self.offset = offset
        """Of the first byte that was not taken."""
        self.plain = True
        """Whether the pieces that wait are UTF-8, without carriage returns or NUL bytes, and within the limit: checked
        for all at once, so that nobody need look at each."""
        self.single = True
        """Whether each of the pieces that wait is one line."""
        self._pieces: list[bytes] = []
        self._next = 0
        self._rest = b""
        self._oversized: Oversized | None = None
        """Complete, and before all pieces."""
        self._skipped: Oversized | None = None
        """Not complete: its newline has not come."""
        self.ended = False
        """Whether the last byte was taken of a file that does not end in a newline."""
        self._unended = False

    @property
    def waiting(self) -> bool:
        """Whether something can be taken."""
        return self._next < len(self._pieces) or self._oversized is not None

    @property
    def incomplete(self) -> int:
        """Bytes that were fed and belong to no complete piece."""
        return len(self._rest) if self._skipped is None else self._skipped.size

    def feed(self, data: bytes) -> None:
        """Add what follows in the file. Only when nothing is waiting."""
        assert not self.waiting, "take first"
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
        """Note that the file ends here: what is incomplete is complete. Only when nothing is waiting."""
        assert not self.waiting, "take first"
        if self._skipped is not None:
            self._oversized, self._skipped = self._skipped, None
            self._unended = True
        elif self._rest:
            # As if a newline followed; a quote that is open here stays so, and costs its line.
            whole, self._rest = self._rest + b"\n", b""
            pieces, rest = self._split(whole)
            while rest:
                line, _, rest = rest.partition(b"\n")
                more, rest = self._split(rest)
                pieces += [line, *more]
            self._wait_with(pieces, whole)
            self._unended = True

    def take_oversized(self) -> tuple[int, Oversized] | None:
        """Take the line that was too large, with its offset; it comes before all pieces."""
        if self._oversized is None:
            return None
        found, self._oversized = (self.offset, self._oversized), None
        self.offset += found[1].size + (not self._ends_here())
        return found

    def take(self, limit: int) -> list[bytes]:
        """Take some pieces. Each lies at the end of the one before it and a newline; the first at `offset`."""
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
        """Cut, and give up on rows of several lines that are above the limit."""
        given = list[bytes]()
        while True:
            pieces, rest = self._cut(data)
            good = self._good(pieces, data)
            if good == len(pieces) and (len(rest) <= self.limit or b"\n" not in rest):
                return given + pieces, rest
            given += pieces[:good]
            line, _, data = data[sum(map(len, pieces[:good])) + good :].partition(b"\n")
            given.append(line)

    def _good(self, pieces: list[bytes], data: bytes) -> int:
        """Return how many pieces come before the first one of several lines that is above the limit."""
        if len(data) > self.limit:
            for number, piece in enumerate(pieces):
                if len(piece) > self.limit and b"\n" in piece:
                    return number
        return len(pieces)

    def _wait_with(self, pieces: list[bytes], whole: bytes) -> None:
        self._pieces, self._next = pieces, 0
        self.single = self._cut is cut_lines or b'"' not in whole
        self.plain = (
            b"\r" not in whole
            and b"\0" not in whole
            and (len(whole) <= self.limit or max(map(len, pieces), default=0) <= self.limit)
            and (whole.isascii() or _is_utf8(memoryview(whole)[: whole.rfind(b"\n") + 1]))
        )


def _is_utf8(data: memoryview) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
