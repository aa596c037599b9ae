"""Tables of PostgreSQL, read eagerly up to the last commit, and never past one that is still to come.

One poll: the bound, the open transactions, the rows — in this order; see `horizon`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import asyncpg

from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import LIMIT, KeylessRow
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.catalog import shape_of
from services.system_api.sources.table.postgresql.connection import connect, database_of, table_errors
from services.system_api.sources.table.postgresql.horizon import Horizon
from services.system_api.sources.table.postgresql.statements import Room, Shape
from shared.errors import SettingsError, Unavailable

_MARGIN = 1_000_000
"""Microseconds. A transaction takes its time, `now()`, a moment before it is listed among the open ones; on a crowded
machine it may be put to sleep between the two."""
_AHEAD = 60_000_000
"""Microseconds by which a time may be ahead of the server's without a word."""
_OF_A_ROW = ("22", "54", "P0")
"""States of the server that one row brings about: a value that does not convert, a JSON too long, an exception raised
by a function of a view."""
_ONE_BY_ONE = 100
"""Rows in a poll after such an error, so that the row is found without stopping the others."""


@dataclass(frozen=True, slots=True)
class _Link:
    """What belongs to one connection: the ids of transactions begin anew when the server does."""

    connection: asyncpg.Connection
    shape: Shape
    bound: str | None
    two_phase: bool
    horizon: Horizon = field(default_factory=Horizon)


