"""Reads a table through SQLAlchemy in order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from services.system_api.sources.table import problems
from services.system_api.sources.table.delayed import Delayed
from services.system_api.sources.table.generic.connection import Reads
from services.system_api.sources.table.generic.dialects import Dialect
from services.system_api.sources.table.generic.shape import GenericShape
from services.system_api.sources.table.generic.statements import Statements
from services.system_api.sources.table.generic.times import Nanoseconds, moment_of, of_moment, order_of
from services.system_api.sources.table.generic.values import digest, encoded, key_of, text_of
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.zones import local_time, lowest_local
from shared.errors import Malformed
from shared.runtime.clock import Clock

SCALE = Nanoseconds()
_SECOND = 1_000_000_000


class GenericReader:
    """A `TableReader` of one table."""

    def __init__(
        self,
        options: TableSourceOptions,
        connection: Reads,
        shape: GenericShape,
        dialect: Dialect,
        zone: tzinfo,
        clock: Clock,
    ) -> None:
        """`zone` is that of times that have none."""
        self._options = options
        self._connection = connection
        self._shape = shape
        self._zone = UTC if shape.time_kind == "zoned" else zone
        self._clock = clock
        self._statements = Statements(options.table, shape, dialect)
        self._delayed: Delayed[int] = Delayed(options.overlap)
        self._now: int | None = None

    async def observe(self) -> int | None:
        """Return the horizon: what `overlap` seconds have passed over; see `TableReader`."""
        if self._shape.time_kind is None:
            ((highest,),) = await self._connection.fetch(self._statements.highest())
            return self._delayed.observe(None if highest is None else int(highest), self._clock.monotonic())
        ((text,),) = await self._connection.fetch(self._statements.now())
        now = moment_of(order_of(text))
        self._now = SCALE.micros(of_moment(local_time(now, self._zone)))
        return self._order_of(lowest_local(now - timedelta(seconds=self._options.overlap), self._zone))

    async def rows(
        self, limit: int, max_bytes: int, ledger: Ledger[int], below: int | None
    ) -> tuple[list[Row[int]], bool]:
        """Return the next rows; see `TableReader`."""
        asked = limit + len(ledger.emitted)
        rows: list[Row[int]] = []
        size = count = 0

        def take(values: Sequence[Any]) -> bool:
            nonlocal size, count
            count += 1
            row = self._row(values)
            if not ledger.has_emitted(row.order, row.version, row.key):
                rows.append(row)
                size += len(row.data)
            return len(rows) <= limit and size < max_bytes

        await self._connection.read(self._statements.rows(asked, ledger.position, below), take)
        return rows[:limit], count < asked and len(rows) <= limit and size < max_bytes

    async def null_key_rows(self, _known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key or order value; see `TableReader`."""
        found = []
        for order, *values in await self._connection.fetch(self._statements.null_key_rows(LIMIT + 1), timeout):
            keys = dict(zip(self._shape.keys, values, strict=False))
            missing = next((name for name, value in keys.items() if value is None), None)
            data, _ = encoded(self._shape.columns, self._data(values))
            name = ", ".join(self._shape.times) if missing is None and order is None else missing
            found.append(NullKeyRow(digest(data), data, f"column {name!r} is NULL"))
        return found

    async def order_at(self, time: datetime) -> int:
        """Return the order value of a time; see `TimedReader`."""
        if self._shape.time_kind is None:
            raise Malformed("a table without updated_at_column has no times; expected beginning, end or a position")
        return self._order_of(local_time(time, self._zone))

    async def count_between(self, since: datetime, until: datetime) -> int:
        """Return how many rows have a time within [since, until); see `CountingReader`."""
        bounds = [await self.order_at(time) for time in (since, until)]
        ((found,),) = await self._connection.fetch(self._statements.count_between(*bounds))
        return int(found)

    def holder(self) -> None:
        """Return None: open transactions are not known."""

    def problem(self, ledger: Ledger[int]) -> str | None:
        """Report times that are ahead of the clock; see `TableReader`."""
        return problems.of_times(ledger, self._now, self._options.early_limit, SCALE)

    def warning(self) -> None:
        """Return None; see `TableReader`."""

    def _order_of(self, local: datetime) -> int:
        order = of_moment(local)
        # What is compared with a column without fractions has none either.
        return order - order % _SECOND if self._shape.time_kind == "seconds" else order

    def _row(self, values: Sequence[Any]) -> Row[int]:
        shape = self._shape
        order = int(values[0]) if shape.time_kind is None else order_of(values[0])
        behind = 1 + len(shape.keys)
        key = key_of(values[1:behind])
        text: str | None = key
        if shape.subject is not None:
            text = None if values[behind] is None else text_of(values[behind])
        data, error = encoded(shape.columns, self._data(values[1:]))
        version = "" if shape.time_kind is None else digest(data + (text or "").encode(errors="surrogatepass"))
        return Row(order, key, version, text, data, error)

    def _data(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return what becomes the data, of the values behind the order value."""
        return values[len(values) - len(self._shape.columns) :]
