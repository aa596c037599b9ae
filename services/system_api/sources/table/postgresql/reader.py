"""Reads a table in PostgreSQL up to the last commit, and tracks which rows are final.

One poll reads the bound, the open transactions and the rows, in this order; see `horizon`.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import asyncpg

from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.postgresql import problems, statements
from services.system_api.sources.table.postgresql.connection import database_of, table_errors
from services.system_api.sources.table.postgresql.observing import Observer, TableChanged
from services.system_api.sources.table.postgresql.session import Session, open_session
from services.system_api.sources.table.postgresql.shape import Shape
from services.system_api.sources.table.postgresql.statements import ReadLimits
from shared.errors import SettingsError, Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_ROW_ERRORS = ("22", "54", "P0")
"""Classes of SQLSTATE that one row can cause: a value that does not convert, a JSON that is too long, an exception
raised by a function of a view."""
_MOST_ROWS = 100_000
_SINGLE_ROWS = 100
"""Rows that a poll reads one by one after such an error, to find the row that causes it."""


class PostgresReader:
    """A `TableReader`: reads one table, and reconnects after any failure."""

    def __init__(self, name: str, options: TableSourceOptions, on_notify: Callable[[], None], clock: Clock) -> None:
        """`on_notify` is called when a trigger has notified."""
        self._name = name
        self._options = options
        self._on_notify = on_notify
        self._place = f"{database_of(options).address}, table {options.table}"
        self._session: Session | None = None
        self._order_type: str | None = None
        self._observer = Observer(options, self._place, clock)
        self._most_rows = _MOST_ROWS
        """Rows that are read at once, after a statement that took too long."""

    async def open(self) -> Shape:
        """Connect, and return the shape of the table.

        Raises:
            Unavailable: the server is unavailable; Unauthorized: it refuses the account.
            SettingsError: the table or a column does not exist, has the wrong type, or the server is a standby.
        """
        with self._translated_errors():
            return (await self._connected()).shape

    def close(self) -> None:
        """Close the connection without waiting: one that hangs must not block the poller."""
        if self._session is not None:
            self._session.connection.terminate()
            self._session = None

    async def observe(self) -> int | None:
        """Return the horizon; see `TableReader`."""
        with self._translated_errors():
            try:
                return await self._observer.observe(await self._connected())
            except TableChanged:
                extra = {"component": "source", "source": self._name, "table": self._options.table}
                logger.info("table has changed; reading its definition again", extra=extra)
                self.close()
            try:
                return await self._observer.observe(await self._connected())
            except TableChanged as exc:
                raise Unavailable(f"{self._place}: the definition of the table changes") from exc

    async def rows(
        self, limit: int, max_bytes: int, ledger: Ledger[int], below: int | None
    ) -> tuple[list[Row[int]], bool]:
        """Return the next rows; see `TableReader`."""
        limit = min(limit, self._most_rows)
        limits = ReadLimits(limit, max_bytes, self._options.row_limit)
        with self._translated_errors():
            session = await self._connected()
            emitted = list(ledger.emitted)
            try:
                rows = await self._fetch(session, limits, ledger, below=below, emitted=emitted)
            except asyncpg.QueryCanceledError:
                # The server makes the JSON of all rows before it counts their bytes: fewer may be made in time.
                self._most_rows = max(1, limit // 4)
                raise
            except asyncpg.PostgresError as exc:
                if not _is_row_error(exc):
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
        return [Row(*row) for row in await session.connection.fetch(statement, *arguments)]

    async def _with_data(self, session: Session, row: Row[int]) -> Row[int]:
        """Return the row with its data, or with the error of the server."""
        statement, arguments = statements.data_of_one(session.shape, self._options.row_limit, row.key)
        try:
            found = await session.connection.fetchrow(statement, *arguments)
        except asyncpg.PostgresError as exc:
            if not _is_row_error(exc):
                raise
            return row._replace(error=str(exc.args[0]))
        # Deleted meanwhile: the row existed, but its contents are unknown.
        if found is None:
            return row._replace(error="the row was deleted while it was read")
        subject, data, error = found
        return row._replace(subject=subject, data=data, error=error)

    async def null_key_rows(self, known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key or order value; see `TableReader`."""
        with self._translated_errors():
            session = await self._connected()
            if not session.shape.nullable:
                return ()
            statement = statements.null_key_rows(session.shape)
            try:
                found = await session.connection.fetch(statement, list(known), LIMIT + 1, timeout=timeout)
            except asyncpg.PostgresError as exc:
                if not _is_row_error(exc):
                    raise
                raise Unavailable(f"{self._place}: {exc.args[0]}") from exc
            return [NullKeyRow(*row) for row in found]

    def holder(self) -> str | None:
        """Describe the open transactions that hold the horizon back; see `TableReader`."""
        return self._observer.holder(self._session)

    def problem(self, ledger: Ledger[int]) -> str | None:
        """Report keys or times that went back or are ahead; see `TableReader`."""
        observer, limit = self._observer, self._options.early_limit
        if self._options.updated_at_column is None:
            return problems.of_keys(ledger, observer.next, limit, waits=self.holder() is not None)
        zone = observer.local_clock.problem(str(self._options.time_zone))
        return zone or problems.of_times(ledger, observer.next, limit)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            with settings_errors(self._name), table_errors(self._place):
                yield
        except BaseException:
            # A partial response, a failover, a replaced table: no state of the connection is valid any more.
            self.close()
            raise

    async def _connected(self) -> Session:
        if self._session is None:
            session = await open_session(self._options, self._name, self._on_notify)
            shape = session.shape
            if self._order_type not in {None, shape.order_type}:
                session.connection.terminate()
                raise SettingsError(
                    f"table: the type of column {shape.order_column!r} has changed to {shape.order_type};"
                    " give the source another name to start from the beginning"
                )
            self._order_type = shape.order_type
            self._session = session
        return self._session


def _is_row_error(error: asyncpg.PostgresError) -> bool:
    return (error.sqlstate or "").startswith(_ROW_ERRORS)
