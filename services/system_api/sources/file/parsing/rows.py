"""Cuts bytes into CSV rows, and tells a quoted newline from a quote that was never meant to be closed. No I/O.

A quote opens a field only at the beginning of the field; elsewhere it is an ordinary character. A quoted newline
belongs to its field (RFC 4180, section 2, rule 6). A quote is stray, so that its row ends with its line, if
    the lines behind it are complete rows: many of them, or the first one where text follows the closing quote, or
    the closing quote stands where a field begins, and text follows it.
In a whole file, a field that ends as a field does may hold any number of rows.
What a row is does not depend on how the bytes are divided into portions.
"""

import re
from collections.abc import Callable
from enum import Enum

SUSPICIOUS_LINES = 100
"""Lines within one quoted field that all look like rows, from which on its quote is stray."""


_NEWLINE = ord("\n")


class _Quote(Enum):
    OPEN = "open"
    """More bytes are needed: the field, or its row, is incomplete."""
    CLOSED = "closed"


FindDelimiter = Callable[[bytes], bytes]
"""Returns the delimiter of a file whose first row is given."""


class RowCutter:
    """Returns the complete rows of some bytes, each without its newline, and the rest."""

    def __init__(
        self,
        delimiter: bytes,
        columns: int = 0,
        *,
        quote: bytes = b'"',
        escape: bytes = b"",
        whole: bool = False,
        find: FindDelimiter | None = None,
    ) -> None:
        """`columns` is the number of fields in a row; if it is 0, it is taken from the first row that is not blank.

        An empty `delimiter` is what `find` returns for the first line of that row. `escape` stands before a quote
        inside quotes; without it, quotes there are doubled.

        In a `whole` file, a quote that is open waits for its end, so that a field may hold rows: the rows behind a
        stray quote come when the row becomes too large, or the file ends. In one that grows, they would wait.
        """
        self.columns = columns
        self._find = find
        self._whole_file = whole
        self.quote = quote
        self.delimiter = delimiter
        q, e = re.escape(quote), re.escape(escape)
        # Inside quotes, on one line and on several.
        escaped = rb"|%b[^\n]" % e if escape else b""
        self._inside_line = rb"(?:[^%b%b\n]++|%b%b%b)*+" % (q, e, q, q, escaped)
        escaped = rb"|%b." % e if escape else b""
        self._quoted = re.compile(rb"%b(?:[^%b%b]++|%b%b%b)*+%b" % (q, q, e, q, q, escaped, q), re.DOTALL)
        self._bare: re.Pattern[bytes]
        self._line: re.Pattern[bytes]
        self._field = b""
        self._whole: re.Pattern[bytes] | None = None
        if delimiter:
            self.use(delimiter)

    def use(self, delimiter: bytes) -> None:
        """Take this delimiter."""
        self.delimiter = delimiter
        d, q, inside = re.escape(delimiter), re.escape(self.quote), self._inside_line
        self._bare = re.compile(rb"[^%b\n]*+" % d)
        field = rb"(?:%b%b%b[^%b\n]*+|[^%b%b\n][^%b\n]*+|)" % (q, inside, q, d, q, d, d)
        self._line = re.compile(rb"%b(?:%b%b)*+\n" % (field, d, field))
        self._field = rb"(?:%b%b%b|[^%b%b\n][^%b\n]*+|)" % (q, inside, q, q, d, d)

    def _find_delimiter(self, data: bytes) -> None:
        """Take the delimiter from the first line that is not blank and complete."""
        for line in data.split(b"\n")[:-1]:
            if line and not line.isspace():
                assert self._find is not None, "without it, there is a delimiter"
                self.use(self._find(line))
                return

    def __call__(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Cut; see `Cut`."""
        if not self.delimiter:
            self._find_delimiter(data)
        if self.quote not in data or not self.delimiter:
            pieces = data.split(b"\n")
            rest = pieces.pop()
            if not self.columns and self.delimiter:
                self._learn(pieces)
            return pieces, rest
        pieces, start = list[bytes](), 0
        match = self._line.match
        while True:
            found = match(data, start)
            end = found.end() - 1 if found is not None else self._end_of(data, start)
            if end is None:
                return pieces, data[start:]
            pieces.append(data[start:end])
            start = end + 1
            if not self.columns:
                self._learn(pieces[-1:])

    def abandoned_end(self, rest: bytes) -> int | None:
        """Return where a row ends whose quote is open, if all complete lines behind it are rows; None if not.

        `rest` is what `__call__` returned as the rest.
        """
        first = rest.find(b"\n", self._open_field(rest))
        last = rest.rfind(b"\n")
        lines = rest.count(b"\n", first + 1) if first >= 0 else 0
        return first if lines and self._rows_follow(rest, first + 1, last, lines) else None

    def _learn(self, pieces: list[bytes]) -> None:
        """Take the number of columns from the first row that is not blank."""
        row = next((piece for piece in pieces if piece and not piece.isspace()), None)
        if row is None:
            return
        at, count = 0, 1
        while (at := self._after_field(row, at)) < len(row):
            at, count = at + 1, count + 1
        self.columns = count

    def _after_field(self, data: bytes, at: int) -> int:
        quoted = self._quoted.match(data, at)
        bare = self._bare.match(data, at if quoted is None else quoted.end())
        assert bare is not None, "it matches nothing, too"
        return bare.end()

    def _end_of(self, data: bytes, start: int) -> int | None:
        """Return the index of the newline that ends a row of several lines; None if that has not come yet."""
        at = start
        while True:
            if data[at : at + 1] == self.quote:
                end = self._end_of_quoted(data, at)
                if end is _Quote.OPEN:
                    return None
                if end is not _Quote.CLOSED:
                    return end
            at = self._after_field(data, at)
            if at == len(data):
                return None
            if data[at] == _NEWLINE:
                return at
            at += 1

    def _end_of_quoted(self, data: bytes, at: int) -> "int | _Quote":
        """Return where the row of a quoted field ends if its quote is stray, else whether the field is closed."""
        closed = self._quoted.match(data, at)
        end = len(data) if closed is None else closed.end()
        first = data.find(b"\n", at, end)
        may_hold_rows = self._whole_file and _may_end(data, end, self.delimiter, closed=closed is not None)
        if first >= 0 and not may_hold_rows and self._rows_follow(data, first + 1, end, SUSPICIOUS_LINES):
            return first
        if closed is None or end == len(data) or data[end:] == b"\r":
            return _Quote.OPEN
        ends = data[end] in b"\n" + self.delimiter or data[end : end + 2] == b"\r\n"
        if first < 0 or ends or not self.columns:
            return _Quote.CLOSED
        return self._before_text(data, first, end)

    def _before_text(self, data: bytes, first: int, end: int) -> "int | _Quote":
        """The same for a field of several lines whose closing quote, before `end`, is followed by text."""
        if data[end - 2] in b"\n" + self.delimiter:
            return first  # it opens a field
        if data.find(b"\n", first + 1) < 0:
            return _Quote.OPEN
        return first if self._rows_follow(data, first + 1, len(data), 1) else _Quote.CLOSED

    def _rows_follow(self, data: bytes, at: int, end: int, count: int) -> bool:
        """Whether `count` lines from `at` on, all before `end`, are complete rows of this file.

        Each line of a file with one column is a row, which is no sign of anything.
        """
        if self.columns <= 1:
            return False
        if self._whole is None:
            more = rb"(?:%b%b){%d}" % (re.escape(self.delimiter), self._field, self.columns - 1)
            self._whole = re.compile(rb"%b%b\r?\n" % (self._field, more))
        for _ in range(count):
            found = self._whole.match(data, at, end + 1)
            if found is None:
                return False
            at = found.end()
        return True

    def _open_field(self, rest: bytes) -> int:
        """Return where the first field begins whose quote is not closed; the end if there is none."""
        at = 0
        while at < len(rest):
            if rest[at : at + 1] == self.quote and self._quoted.match(rest, at) is None:
                return at
            at = self._after_field(rest, at) + 1
        return len(rest)


def _may_end(data: bytes, end: int, delimiter: bytes, *, closed: bool) -> bool:
    """Whether a field may end at `end`: a field ends there, and its last quote does not open another one."""
    if not closed or end == len(data) or data[end:] == b"\r":
        return True  # that is not known yet
    ends = data[end] in b"\n" + delimiter or data[end : end + 2] == b"\r\n"
    return ends and data[end - 2] not in b"\n" + delimiter