class PostgresReader:
    """Reads one table, and connects anew after any failure. A `TableReader`."""

    def __init__(self, name: str, options: TableSourceOptions, tell: Callable[[], None]) -> None:
        """`tell` is called when a trigger has notified us."""
        self._name = name
        self._options = options
        self._tell = tell
        self._database = database_of(options)
        self._place = f"{self._database.address}, table {options.table}"
        self._margin = _MARGIN + int(options.overlap * 1_000_000)
        self._link: _Link | None = None
        self._order_type: str | None = None
        self._by_time = options.changed is not None
        self._next: int | None = None
        """The next key, or the time by the server's clock."""
        self._highest: int | None = None

    async def open(self) -> Shape:
        """Connect, and return what the table is like.

        Raises:
            Unavailable: the server does not answer; Unauthorized: it refuses the account.
            SettingsError: no such table or column, one of a type that cannot be used, or a standby.
        """
        with self._reading():
            return (await self._linked()).shape

    def close(self) -> None:
        """Drop the connection at once: one that hangs must not hold the poller up."""
        if self._link is not None:
            self._link.connection.terminate()
            self._link = None

    async def observe(self) -> int | None:
        """List the open transactions, before rows are read; see `TableReader`."""
        with self._reading():
            link = await self._linked()
            bound = await self._bound(link)
            running = await link.connection.fetch(statements.RUNNING)
            # Later than those that run: one that is prepared meanwhile is in one of the lists.
            prepared = await link.connection.fetch(statements.PREPARED) if link.two_phase else ()
        link.horizon.observe(bound, {row[0] for row in running}, {row[0] for row in prepared})
        return link.horizon.value

    async def rows(self, limit: int, space: int, ledger: Ledger[int], below: int | None) -> tuple[list[Row[int]], bool]:
        """Return what comes next; see `TableReader`."""
        room = Room(limit, space, self._options.row_limit)
        with self._reading():
            link = await self._linked()
            emitted = list(ledger.emitted)
            try:
                rows = await self._fetch(link, room, ledger, below=below, emitted=emitted)
            except asyncpg.PostgresError as exc:
                if not _is_of_a_row(exc):
                    raise
                room = replace(room, rows=min(limit, _ONE_BY_ONE))
                rows = await self._fetch(link, room, ledger, below=below, emitted=emitted, with_data=False)
                rows = [await self._with_data(link, row) for row in rows]
                return self._read(rows), len(rows) < room.rows
        return self._read(rows), len(rows) < limit and sum(len(row.data) for row in rows) < space

    def _read(self, rows: list[Row[int]]) -> list[Row[int]]:
        if rows:
            self._highest = rows[-1].order if self._highest is None else max(self._highest, rows[-1].order)
        return rows

    async def _fetch(
        self,
        link: _Link,
        room: Room,
        ledger: Ledger[int],
        *,
        below: int | None,
        emitted: Sequence[str],
        with_data: bool = True,
    ) -> list[Row[int]]:
        statement, arguments = statements.rows(
            link.shape, room, ledger.place, below=below, emitted=emitted, with_data=with_data
        )
        return [Row(*row) for row in await link.connection.fetch(statement, *arguments)]

    async def _with_data(self, link: _Link, row: Row[int]) -> Row[int]:
        """Fill in what the server makes of a row, or why it cannot."""
        statement = statements.data_of_one(link.shape, self._options.row_limit)
        try:
            found = await link.connection.fetchrow(statement, row.key)
        except asyncpg.PostgresError as exc:
            if not _is_of_a_row(exc):
                raise
            return row._replace(fault=str(exc.args[0]))
        # Deleted meanwhile: there was such a row, and nobody knows any more what was in it.
        if found is None:
            return row._replace(fault="it was deleted while it was read")
        subject, data, fault = found
        return row._replace(subject=subject, data=data, fault=fault)

    async def keyless(self, known: frozenset[str], patience: float) -> Sequence[KeylessRow]:
        """Return rows that have no place in the order; see `TableReader`."""
        with self._reading():
            link = await self._linked()
            if not link.shape.nullable:
                return ()
            statement = statements.keyless(link.shape)
            try:
                found = await link.connection.fetch(statement, list(known), LIMIT + 1, timeout=patience)
            except asyncpg.PostgresError as exc:
                if not _is_of_a_row(exc):
                    raise
                raise Unavailable(f"{self._place}: {exc.args[0]}") from exc
            return [KeylessRow(*row) for row in found]

    def problem(self, ledger: Ledger[int]) -> str | None:
        """Say that keys or times have gone back, or are ahead of the server's, if they are."""
        place, now = ledger.place, self._next
        if now is None:
            return None
        if self._by_time and len(ledger.emitted) >= self._options.early_limit:
            ahead = sum(order > now + _AHEAD for order in ledger.emitted.values())
            if ahead >= self._options.early_limit // 2:
                return (
                    f"{ahead} rows bear times that are still to come by the server's clock, and no more can be"
                    " remembered: later ones are read when their time has come; `time_zone` may be wrong"
                )
        if place is None or now >= place.order:
            return None
        if self._by_time:
            return (
                f"the server's clock is {(place.order - now) / 1_000_000:.0f} s behind what was read already, and rows"
                " that are written before it has caught up are not read"
            )
        return (
            "the sequence of its keys has gone back below what was read already, and rows with lower keys are not read:"
            " set it to grow from there, or give the source another name to begin anew"
        )

    async def _bound(self, link: _Link) -> int | None:
        if link.bound is None:
            # The highest key there is was given before now; those who began later have higher ones.
            return self._highest
        found: int = await link.connection.fetchval(link.bound)
        self._next = found
        return found - self._margin if self._by_time else found

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with settings_errors(self._name), table_errors(self._place):
                yield
        except BaseException:
            # Half-read answers, a server that has moved, a table that is another one: nothing of it is kept.
            self.close()
            raise

    async def _linked(self) -> _Link:
        if self._link is None:
            connection = await connect(self._database, self._name)
            try:
                self._link = await self._look(connection)
            except BaseException:
                connection.terminate()
                raise
        return self._link

    async def _look(self, connection: asyncpg.Connection) -> _Link:
        (server,) = await connection.fetch(statements.SERVER)
        if server["standby"] and self._options.notify is not None:
            raise SettingsError("notify: this server is a standby, which does not notify")
        shape = await shape_of(connection, self._options, standby=server["standby"], time_zone=server["time_zone"])
        await connection.execute("SET TimeZone = 'UTC'")
        if self._order_type not in {None, shape.order_type}:
            raise SettingsError(f"table: the type of column {shape.order!r} has changed to {shape.order_type}")
        self._order_type = shape.order_type
        bound = statements.bound(shape)
        if bound is not None:
            try:
                await connection.fetchval(bound)
            except asyncpg.InvalidParameterValueError as exc:
                raise SettingsError(f"time_zone: {exc}") from exc
        if self._options.notify is not None:
            await connection.add_listener(self._options.notify, self._notified)
        return _Link(connection, shape, bound, server["two_phase"])

    def _notified(self, *_: object) -> None:
        self._tell()


def _is_of_a_row(error: asyncpg.PostgresError) -> bool:
    return (error.sqlstate or "").startswith(_OF_A_ROW)
