"""Finds the delimiter of a CSV file in its first row, and refuses a file where that is not clear. No I/O.

A wrong guess would publish wrong events, so what the settings name decides: the right delimiter cuts the header into a
field for each column that they name, and a row without a header into as many fields as they name columns.
"""

import re
from collections.abc import Callable, Collection

from shared.errors import Malformed

CANDIDATES = (b",", b";", b"\t", b"|")
"""What a delimiter is looked for among."""
_WORDS = {b",": "comma", b";": "semicolon", b"\t": "tab", b"|": "bar"}
_EXCEL = re.compile(rb"sep=.\r?", re.IGNORECASE)
"""The line by which a program tells Excel the delimiter."""
_SHOWN = 120


class UnknownDialect(Malformed):
    """The delimiter of a file cannot be found without doubt."""


Found = Callable[[str, str], None]
"""Takes each delimiter that is found first in some file, and the row that it was found in."""


class DelimiterFinder:
    """Finds the delimiters of the files of one source."""

    def __init__(
        self, names: Collection[bytes], count: int | None, *, pad: bool, quote: bytes, escape: bytes, found: Found
    ) -> None:
        """`names` must be among the fields of the first row; `count` is how many fields it must have, None: any number.

        With `pad`, it may have fewer fields.
        """
        self._names = names
        self._count = count
        self._pad = pad
        self._quote = quote
        q, e = re.escape(quote), re.escape(escape)
        escaped = rb"|%b." % e if escape else b""
        self._quoted = re.compile(rb"%b(?:[^%b%b]++|%b%b%b)*+%b" % (q, q, e, q, q, escaped, q), re.DOTALL)
        self._found = found
        self._known: set[bytes] = set()

    def __call__(self, row: bytes) -> bytes:
        """Return the delimiter of a file whose first row is given, without its newline.

        Raises:
            UnknownDialect: it is not clear.
        """
        row = row.removesuffix(b"\r")
        if _EXCEL.fullmatch(row):
            raise UnknownDialect(f"found {_text(row)!r}, a line for Excel; set skip_lines to leave it out")
        unquoted = self._quoted.sub(b"", row)
        present = [each for each in CANDIDATES if each in unquoted]
        if not present and self._count == 1:
            return CANDIDATES[0]
        # Alone it is tried, also without what the settings name: the error then tells what is missing.
        fitting = present if len(present) == 1 else [each for each in present if self._fits(row, each)]
        if len(fitting) != 1:
            raise UnknownDialect(self._refusal(row, fitting or present, several=bool(fitting)))
        (delimiter,) = fitting
        if delimiter not in self._known:
            self._known.add(delimiter)
            self._found(delimiter.decode(), _text(row))
        return delimiter

    def _fits(self, row: bytes, delimiter: bytes) -> bool:
        fields = self._fields(row, delimiter)
        if self._count is not None and (len(fields) > self._count or (len(fields) < self._count and not self._pad)):
            return False
        return all(name in fields for name in self._names)

    def _fields(self, row: bytes, delimiter: bytes) -> list[bytes]:
        fields, at = list[bytes](), 0
        while True:
            quoted = self._quoted.match(row, at)
            end = row.find(delimiter, at if quoted is None else quoted.end())
            stop = len(row) if end < 0 else end
            whole = quoted is not None and quoted.end() == stop
            fields.append(row[at + 1 : stop - 1] if whole else row[at:stop])
            if end < 0:
                return fields
            at = end + 1

    def _refusal(self, row: bytes, present: list[bytes], *, several: bool) -> str:
        shown = f"csv.delimiter: found {_text(row)!r} in the first row"
        if not present:
            return f"{shown}; expected a comma, semicolon, tab or bar: set the delimiter"
        words = " and ".join(_WORDS[each] for each in present)
        wanted = "the columns that the settings name" if self._count is None else f"{self._count} columns"
        fit = "all fit" if several else "none fits"
        return f"{shown}, with {words}, of which {fit} {wanted}: set the delimiter"


def _text(row: bytes) -> str:
    return row[:_SHOWN].decode(errors="replace")
