"""Reads a table in MariaDB or MySQL in the order of its keys or times."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from services.system_api.sources.table import problems
from services.system_api.sources.table.delayed import Delayed
from services.system_api.sources.table.horizon import Horizon
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.local_clock import LocalClock
from services.system_api.sources.table.mysql import statements
from services.system_api.sources.table.mysql.connection import MysqlConnection
from services.system_api.sources.table.mysql.replica import ReplicaLag
from services.system_api.sources.table.mysql.rows import MysqlRows, Place
from services.system_api.sources.table.mysql.shape import MysqlShape
from services.system_api.sources.table.mysql.table import MysqlTable
from services.system_api.sources.table.null_key_rows import NullKeyRow
from services.system_api.sources.table.time_scale import DATE_SPREAD, Microseconds, TimeScale
from services.system_api.sources.table.zones import local_time, lowest_local
from shared.errors import Malformed
from shared.runtime.clock import Clock

_MARGIN = 2.0
"""Seconds. Times of columns without fractions are rounded down; and a statement takes its time, or its key, shortly
before its transaction is listed as open."""
_KEY_INTERVAL = 5.0
"""Seconds between two looks at the next key."""
_SECOND = 1_000_000
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 -- times of a column have no zone
_MICROSECOND = timedelta(microseconds=1)


class MysqlReader:
    """A `TableReader` of one table."""

    def __init__(self, table: MysqlTable, zone: tzinfo, clock: Clock) -> None:
        """`zone` is that of times without one."""
        self._table = table
        self._zone = zone
        self._clock = clock
        self._overlap = table.options.overlap
        self._delayed = Delayed[int](max(self._overlap, _MARGIN))
        self._horizon = Horizon()
        self._opened = 0
        self._running: set[str] = set()
        self._mark = 0
        self._local_clock = LocalClock()
        self._lag = ReplicaLag(table.name, clock)
        self._applied = 0.0
        """Up to when the server has what was committed, by the monotonic clock; on a primary, now."""
        self._last_bound: int | None = None
        self._highest: int | None = None
        self._now: int | None = None
        self._scale: TimeScale = Microseconds()
        self._following: int | None = None
        """The next key that the server assigns, if it was just read."""
        self._following_at = 0.0
        self._key_problem: str | None = None

    async def observe(self) -> int | None:
        """Return the horizon; see `TableReader`."""
        shape = await self._table.shape(self._clock.monotonic())
        connection = self._table.connection
        bound = await self._bound(shape, connection)
        if self._clock.monotonic() >= self._following_at:
            self._following = await self._table.next_key()
            self._following_at = self._clock.monotonic() + _KEY_INTERVAL
        if connection.opened != self._opened:
            # The server may have restarted: its transactions are others.
            self._horizon, self._opened = Horizon(), connection.opened
        if not shape.lists_transactions:
            self._horizon.observe(bound, set())
        elif (running := await self._list_running(connection)) is not None:
            self._running = running
            self._horizon.observe(bound, running)
        return self._horizon.value

    async def rows(
        self, limit: int, max_bytes: int, ledger: Ledger[int], below: int | None
    ) -> tuple[list[Row[int]], bool]:
        """Return the next rows; see `TableReader`."""
        shape = await self._table.shape(self._clock.monotonic())
        asked = limit + len(ledger.emitted)
        reading = MysqlRows(self._table.connection, shape, self._table.options)
        async with self._table.connection.snapshot():
            statement, arguments = statements.positions(shape, asked, ledger.position, below)
            found = [Place.of(values) for values in await self._table.connection.fetch(statement, arguments)]
            fresh = [place for place in found if not ledger.has_emitted(place.order, place.digest, place.key)]
            rows = await reading.read(fresh[:limit], max_bytes)
        if rows:
            self._highest = rows[-1].order if self._highest is None else max(self._highest, rows[-1].order)
        return rows, len(found) < asked and len(rows) == len(fresh)

    async def null_key_rows(self, _known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key or order value; see `TableReader`."""
        return await self._table.null_key_rows(timeout)

    async def order_at(self, time: datetime) -> int:
        """Return the order value of a time; see `TimedReader`."""
        return self._order_at(await self._timed_shape(), time)

    async def count_between(self, since: datetime, until: datetime) -> int:
        """Return how many rows have a time within [since, until); see `CountingReader`."""
        shape = await self._timed_shape()
        bounds = [self._order_at(shape, time) for time in (since, until)]
        ((found,),) = await self._table.connection.fetch(*statements.count_between(shape, *bounds))
        return int(found)

    async def _timed_shape(self) -> MysqlShape:
        shape = await self._table.shape(self._clock.monotonic())
        if not shape.times:
            raise Malformed("a table without updated_at_column has no times; expected beginning, end or a position")
        return shape

    def _order_at(self, shape: MysqlShape, time: datetime) -> int:
        # Those of a timestamp, and numbers since 1970, are in UTC.
        local = shape.order.type in {"datetime", "date"}
        there = local_time(time, self._zone if local else UTC)
        return shape.scale.at((there - _EPOCH) // _MICROSECOND)

    def holder(self) -> str | None:
        """Describe the open transactions that hold the horizon back; see `TableReader`."""
        waits_for = sorted(self._horizon.waits_for & self._running)
        if not waits_for:
            return None
        return f"connection {waits_for[0][:-1]}" if waits_for[0].endswith("?") else f"transaction {waits_for[0]}"

    def problem(self, ledger: Ledger[int]) -> str | None:
        """Report times that are ahead of the clock, and keys that went back; see `TableReader`."""
        if self._following is not None:
            # The position is a key that was read before this one was asked for.
            unread = None if ledger.position is None else ledger.position.order + 1
            self._key_problem = problems.of_assigned_keys(self._following, unread)
            self._following = None
        if self._key_problem is not None:
            return self._key_problem
        return problems.of_times(ledger, self._now, self._table.options.early_limit, self._scale)

    def warning(self) -> str | None:
        """Report a replica that does not replicate, and times of another zone; see `TableReader`."""
        return self._lag.problem or self._local_clock.problem(str(self._table.options.time_zone))

    async def _list_running(self, connection: MysqlConnection) -> set[str] | None:
        """Return the transactions that may have written a row that is not visible; None if the list is an old one."""
        self._mark += 1
        mark = f"trelay {self._mark}"
        async with connection.snapshot():
            found = await connection.fetch(statements.TRANSACTIONS.format(mark=mark))
        if not any(own and query is not None and mark in query for own, _, _, _, query in found):
            return None
        running = {f"{thread}?" for (thread,) in await connection.fetch(statements.STATEMENTS)}
        for own, thread, transaction, modified, query in found:
            if own:
                continue
            if modified:
                # It was known by its connection until it wrote.
                self._horizon.also(f"{thread}?", f"{transaction}")
                running.add(f"{transaction}")
            elif query is not None:
                # A statement takes its time when it begins. A transaction that has not written yet, and runs no
                # statement now, will write later times.
                running.add(f"{thread}?")
        return running

    async def _bound(self, shape: MysqlShape, connection: MysqlConnection) -> int | None:
        lag = await self._lag.seconds(connection)
        if lag is not None:
            self._applied = max(self._applied, self._clock.monotonic() - lag)
        if not shape.times:
            return self._delayed.observe(self._highest, self._applied)
        if lag is not None:
            self._last_bound = await self._bound_of_times(shape, connection, lag)
        return self._last_bound

    async def _bound_of_times(self, shape: MysqlShape, connection: MysqlConnection, lag: float) -> int | None:
        self._scale = shape.scale
        ((utc, latest),) = await connection.fetch(statements.latest(shape))
        zoned = self._table.options.time_zone is not None
        spread = DATE_SPREAD if shape.order.type == "date" and not zoned else 0
        margin = int((_MARGIN + self._overlap + spread + lag) * _SECOND)
        if shape.order.type != "datetime" and (shape.order.type != "date" or not zoned):
            self._now = utc
            return self._scale.at(utc - margin)
        then = (_EPOCH + timedelta(microseconds=utc - margin)).replace(tzinfo=UTC)
        now = local_time((_EPOCH + timedelta(microseconds=utc)).replace(tzinfo=UTC), self._zone)
        self._now = (now - _EPOCH) // _MICROSECOND
        lowest = (lowest_local(then, self._zone) - _EPOCH) // _MICROSECOND
        if shape.order.type == "date":
            return self._scale.at(lowest)
        self._local_clock.observe(latest, utc, self._now)
        return min(lowest, self._local_clock.bound(utc) - margin)
