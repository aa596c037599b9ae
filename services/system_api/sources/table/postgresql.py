"""Tables of PostgreSQL, read eagerly up to the last commit, and never past one that is still to come.

One poll: the bound, the open transactions, the rows — in this order. A row that the last step cannot see was written
by a transaction that is listed in the second, or that began after the first and so writes above the bound.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

import asyncpg

from services.system_api.source import Batch, Checkpoint, Source, Stamp
from services.system_api.sources.table import statements
from services.system_api.sources.table.horizon import Horizon, Order
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.rows import RowEvents
from services.system_api.sources.table.shape import shape_of
from services.system_api.sources.table.statements import Shape
from shared.database.engine import connect_arguments
from shared.database.errors import database_errors
from shared.database.options import DatabaseOptions

logger = logging.getLogger(__name__)

_SINCE_1970 = 946_684_800_000_000
"""Microseconds: PostgreSQL counts from 2000."""
_MARGIN = 250_000
"""Microseconds. A transaction takes its time, `now()`, a moment before it is listed among the open ones."""
_KEYLESS_LIMIT = 1000


@contextlib.asynccontextmanager
async def open_postgresql(options: TableSourceOptions, stamp: Stamp, checkpoint: Checkpoint) -> AsyncIterator[Source]:
    """Open a table at a checkpoint.

    Raises (on entering):
        Unavailable: the server does not answer; Unauthorized: it refuses the account.
        SettingsError: no such table or column, one of a type that cannot be used, or a standby.
    """
    database = DatabaseOptions(url=options.url, password=options.password)
    ledger = Ledger(options.mode, checkpoint)
    with database_errors(database.place):
        connection = await connect(database, stamp.name)
        try:
            ((standby, two_phase),) = await connection.fetch(statements.STANDING)
            shape = await shape_of(connection, options, standby=standby)
            reader = TableReader(connection, shape, options, two_phase=two_phase)
            source = PostgresTable(database.place, reader, options, stamp, ledger)
            if options.notify is not None:
                await connection.add_listener(options.notify, source.notified)
            yield source
        finally:
            # A connection that hangs must not hold the poller up.
            connection.terminate()


async def connect(options: DatabaseOptions, name: str) -> asyncpg.Connection:
    """Connect for reading alone."""
    arguments = connect_arguments(options, f"source {name}")
    # What is read must be visible to others only when it is: nothing of ours is ever written upstream.
    arguments["server_settings"] |= {"default_transaction_read_only": "on"}
    # A table is found as the account finds it elsewhere, not as we look for our own.
    del arguments["server_settings"]["search_path"]
    connection: asyncpg.Connection = await asyncpg.connect(**arguments)
    for type_ in ("timestamptz", "timestamp"):
        # As the server counts them: exact, `infinity` included, and cheaper than a datetime.
        await connection.set_type_codec(type_, schema="pg_catalog", encoder=_same, decoder=_first, format="tuple")
    return connection


def _same(value: tuple[int]) -> tuple[int]:
    return value


def _first(value: tuple[int]) -> int:
    return value[0]


class TableReader:
    """Reads one table, in order, and tells the horizon what it must know."""

    def __init__(
        self, connection: asyncpg.Connection, shape: Shape, options: TableSourceOptions, *, two_phase: bool
    ) -> None:
        self.horizon = Horizon()
        self._connection = connection
        self._shape = shape
        self._overlap = int(options.overlap * 1_000_000)
        self._bound = statements.bound(shape, options.time_zone)
        self._two_phase = two_phase
        self._highest: Order | None = None

    async def observe(self) -> None:
        """List the open transactions, before rows are read."""
        bound = await self._connection.fetchval(self._bound)
        if self._shape.changed is not None:
            bound -= _MARGIN + self._overlap
        elif bound is None:
            bound = self._highest
        running = await self._connection.fetch(statements.RUNNING)
        # Later than those that run: one that is prepared meanwhile is in one of the lists.
        prepared = await self._connection.fetch(statements.PREPARED) if self._two_phase else ()
        self.horizon.observe(bound, {row[0] for row in running}, {row[0] for row in prepared})

    async def rows(self, limit: int, ledger: Ledger, *, final_only: bool) -> list[Row]:
        """Return what comes next."""
        below = self.horizon.value if final_only else None
        statement, arguments = statements.rows(
            self._shape, limit, ledger.place, below=below, emitted=list(ledger.emitted)
        )
        rows = [Row(*row) for row in await self._connection.fetch(statement, *arguments)]
        if rows:
            self._highest = max(rows[-1].order, rows[-1].order if self._highest is None else self._highest)
        return rows

    async def keyless(self, known: Sequence[str]) -> list[tuple[str, bytes]]:
        """Return rows that have no place in the order, with what tells them apart."""
        found = await self._connection.fetch(statements.keyless(self._shape), known, 100)
        return [(row[0], row[1]) for row in found]


class PostgresTable:
    """A `Source`: one table on PostgreSQL."""

    def __init__(
        self, place: str, reader: TableReader, options: TableSourceOptions, stamp: Stamp, ledger: Ledger
    ) -> None:
        self._place = f"{place}, table {options.table}"
        self._reader = reader
        self._ledger = ledger
        self._early_limit = options.early_limit
        epoch = None if options.mode == "key" else _SINCE_1970
        self._events = RowEvents(stamp, options.table, options.subject or options.key, options.row_limit, epoch=epoch)
        self._held_back = False
        self._notified = asyncio.Event()

    async def poll(self, limit: int) -> Batch:
        """Return rows that were not emitted yet; see `Source`."""
        self._notified.clear()
        ledger = self._ledger
        with database_errors(self._place):
            await self._reader.observe()
            self._hold_back(held=len(ledger.emitted) >= self._early_limit)
            horizon = self._reader.horizon.value
            rows: list[Row] = []
            if not self._held_back or horizon is not None:
                rows = await self._reader.rows(limit, ledger, final_only=self._held_back)
        fresh, saved = ledger.take(rows, horizon, complete=len(rows) < limit)
        batch = Batch(checkpoint=saved, more=len(rows) >= limit)
        self._events.add(fresh, batch)
        if self._held_back:
            batch.trouble = (f"a transaction stays open: {len(ledger.emitted)} rows above it, reading what is final",)
        return batch

    async def changed(self) -> None:
        """Return when a trigger has notified us."""
        await self._notified.wait()

    def notified(self, *_: object) -> None:
        """Take a notification."""
        self._notified.set()

    def _hold_back(self, *, held: bool) -> None:
        if held and not self._held_back:
            logger.warning("%s: a transaction stays open; only what is final is read until it has ended", self._place)
        elif self._held_back and not held:
            logger.info("%s: the transaction that stayed open has ended", self._place)
        self._held_back = held
