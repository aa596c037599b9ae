"""Reads a table in SQLite in order."""

from collections.abc import Callable, Sequence
from typing import Generic

from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow
from services.system_api.sources.table.sql import quoted, quoted_table
from services.system_api.sources.table.sqlite.file import SqliteFile
from services.system_api.sources.table.sqlite.shape import SqliteShape
from services.system_api.sources.table.sqlite.values import Value, as_text, digest, encoded

_NAMES = {int: "integer", str: "text"}


class SqliteReader(Generic[Order]):
    """A `TableReader` of one table."""

    def __init__(self, file: SqliteFile, shape: SqliteShape, final: Callable[[Order], Order]) -> None:
        """`final` returns the horizon for the highest order value in the table."""
        self._file = file
        self._shape = shape
        self._final: Callable[[Order], Order] = final
        self._table = quoted_table(shape.table)
        self._order, self._key = quoted(shape.order), quoted(shape.key)
        self._tie = self._key if shape.updated_at_column is None else _as_text(self._key)
        self._columns = ", ".join(quoted(name) for name in shape.columns)
        # SQLite stores a type with each value, and sorts all integers before all text.
        self._placed = f"typeof({self._order}) = '{_NAMES[shape.kind]}' AND {self._key} IS NOT NULL"

    async def observe(self) -> Order | None:
        """Return the horizon; see `TableReader`."""
        statement = f"""
            SELECT {self._order} FROM {self._table} WHERE {self._placed} ORDER BY {self._order} DESC LIMIT 1
        """  # noqa: S608 -- every name is quoted
        found = await self._file.fetch(statement)
        return self._final(found[0][0]) if found else None

    async def rows(
        self, limit: int, _max_bytes: int, ledger: Ledger[Order], below: Order | None
    ) -> tuple[list[Row[Order]], bool]:
        """Return the next rows; see `TableReader`. `max_bytes` is not applied."""
        # Emitted rows are recognised only after reading: the state of a row is a hash of its contents.
        asked = limit + len(ledger.emitted)
        statement, arguments = self._statement(asked, ledger, below)
        found = [self._row(values) for values in await self._file.fetch(statement, arguments)]
        rows = [row for row in found if row.identity not in ledger.emitted]
        return rows[:limit], len(found) < asked and len(rows) <= limit

    async def null_key_rows(self, _known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key or order value; see `TableReader`."""
        statement = f"""
            SELECT typeof({self._order}), {self._key} IS NULL, {self._columns} FROM {self._table}
            WHERE NOT ({self._placed}) LIMIT ?
        """  # noqa: S608 -- every name is quoted
        found = []
        for type_, no_key, *values in await self._file.fetch(statement, (LIMIT + 1,), timeout):
            data, _ = encoded(self._shape.columns, values)
            error = f"column {self._shape.key if no_key else self._shape.order!r} is NULL"
            if type_ not in {"null", _NAMES[self._shape.kind]}:
                error = f"column {self._shape.order!r} is {type_}; expected {_NAMES[self._shape.kind]}"
            found.append(NullKeyRow(digest(data), data, error))
        return found

    def problem(self, _ledger: Ledger[Order]) -> None:
        """Return None: SQLite has no such problem."""

    def _statement(self, limit: int, ledger: Ledger[Order], below: Order | None) -> tuple[str, list[Value]]:
        conditions, position = [self._placed], ledger.position
        arguments: list[Value] = []
        if position is not None and position.key is None:
            conditions.append(f"{self._order} >= ?")
            arguments.append(position.order)
        elif position is not None and self._shape.updated_at_column is None:
            conditions.append(f"{self._order} > ?")
            arguments.append(position.order)
        elif position is not None and position.key is not None:
            # The first condition alone lets SQLite use the index.
            conditions.append(f"{self._order} >= ? AND ({self._order} > ? OR {self._tie} > ?)")
            arguments += [position.order, position.order, position.key]
        if below is not None:
            conditions.append(f"{self._order} < ?")
            arguments.append(below)
        statement = f"""
            SELECT {self._order}, {self._tie}, {quoted(self._shape.subject)}, {self._columns} FROM {self._table}
            WHERE {" AND ".join(conditions)}
            ORDER BY {", ".join(dict.fromkeys([self._order, self._tie]))}
            LIMIT ?
        """  # noqa: S608 -- every name is quoted
        return statement, [*arguments, limit]

    def _row(self, values: Sequence[Value]) -> Row[Order]:
        order, key, subject, *rest = values
        data, error = encoded(self._shape.columns, rest)
        version = "" if self._shape.updated_at_column is None else digest(data)
        return Row(order, as_text(key) or "", version, as_text(subject), data, error)  # type: ignore[arg-type] # `_placed`


def _as_text(key: str) -> str:
    """Return an expression for the key as text: keys of different types in one column would not compare by value."""
    return f"CASE typeof({key}) WHEN 'blob' THEN lower(hex({key})) ELSE CAST({key} AS TEXT) END"
