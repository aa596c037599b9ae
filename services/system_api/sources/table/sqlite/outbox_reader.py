"""Reads an outbox in SQLite, and removes rows from it."""

import sqlite3
from collections.abc import Sequence

from services.system_api.sources.table.keys import decoded
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.sqlite.file import SqliteFile, is_too_large
from services.system_api.sources.table.sqlite.rows import Rows
from services.system_api.sources.table.sqlite.shape import SqliteShape
from services.system_api.sources.table.sqlite.statements import Statements

_KEY_TYPES = (int, str)
"""Types of key values that are found again by their text."""


class SqliteOutboxReader:
    """An `OutboxReader`."""

    def __init__(self, options: TableSourceOptions, file: SqliteFile, shape: SqliteShape) -> None:
        self._file = file
        self._shape = shape
        self._statements = Statements(shape, options.published_column)
        self._rows: Rows[int] = Rows(shape, self._statements, options.subject_name)

    async def rows(self, limit: int, max_bytes: int, known: Sequence[str]) -> tuple[list[Row[int]], bool]:
        """Return rows that are not known; see `OutboxReader`."""
        return await self._file.run(lambda connection: self._read(connection, limit, max_bytes, set(known)))

    async def remove(self, keys: Sequence[str]) -> set[str]:
        """Remove rows; see `OutboxReader`."""
        statement, remaining = self._statements.remove(), self._statements.remaining()
        arguments = {key: self._values(key) for key in keys}

        def remove(connection: sqlite3.Connection) -> set[str]:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, arguments.values())
            kept = {key for key, values in arguments.items() if connection.execute(remaining, values).fetchone()}
            connection.execute("COMMIT")
            return kept

        return await self._file.run(remove)

    async def existing(self, keys: Sequence[str]) -> set[str]:
        """Return the keys of rows that are in the table; see `OutboxReader`."""
        statement = self._statements.exists_with_key()

        def existing(connection: sqlite3.Connection) -> set[str]:
            return {key for key in keys if connection.execute(statement, self._values(key)).fetchone()}

        return await self._file.run(existing)

    def _values(self, key: str) -> list[str]:
        return decoded(key, len(self._shape.keys))

    def _read(
        self, connection: sqlite3.Connection, limit: int, max_bytes: int, known: set[str]
    ) -> tuple[list[Row[int]], bool]:
        rows: list[Row[int]] = []
        size = 0
        # Without their contents first: which rows are known shows only their keys.
        places = connection.execute(self._statements.following(None, contents=False), [limit + len(known)]).fetchall()
        for place in places:
            if self._rows.key(place) in known:
                continue
            row = self._contents(connection, place)
            if row is not None and not all(type(value) in _KEY_TYPES for value in place):
                row = row._replace(error="the key is neither an integer nor text")
            if row is not None:
                rows.append(row)
                size += len(row.data)
            if len(rows) >= limit or size >= max_bytes:
                return rows, False
        return rows, len(places) < limit + len(known)

    def _contents(self, connection: sqlite3.Connection, place: Sequence[object]) -> Row[int] | None:
        try:
            values = connection.execute(self._statements.one_row(), place).fetchone()
        except sqlite3.DataError as exc:
            if not is_too_large(exc):
                raise
            return self._rows.single(connection, place)  # type: ignore[arg-type]
        return None if values is None else self._rows.row(values)
