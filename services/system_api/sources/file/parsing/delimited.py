"""CSV by RFC 4180, in UTF-8: each row becomes one JSON object whose members are the columns. No I/O.

Stricter than most readers, so that no wrong event is made of a broken row: a row with too few or too many fields, text
after a closing quote, and an empty subject are errors.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from services.system_api.sources.file.parsing.columns import ColumnType, RowBuilder
from services.system_api.sources.file.parsing.dialect import UnknownDialect
from services.system_api.sources.file.parsing.parser import Row
from services.system_api.sources.file.parsing.rows import FindDelimiter, RowCutter
from services.system_api.sources.file.parsing.splitter import Cut, cut_lines, never_suspicious
from shared.errors import Malformed

_BOM = "\ufeff"


class Csv:
    """Reads the rows of one file. A header names the columns, unless the settings do."""

    def __init__(  # noqa: PLR0913 -- what differs from RFC 4180 has defaults
        self,
        subject: str,
        time: str | None,
        *,
        delimiter: str,
        quotes: bool,
        header: bool,
        columns: Sequence[str] | None,
        types: Mapping[str, ColumnType],
        quote: str = '"',
        escape: str = "",
        nulls: Collection[str] = (),
        decimal: str = ".",
        pad: bool = False,
        skip_lines: int = 0,
        whole: bool = False,
        find: FindDelimiter | None = None,
    ) -> None:
        """`subject` and `time` name columns. Without a header, `columns` is required.

        An empty `delimiter` is what `find` returns for the first row. `pad` accepts rows with too few fields: the
        others are null. `whole` is for the `RowCutter`.
        """
        known = len(columns) if columns is not None and not header else 0
        self.cut: Cut = cut_lines
        self._cutter: RowCutter | None = None
        if quotes:
            self.cut = self._cutter = RowCutter(
                delimiter.encode(),
                known,
                quote=quote.encode(),
                escape=escape.encode(),
                whole=whole,
                find=None if find is None else self._find,
            )
        self._finder = find
        self._refused: UnknownDialect | None = None
        self.wants_header = header
        self.skip_lines = skip_lines
        self._subject = subject
        self._time = time
        self._delimiter = delimiter
        self._quote = quote
        self._escape = escape
        self._field = _field_pattern(delimiter, quote, escape) if quotes and delimiter else None
        self._types = types
        self._named = columns
        self._nulls = nulls
        self._decimal = decimal
        self._pad = pad
        self._rows: RowBuilder | None = None
        self._header: frozenset[str] = frozenset()
        """The names in the header, if it has several."""
        if not header:
            assert columns is not None, "the options require it"
            self._use(columns)

    @property
    def found_delimiter(self) -> str:
        """The delimiter that was found in the first row; empty if none was, or if the settings name one."""
        return self._delimiter if self._finder is not None else ""

    def use_delimiter(self, delimiter: str) -> None:
        """Take the delimiter that was found in the first row before, unless the settings name one."""
        if self._finder is not None:
            assert self._cutter is not None, "without quotes, the settings name the delimiter"
            self._cutter.use(delimiter.encode())
            self._take_delimiter()

    def header(self, piece: bytes) -> None:
        """Set the columns from the header."""
        fields = self._split(piece.decode())
        if self._named is not None and len(self._named) != len(fields):
            raise Malformed(f"found {len(fields)} columns; expected {len(self._named)}, as the settings name them")
        self._use(fields if self._named is None else self._named)
        self._header = frozenset(fields) if len(fields) > 1 else frozenset()
        self.wants_header = False

    suspicious = staticmethod(never_suspicious)
    """Text becomes JSON strings; numbers and JSON are checked where a column is converted."""

    def prepare(self, piece: bytes) -> bytes:
        """Return the row unchanged: a carriage return inside a field belongs to it."""
        return piece

    def read(self, piece: bytes) -> Row:
        """Read one row; see `Format`."""
        found = self._split(piece.decode())
        if (found[0] in self._header or found[0][:1] == _BOM) and self._is_header(found):
            shown = ", ".join(found)[:200]
            raise Malformed(f"found a header within the file ({shown}); expected rows of the first header")
        fields: list[str | None] = [*found]
        rows = self._rows
        assert rows is not None, "the header comes first"
        if (missing := len(rows.columns) - len(fields)) != 0:
            if missing < 0 or not self._pad:
                raise Malformed(f"found {len(fields)} fields; expected {len(rows.columns)}")
            fields += [None] * missing
        return rows.row(fields)

    def _is_header(self, fields: Sequence[str]) -> bool:
        """Whether a row has all names of the header, as where files were joined: it is no row, and makes no event."""
        return bool(self._header) and self._header.issubset((fields[0].removeprefix(_BOM), *fields[1:]))

    def _use(self, columns: Sequence[str]) -> None:
        self._rows = RowBuilder(
            columns, self._subject, self._time, self._types, nulls=self._nulls, decimal=self._decimal
        )

    def _find(self, row: bytes) -> bytes:
        """Find the delimiter for the cutter. A refusal is raised when the row is read."""
        assert self._finder is not None, "it is called with one alone"
        try:
            return self._finder(row)
        except UnknownDialect as exc:
            self._refused = exc
            return b","

    def _take_delimiter(self) -> None:
        """Take the delimiter from the cutter, which has found it in the first row."""
        if self._refused is not None:
            raise self._refused
        assert self._cutter is not None, "without quotes, the settings name the delimiter"
        self._delimiter = self._cutter.delimiter.decode()
        self._field = _field_pattern(self._delimiter, self._quote, self._escape)

    def _split(self, text: str) -> list[str]:
        if not self._delimiter:
            self._take_delimiter()
        if self._field is None or self._quote not in text:
            return text.split(self._delimiter)
        fields, at = list[str](), 0
        while True:
            found = self._field.match(text, at)
            if found is None:
                raise Malformed(f"column {len(fields) + 1}: the quote is not closed, or text follows the closing quote")
            quoted, bare, delimiter = found.groups()
            fields.append(bare if quoted is None else self._unquoted(quoted))
            at = found.end()
            if not delimiter:
                return fields

    def _unquoted(self, text: str) -> str:
        quote, escape = self._quote, self._escape
        if escape and escape in text:
            return re.sub(
                rf"{re.escape(escape)}(.)|{re.escape(quote * 2)}",
                lambda found: found[1] or quote,
                text,
                flags=re.DOTALL,
            )
        return text.replace(quote * 2, quote)


def _field_pattern(delimiter: str, quote: str, escape: str) -> re.Pattern[str]:
    d, q, e = re.escape(delimiter), re.escape(quote), re.escape(escape)
    inside = rf"(?:[^{q}{e}]++|{q}{q}|{e}.)*+" if escape else rf"(?:[^{q}]++|{q}{q})*+"
    return re.compile(rf"(?:{q}({inside}){q}|([^{q}{d}][^{d}]*+|))({d}|\Z)", re.DOTALL)
