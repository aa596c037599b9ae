"""Reads a table in SQLite in order."""

import logging
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic

from services.system_api.sources.table import problems
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.sqlite.file import SqliteFile, is_too_large
from services.system_api.sources.table.sqlite.final import Final
from services.system_api.sources.table.sqlite.rows import Rows
from services.system_api.sources.table.sqlite.shape import VERSION, SqliteShape, sqlite_shape_of
from services.system_api.sources.table.sqlite.statements import Statements
from services.system_api.sources.table.sqlite.values import NAMES, digest, encoded
from shared.errors import Malformed, SettingsError

logger = logging.getLogger(__name__)

_SINGLE_ROWS = 100
"""Rows that a poll reads one by one after one was too large to load."""


class SqliteReader(Generic[Order]):
    """A `TableReader` of one table."""

    def __init__(
        self, name: str, options: TableSourceOptions, file: SqliteFile, shape: SqliteShape, final: Final[Order]
    ) -> None:
        self._name = name
        self._options = options
        self._file = file
        self._final: Final[Order] = final
        self._version: int | None = None
        self._following: int | None = None
        """The next key that SQLite assigns; None: the table has other order values."""
        self._use(shape)

    async def observe(self) -> Order | None:
        """Return the horizon; see `TableReader`."""
        ((version,),) = await self._file.fetch(VERSION)
        if version != self._version:
            await self._read_shape(version)
        highest = await self._highest()
        if self._shape.assigned and not self._shape.times:
            self._following = await self._next(highest or 0)
        return None if highest is None else self._final.below(highest)

    async def rows(
        self, limit: int, max_bytes: int, ledger: Ledger[Order], below: Order | None
    ) -> tuple[list[Row[Order]], bool]:
        """Return the next rows; see `TableReader`."""
        return await self._file.run(lambda connection: self._read(connection, limit, max_bytes, ledger, below))

    async def null_key_rows(self, _known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key or order value; see `TableReader`."""
        found = []
        for type_, missing, *values in await self._file.fetch(self._statements.null_key_rows(), (LIMIT + 1,), timeout):
            data, _ = encoded(self._shape.columns, values)
            error = f"column {missing or self._shape.order!r} is NULL"
            if missing is None and self._shape.kind is not None and type_ != "null":
                expected = NAMES[self._shape.kind].replace("'", "")
                error = f"column {self._shape.order!r} is {type_}; expected {expected}"
            found.append(NullKeyRow(digest(data), data, error))
        return found

    async def order_at(self, time: datetime) -> Order:
        """Return the order value of a time; see `TimedReader`."""
        like = await self._highest()
        if like is None:
            raise Malformed("the table has no row yet that tells how times are written")
        return self._final.at(time, like)

    async def count_between(self, since: datetime, until: datetime) -> int:
        """Return how many rows have a time within [since, until); see `CountingReader`."""
        like = await self._highest()
        if like is None:
            return 0
        bounds = [self._final.at(time, like) for time in (since, until)]
        ((found,),) = await self._file.fetch(*self._statements.count_between(*bounds))
        return int(found)

    def holder(self) -> None:
        """Return None: there is one writer at a time."""

    def problem(self, ledger: Ledger[Order]) -> str | None:
        """Report keys that went back; see `TableReader`."""
        if self._following is None or ledger.position is None:
            return None
        # An order value that SQLite assigns is an integer, and the position is behind the last one.
        return problems.of_assigned_keys(self._following, int(ledger.position.order))

    def warning(self) -> str | None:
        """Return what is wrong with the times; see `TableReader`."""
        return self._final.problem()

    async def _highest(self) -> Any:
        """Return the highest order value as it is stored; None in an empty table."""
        found = await self._file.fetch(self._statements.highest())
        return found[0][0] if found else None

    async def _next(self, highest: int) -> int:
        """Return the key that SQLite assigns next, in a table whose highest key is `highest`."""
        if self._shape.counted is not None:
            found = await self._file.fetch(*self._statements.assigned())
            highest = max(highest, *(int(row[0]) for row in found), 0)
        return highest + 1

    def _use(self, shape: SqliteShape) -> None:
        self._shape = shape
        self._statements = Statements(shape)
        self._rows: Rows[Order] = Rows(shape, self._statements, self._options.subject_name)

    async def _read_shape(self, version: int) -> None:
        """Read the definition of the table again: columns were added, or it was dropped and created again."""
        if self._version is not None:
            extra = {"component": "source", "source": self._name, "table": self._options.relation}
            logger.info("table has changed; reading its definition again", extra=extra)
        await self._file.fetch(self._statements.exists())
        with settings_errors(self._name):
            shape = await sqlite_shape_of(self._file, self._options)
            if (shape.mode, shape.assigned) != (self._shape.mode, self._shape.assigned):
                raise SettingsError(
                    f"table: the definition of column {shape.order!r} has changed;"
                    " give the source another name to start from the beginning"
                )
        self._use(shape)
        self._version = version

    def _read(
        self, connection: sqlite3.Connection, limit: int, max_bytes: int, ledger: Ledger[Order], below: Order | None
    ) -> tuple[list[Row[Order]], bool]:
        """Read rows one by one until there are enough, so that only these are in memory."""
        # Emitted rows are recognised only after reading: the state of a row is a hash of its contents.
        asked = limit + len(ledger.emitted)
        statement, arguments = self._statements.rows(asked, ledger.position, below)
        rows: list[Row[Order]] = []
        size = count = 0
        try:
            for values in connection.execute(statement, arguments):
                count += 1
                row = self._rows.row(values)
                if ledger.has_emitted(row.order, row.version, row.key):
                    continue
                rows.append(row)
                size += len(row.data)
                if len(rows) > limit or size >= max_bytes:
                    return rows[:limit], False
        except sqlite3.DataError as exc:
            if not is_too_large(exc):
                raise
            return (rows, False) if rows else self._read_singly(connection, limit, max_bytes, ledger, below)
        return rows[:limit], count < asked and len(rows) <= limit

    def _read_singly(
        self, connection: sqlite3.Connection, limit: int, max_bytes: int, ledger: Ledger[Order], below: Order | None
    ) -> tuple[list[Row[Order]], bool]:
        """Read the next rows one by one, with those values that can be loaded."""
        asked = min(limit, _SINGLE_ROWS) + len(ledger.emitted)
        statement, arguments = self._statements.positions(asked, ledger.position, below)
        found = connection.execute(statement, arguments).fetchall()
        rows: list[Row[Order]] = []
        size = 0
        for place in found:
            row = self._rows.single(connection, place)
            if row is None or ledger.has_emitted(row.order, row.version, row.key):
                continue
            rows.append(row)
            size += len(row.data)
            if size >= max_bytes:
                return rows, False
        return rows, len(found) < asked
