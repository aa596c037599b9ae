"""Reads an outbox in PostgreSQL, and removes rows from it."""

from collections.abc import Sequence

import asyncpg

from services.system_api.sources.table.keys import decoded
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.postgresql import bounds
from services.system_api.sources.table.postgresql.connection import is_row_error
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from services.system_api.sources.table.postgresql.session import Session
from services.system_api.sources.table.postgresql.shape import Shape
from services.system_api.sources.table.postgresql.unordered import removing

_SINGLE_ROWS = 100
"""Rows that are read one by one after an error that one row may have caused."""


class PostgresOutboxReader:
    """An `OutboxReader`."""

    def __init__(self, keeper: SessionKeeper) -> None:
        self._keeper = keeper
        self._limit = keeper.options.row_limit

    async def rows(self, limit: int, max_bytes: int, known: Sequence[str]) -> tuple[list[Row[int]], bool]:
        """Return rows that are not known; see `OutboxReader`."""
        with self._keeper.errors():
            session = await self._keeper.session()
            if await session.connection.fetchval(bounds.identity(session.shape)) != session.identity:
                self._keeper.reopen()
                session = await self._keeper.session()
            statement = removing.rows(session.shape, self._limit)
            try:
                found = await session.connection.fetch(statement, list(known), limit, max_bytes)
            except asyncpg.PostgresError as exc:
                if not is_row_error(exc):
                    raise
                return await self._singly(session, min(limit, _SINGLE_ROWS), list(known))
        rows = [Row(0, key, "", *rest) for key, *rest in found]
        return rows, len(rows) < limit and sum(len(row.data) for row in rows) < max_bytes

    async def remove(self, keys: Sequence[str]) -> set[str]:
        """Remove rows; see `OutboxReader`."""
        with self._keeper.errors():
            session = await self._keeper.session()
            shape, columns = session.shape, _columns(session.shape, keys)
            status: str = await session.connection.execute(removing.remove(shape), *columns)
            if shape.published is None and status == f"DELETE {len(keys)}":
                return set()
            return {row[0] for row in await session.connection.fetch(removing.remaining(shape), *columns)}

    async def existing(self, keys: Sequence[str]) -> set[str]:
        """Return the keys of rows that are in the table; see `OutboxReader`."""
        with self._keeper.errors():
            session = await self._keeper.session()
            found = await session.connection.fetch(removing.existing(session.shape), *_columns(session.shape, keys))
            return {row[0] for row in found}

    async def _singly(self, session: Session, limit: int, known: list[str]) -> tuple[list[Row[int]], bool]:
        """Read rows one by one, to find the one that fails the statement."""
        rows: list[Row[int]] = []
        keys = [row[0] for row in await session.connection.fetch(removing.unpublished(session.shape), known, limit)]
        for key in keys:
            try:
                only = removing.rows(session.shape, self._limit, only=True)
                found = await session.connection.fetch(only, *_columns(session.shape, [key]))
            except asyncpg.PostgresError as exc:
                if not is_row_error(exc):
                    raise
                rows.append(Row(0, key, "", None, b"{}", str(exc.args[0])))
            else:
                rows += [Row(0, each, "", *rest) for each, *rest in found]
        return rows, len(keys) < limit


def _columns(shape: Shape, keys: Sequence[str]) -> list[list[str]]:
    """Return the values of each column of the keys."""
    values = [decoded(key, len(shape.keys)) for key in keys]
    return [[value[number] for value in values] for number in range(len(shape.keys))]
