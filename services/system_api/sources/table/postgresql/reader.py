"""Reads a table in PostgreSQL up to the last commit, and tracks which rows are final.

One poll reads the bound, the open transactions and the rows, in this order; see `horizon`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import asyncpg

from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.catalog import shape_of
from services.system_api.sources.table.postgresql.connection import connect, database_of, table_errors
from services.system_api.sources.table.postgresql.horizon import Horizon
from services.system_api.sources.table.postgresql.shape import Shape
from services.system_api.sources.table.postgresql.statements import ReadLimits
from shared.errors import SettingsError, Unavailable

_MARGIN = 1_000_000
"""Microseconds. A transaction takes its time, `now()`, shortly before it is listed as open; on a busy machine it may be
suspended in between."""
_AHEAD = 60_000_000
"""Microseconds by which a time may be ahead of the server's clock without being reported."""
_ROW_ERRORS = ("22", "54", "P0")
"""Classes of SQLSTATE that one row can cause: a value that does not convert, a JSON that is too long, an exception
raised by a function of a view."""
_SINGLE_ROWS = 100
"""Rows that a poll reads one by one after such an error, to find the row that causes it."""


@dataclass(frozen=True, slots=True)
class _Session:
    """The state of one connection: transaction ids start again when the server restarts."""

    connection: asyncpg.Connection
    shape: Shape
    bound: str | None
    two_phase: bool
    horizon: Horizon = field(default_factory=Horizon)


class PostgresReader:
    """A `TableReader`: reads one table, and reconnects after any failure."""

    def __init__(self, name: str, options: TableSourceOptions, on_notify: Callable[[], None]) -> None:
        """`on_notify` is called when a trigger has notified."""
        self._name = name
        self._options = options
        self._on_notify = on_notify
        self._database = database_of(options)
        self._place = f"{self._database.address}, table {options.table}"
        self._margin = _MARGIN + int(options.overlap * 1_000_000)
        self._session: _Session | None = None
        self._order_type: str | None = None
        self._by_time = options.updated_at_column is not None
        self._next: int | None = None
        """The next key of the sequence, or the time of the server's clock."""
        self._highest: int | None = None

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
            session = await self._connected()
            bound = await self._read_bound(session)
            running = await session.connection.fetch(statements.RUNNING)
            # After the running ones: a transaction that is prepared in between is in one of the lists.
            prepared = await session.connection.fetch(statements.PREPARED) if session.two_phase else ()
        session.horizon.observe(bound, {row[0] for row in running}, {row[0] for row in prepared})
        return session.horizon.value

    async def rows(
        self, limit: int, max_bytes: int, ledger: Ledger[int], below: int | None
    ) -> tuple[list[Row[int]], bool]:
        """Return the next rows; see `TableReader`."""
        limits = ReadLimits(limit, max_bytes, self._options.row_limit)
        with self._translated_errors():
            session = await self._connected()
            emitted = list(ledger.emitted)
            try:
                rows = await self._fetch(session, limits, ledger, below=below, emitted=emitted)
            except asyncpg.PostgresError as exc:
                if not _is_row_error(exc):
                    raise
                limits = replace(limits, rows=min(limit, _SINGLE_ROWS))
                rows = await self._fetch(session, limits, ledger, below=below, emitted=emitted, with_data=False)
                rows = [await self._with_data(session, row) for row in rows]
                return self._note_highest(rows), len(rows) < limits.rows
        return self._note_highest(rows), len(rows) < limit and sum(len(row.data) for row in rows) < max_bytes

    def _note_highest(self, rows: list[Row[int]]) -> list[Row[int]]:
        if rows:
            self._highest = rows[-1].order if self._highest is None else max(self._highest, rows[-1].order)
        return rows

    async def _fetch(
        self,
        session: _Session,
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

    async def _with_data(self, session: _Session, row: Row[int]) -> Row[int]:
        """Return the row with its data, or with the error of the server."""
        statement = statements.data_of_one(session.shape, self._options.row_limit)
        try:
            found = await session.connection.fetchrow(statement, row.key)
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

    def problem(self, ledger: Ledger[int]) -> str | None:
        """Report keys or times that went back, or times ahead of the server's clock; see `TableReader`."""
        position, now = ledger.position, self._next
        if now is None:
            return None
        if self._by_time and len(ledger.emitted) >= self._options.early_limit:
            ahead = sum(order > now + _AHEAD for order in ledger.emitted.values())
            if ahead >= self._options.early_limit // 2:
                return (
                    f"{ahead} rows have times ahead of the server's clock, and no more can be remembered:"
                    " further ones are read when their time has come; check `time_zone`"
                )
        if position is None or now >= position.order:
            return None
        if self._by_time:
            return (
                f"the server's clock is {(position.order - now) / 1_000_000:.0f} s behind the rows that were read:"
                " rows written before it has caught up are not read"
            )
        return (
            "the sequence of the key was set back below the rows that were read: rows with lower keys are not read;"
            " set the sequence above them, or give the source another name to start from the beginning"
        )

    async def _read_bound(self, session: _Session) -> int | None:
        if session.bound is None:
            # The highest key that was read: transactions that begin later get higher ones.
            return self._highest
        found: int = await session.connection.fetchval(session.bound)
        self._next = found
        return found - self._margin if self._by_time else found

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            with settings_errors(self._name), table_errors(self._place):
                yield
        except BaseException:
            # A partial response, a failover, a replaced table: no state of the connection is valid any more.
            self.close()
            raise

    async def _connected(self) -> _Session:
        if self._session is None:
            connection = await connect(self._database, self._name)
            try:
                self._session = await self._open_session(connection)
            except BaseException:
                connection.terminate()
                raise
        return self._session

    async def _open_session(self, connection: asyncpg.Connection) -> _Session:
        (server,) = await connection.fetch(statements.SERVER)
        if server["standby"] and self._options.notify is not None:
            raise SettingsError(
                "notify: this server is a standby, which cannot notify; remove notify, or set the primary"
            )
        shape = await shape_of(connection, self._options, standby=server["standby"], time_zone=server["time_zone"])
        await connection.execute("SET TimeZone = 'UTC'")
        if self._order_type not in {None, shape.order_type}:
            raise SettingsError(
                f"table: the type of column {shape.order!r} has changed to {shape.order_type};"
                " give the source another name to start from the beginning"
            )
        self._order_type = shape.order_type
        bound = statements.bound(shape)
        if bound is not None:
            try:
                await connection.fetchval(bound)
            except asyncpg.InvalidParameterValueError as exc:
                raise SettingsError(f"time_zone: {exc}") from exc
        if self._options.notify is not None:
            await connection.add_listener(self._options.notify, self._notified)
        return _Session(connection, shape, bound, server["two_phase"])

    def _notified(self, *_: object) -> None:
        self._on_notify()


def _is_row_error(error: asyncpg.PostgresError) -> bool:
    return (error.sqlstate or "").startswith(_ROW_ERRORS)
