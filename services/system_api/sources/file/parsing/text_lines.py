"""Lines of text, read by a pattern with named groups, or as fields of fixed width. No I/O."""

import re
from collections.abc import Mapping, Sequence

from services.system_api.sources.file.parsing.columns import ColumnType, RowBuilder
from services.system_api.sources.file.parsing.parser import Row
from services.system_api.sources.file.parsing.splitter import cut_lines, never_suspicious
from shared.errors import Malformed


class _Lines:
    """What both formats have in common: each line is a row."""

    cut = staticmethod(cut_lines)
    suspicious = staticmethod(never_suspicious)
    """Text becomes JSON strings; numbers and JSON are checked where a column is converted."""

    def __init__(self, skip_lines: int) -> None:
        self.skip_lines = skip_lines

    def prepare(self, piece: bytes) -> bytes:
        """Return the line unchanged."""
        return piece


class PatternLines(_Lines):
    """Reads lines by a pattern: its named groups are the columns."""

    def __init__(
        self,
        pattern: re.Pattern[str],
        subject: str,
        time: str | None,
        types: Mapping[str, ColumnType],
        *,
        skip_lines: int = 0,
    ) -> None:
        """`subject` and `time` name groups.

        Raises:
            Malformed: the pattern has no such group.
        """
        super().__init__(skip_lines)
        self._match = pattern.fullmatch
        self._rows = RowBuilder(list(pattern.groupindex), subject, time, types)

    def read(self, piece: bytes) -> Row:
        """Read one line; see `Format`. A group that takes no part in the match is null."""
        found = self._match(piece.decode())
        if found is None:
            raise Malformed("the line does not match the pattern")
        return self._rows.row(list(found.groupdict().values()))


class FixedWidthLines(_Lines):
    """Reads lines whose fields are at fixed places, counted in characters."""

    def __init__(
        self,
        columns: Mapping[str, tuple[int, int]],
        subject: str,
        time: str | None,
        types: Mapping[str, ColumnType],
        *,
        skip_lines: int = 0,
    ) -> None:
        """`columns` are names with the first and the last character of each, from 1.

        Raises:
            Malformed: there is no such column as `subject` or `time` name.
        """
        super().__init__(skip_lines)
        self._places: Sequence[tuple[int, int]] = [(first - 1, last) for first, last in columns.values()]
        self._rows = RowBuilder(list(columns), subject, time, types)

    def read(self, piece: bytes) -> Row:
        """Read one line; see `Format`. White space around a field is left out; a line may end early."""
        text = piece.decode()
        return self._rows.row([text[first:last].strip() for first, last in self._places])
