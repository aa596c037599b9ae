"""Reads a table in SQLite for comparison."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from services.system_api.sources.table.diff.source import Found
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.sqlite.file import SqliteFile, is_too_large
from services.system_api.sources.table.sqlite.rows import Rows
from services.system_api.sources.table.sqlite.shape import VERSION, SqliteShape, sqlite_shape_of
from services.system_api.sources.table.sqlite.statements import Statements
from services.system_api.sources.table.sqlite.values import digest, encoded
from shared.errors import SettingsError

_MAX_BYTES = 64 * 1_048_576
"""Size of the rows of which one call makes hashes: a second or two of work."""


class SqliteDiffReader:
    """A `DiffReader`."""

    def __init__(self, name: str, options: TableSourceOptions, file: SqliteFile, shape: SqliteShape) -> None:
        self._name = name
        self._options = options
        self._file = file
        self._version: int | None = None
        self._use(shape)

    async def hashes(self, after: Found | None, limit: int) -> tuple[list[Found], bool]:
        """Return the next rows; see `DiffReader`."""
        if after is None:
            await self._check_definition()
        return await self._file.run(lambda connection: self._hashes(connection, after, limit))

    async def contents(self, rows: Sequence[Found], max_bytes: int) -> tuple[list[Row[int]], int]:
        """Return states of rows; see `DiffReader`."""
        return await self._file.run(lambda connection: self._contents(connection, rows, max_bytes))

    async def null_key_rows(self, _known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key; see `DiffReader`."""
        found = []
        for _, missing, *values in await self._file.fetch(self._statements.null_key_rows(), (LIMIT + 1,), timeout):
            data, _ = encoded(self._shape.columns, values)
            found.append(NullKeyRow(digest(data), data, f"column {missing!r} is NULL"))
        return found

    def _use(self, shape: SqliteShape) -> None:
        self._shape = shape
        self._statements = Statements(shape)
        self._rows: Rows[int] = Rows(shape, self._statements, self._options.subject_name)

    async def _check_definition(self) -> None:
        ((version,),) = await self._file.fetch(VERSION)
        if version == self._version:
            return
        await self._file.fetch(self._statements.exists())
        with settings_errors(self._name):
            shape = await sqlite_shape_of(self._file, self._options)
            if shape.mode != self._shape.mode:
                raise SettingsError("table: its key has changed; give the source another name to start again")
        self._use(shape)
        self._version = version

    def _hashes(self, connection: sqlite3.Connection, after: Found | None, limit: int) -> tuple[list[Found], bool]:
        place = None if after is None else after.place[1:]
        arguments = [*(place or ()), limit]
        found: list[Found] = []
        size = 0
        try:
            for values in connection.execute(self._statements.following(place, contents=True), arguments):
                row = self._rows.row(values)
                found.append(Found(row.key, row.version, values[: len(self._shape.keys) + 1]))
                size += len(row.data)
                if size >= _MAX_BYTES:
                    return found, False
        except sqlite3.DataError as exc:
            if not is_too_large(exc):
                raise
            if found:
                return found, False
            positions = connection.execute(self._statements.following(place, contents=False), [*(place or ()), 1])
            return [self._single(connection, values) for values in positions.fetchall()], False
        return found, len(found) < limit

    def _single(self, connection: sqlite3.Connection, place: Sequence[Any]) -> Found:
        row = self._rows.single(connection, place)
        return Found(self._rows.key(place), "" if row is None else row.version, tuple(place))

    def _contents(
        self, connection: sqlite3.Connection, rows: Sequence[Found], max_bytes: int
    ) -> tuple[list[Row[int]], int]:
        found: list[Row[int]] = []
        size = 0
        for number, row in enumerate(rows, 1):
            state = self._contents_of_one(connection, row)
            if state is not None:
                found.append(state)
                size += len(state.data)
            if size >= max_bytes:
                return found, number
        return found, len(rows)

    def _contents_of_one(self, connection: sqlite3.Connection, row: Found) -> Row[int] | None:
        try:
            values = connection.execute(self._statements.one_row(), row.place).fetchone()
        except sqlite3.DataError as exc:
            if not is_too_large(exc):
                raise
            return self._rows.single(connection, row.place)
        return None if values is None else self._rows.row(values)
