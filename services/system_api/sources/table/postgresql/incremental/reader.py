"""Reads a table in PostgreSQL up to the last commit, and tracks which rows are final.

One poll reads the bound, the open transactions and the rows, in this order; see `horizon`.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import asyncpg

from services.system_api.sources.table import problems
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import NullKeyRow
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.connection import is_row_error
from services.system_api.sources.table.postgresql.incremental.observing import Observer, TableChanged
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from services.system_api.sources.table.postgresql.null_keys import read_null_key_rows
from services.system_api.sources.table.postgresql.session import Session
from services.system_api.sources.table.postgresql.statements import ReadLimits
from services.system_api.sources.table.time_scale import order_of
from shared.errors import Malformed, Unavailable
from shared.runtime.clock import Clock

_new = tuple.__new__

_MOST_ROWS = 100_000
_SINGLE_ROWS = 100
"""Rows that a poll reads one by one after such an error, to find the row that causes it."""


class PostgresReader:
    """A `TableReader`: reads one table, and reconnects after any failure."""

    def __init__(self, keeper: SessionKeeper, clock: Clock) -> None:
        self._keeper = keeper
        self._options = keeper.options
        self._observer = Observer(keeper.options, keeper.place, clock)
        self._most_rows = _MOST_ROWS
        """Rows that are read at once, after a statement that took too long."""

    async def observe(self) -> int | None:
        """Return the horizon; see `TableReader`."""
        keeper = self._keeper
        with keeper.errors():
            try:
                return await self._observer.observe(await keeper.session())
            except TableChanged:
                keeper.reopen()
            try:
                return await self._observer.observe(await keeper.session())
            except TableChanged as exc:
                raise Unavailable(f"{keeper.place}: the definition of the table changes") from exc

    async def rows(
        self, limit: int, max_bytes: int, ledger: Ledger[int], below: int | None
    ) -> tuple[list[Row[int]], bool]:
        """Return the next rows; see `TableReader`."""
        limit = min(limit, self._most_rows)
        limits = ReadLimits(limit, max_bytes, self._options.row_limit)
        with self._keeper.errors():
            session = await self._keeper.session()
            emitted = list(ledger.emitted)
            try:
                rows = await self._fetch(session, limits, ledger, below=below, emitted=emitted)
            except (asyncpg.QueryCanceledError, asyncpg.SerializationError):
                # It took too long, perhaps for a standby, whose replay it holds up. The server makes the JSON of all
                # rows before it counts their bytes: fewer may be made in time.
                self._most_rows = max(1, limit // 4)
                raise
            except asyncpg.PostgresError as exc:
                if not is_row_error(exc):
                    raise
                limits = replace(limits, rows=min(limit, _SINGLE_ROWS))
                rows = await self._fetch(session, limits, ledger, below=below, emitted=emitted, with_data=False)
                rows = [await self._with_data(session, row) for row in rows]
                return self._note_highest(rows), len(rows) < limits.rows
        self._most_rows = min(2 * self._most_rows, _MOST_ROWS)
        return self._note_highest(rows), len(rows) < limit and sum(len(row.data) for row in rows) < max_bytes

    def _note_highest(self, rows: list[Row[int]]) -> list[Row[int]]:
        if rows:
            highest, last = self._observer.highest, rows[-1].order
            self._observer.highest = last if highest is None else max(highest, last)
        return rows

    async def _fetch(
        self,
        session: Session,
        limits: ReadLimits,
        ledger: Ledger[int],
        *,
        below: int | None,
        emitted: Sequence[str],
        with_data: bool = True,
    ) -> list[Row[int]]:
        statement, arguments = statements.rows(
            session.shape, limits, ledger.position, below=below, emitted=emitted, with_data=with_data
        )
        found = await session.connection.fetch(statement, *arguments)
        if session.shape.order_type == "float8":
            return [Row(order_of(order), *rest) for order, *rest in found]
        # Not by the constructor: each row would pay for a Python function.
        return [_new(Row, row) for row in found]

    async def _with_data(self, session: Session, row: Row[int]) -> Row[int]:
        """Return the row with its data, or with the error of the server."""
        statement, arguments = statements.data_of_one(session.shape, self._options.row_limit, row.key)
        try:
            found = await session.connection.fetchrow(statement, *arguments)
        except asyncpg.PostgresError as exc:
            if not is_row_error(exc):
                raise
            return row._replace(error=str(exc.args[0]))
        # Deleted meanwhile: the row existed, but its contents are unknown.
        if found is None:
            return row._replace(error="the row was deleted while it was read")
        subject, data, error = found
        return row._replace(subject=subject, data=data, error=error)

    async def null_key_rows(self, known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key or order value; see `TableReader`."""
        return await read_null_key_rows(self._keeper, known, timeout)

    def holder(self) -> str | None:
        """Describe the open transactions that hold the horizon back; see `TableReader`."""
        return self._observer.holder(self._keeper.current)

    async def order_at(self, time: datetime) -> int:
        """Return the order value of a time.

        Raises:
            Malformed: rows are ordered by their key.
            Unavailable: the server does not answer.
        """
        with self._keeper.errors():
            session = await self._keeper.session()
            if not session.shape.by_time:
                raise Malformed("a table without updated_at_column has no times; expected beginning, end or a position")
            return await self._order_at(session, time)

    async def count_between(self, since: datetime, until: datetime) -> int:
        """Return how many rows have a time within [since, until).

        Raises:
            Malformed: rows are ordered by their key.
            Unavailable: the server does not answer, or not in time.
        """
        with self._keeper.errors():
            session = await self._keeper.session()
            if not session.shape.by_time:
                raise Malformed("rows without updated_at_column cannot be counted by time")
            bounds = [await self._order_at(session, time) for time in (since, until)]
            statement, arguments = statements.count_between(session.shape, *bounds)
            found: int = await session.connection.fetchval(statement, *arguments)
            return found

    @staticmethod
    async def _order_at(session: Session, time: datetime) -> int:
        micros = await session.connection.fetchval(statements.order_at(session.shape), time.isoformat())
        return session.shape.scale.at(micros)

    def problem(self, ledger: Ledger[int]) -> str | None:
        """Report keys or times that went back or are ahead; see `TableReader`."""
        observer, limit = self._observer, self._options.early_limit
        if self._options.updated_at_column is None:
            return problems.of_keys(ledger, observer.next, limit, waits=self.holder() is not None)
        return problems.of_times(ledger, observer.next, limit, observer.scale)

    def warning(self) -> str | None:
        """Report times of another zone; see `TableReader`."""
        return self._observer.local_clock.problem(str(self._options.time_zone))
