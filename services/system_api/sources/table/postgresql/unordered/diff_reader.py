"""Reads a table in PostgreSQL for comparison: the server makes the hashes, so that only changed rows are sent."""

from collections.abc import Sequence

import asyncpg

from services.system_api.sources.table.diff.source import Found
from services.system_api.sources.table.keys import decoded
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.null_key_rows import NullKeyRow
from services.system_api.sources.table.postgresql import bounds
from services.system_api.sources.table.postgresql.connection import is_row_error
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from services.system_api.sources.table.postgresql.null_keys import read_null_key_rows
from services.system_api.sources.table.postgresql.session import Session
from services.system_api.sources.table.postgresql.unordered import comparing

_SINGLE_ROWS = 100
"""Rows that are read one by one after an error that one row may have caused."""


class PostgresDiffReader:
    """A `DiffReader`."""

    def __init__(self, keeper: SessionKeeper) -> None:
        self._keeper = keeper
        self._limit = keeper.options.row_limit

    async def hashes(self, after: Found | None, limit: int) -> tuple[list[Found], bool]:
        """Return the next rows; see `DiffReader`."""
        with self._keeper.errors():
            session = await self._session(first=after is None)
            key = None if after is None else after.key
            try:
                found = await self._hashes(session, key, limit, with_data=True)
            except asyncpg.PostgresError as exc:
                if not is_row_error(exc):
                    raise
                limit = min(limit, _SINGLE_ROWS)
                found = await self._hashes(session, key, limit, with_data=False)
                found = [await self._single_hash(session, row) for row in found]
            return found, len(found) < limit

    async def contents(self, rows: Sequence[Found], max_bytes: int) -> tuple[list[Row[int]], int]:
        """Return states of rows; see `DiffReader`."""
        with self._keeper.errors():
            session = await self._session(first=False)
            try:
                found = await self._contents(session, rows, max_bytes)
            except asyncpg.PostgresError as exc:
                if not is_row_error(exc):
                    raise
                rows = rows[:_SINGLE_ROWS]
                found = [row for place in rows for row in await self._single_contents(session, place, max_bytes)]
        if sum(len(row.data) for row in found) < max_bytes:
            return found, len(rows)
        # The rows after the last one were not read.
        last = found[-1].key
        return found, next(number for number, row in enumerate(rows, 1) if row.key == last)

    async def null_key_rows(self, known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key; see `DiffReader`."""
        return await read_null_key_rows(self._keeper, known, timeout)

    async def _session(self, *, first: bool) -> Session:
        session = await self._keeper.session()
        if first and await session.connection.fetchval(bounds.identity(session.shape)) != session.identity:
            self._keeper.reopen()
            session = await self._keeper.session()
        return session

    async def _hashes(self, session: Session, after: str | None, limit: int, *, with_data: bool) -> list[Found]:
        statement, arguments = comparing.hashes(session.shape, after, limit, with_data=with_data)
        return [Found(key, digest, key) for key, digest in await session.connection.fetch(statement, *arguments)]

    async def _single_hash(self, session: Session, row: Found) -> Found:
        """Return the row with its hash, or with that of the server's error."""
        try:
            found = await self._contents(session, [row], 1)
        except asyncpg.PostgresError as exc:
            if not is_row_error(exc):
                raise
            return row._replace(digest=comparing.error_digest(str(exc.args[0])))
        return row._replace(digest=found[0].version) if found else row

    async def _single_contents(self, session: Session, row: Found, max_bytes: int) -> list[Row[int]]:
        try:
            return await self._contents(session, [row], max_bytes)
        except asyncpg.PostgresError as exc:
            if not is_row_error(exc):
                raise
            error = str(exc.args[0])
            return [Row(0, row.key, comparing.error_digest(error), None, b"{}", error)]

    async def _contents(self, session: Session, rows: Sequence[Found], max_bytes: int) -> list[Row[int]]:
        shape = session.shape
        values = [decoded(row.key, len(shape.keys)) for row in rows]
        columns = [list(column) for column in zip(*values, strict=True)]
        statement = comparing.contents(shape, self._limit)
        return [Row(0, *row) for row in await session.connection.fetch(statement, *columns, max_bytes)]
