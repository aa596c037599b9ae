"""Reads a table in MariaDB or MySQL for comparison: the server makes the hashes."""

from collections.abc import Sequence

from services.system_api.sources.table.diff.source import Found
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.mysql import statements
from services.system_api.sources.table.mysql.rows import MysqlRows, Place
from services.system_api.sources.table.mysql.table import MysqlTable
from services.system_api.sources.table.null_key_rows import NullKeyRow
from shared.runtime.clock import Clock


class MysqlDiffReader:
    """A `DiffReader`."""

    def __init__(self, table: MysqlTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    async def hashes(self, after: Found | None, limit: int) -> tuple[list[Found], bool]:
        """Return the next rows; see `DiffReader`."""
        shape = await self._table.shape(self._clock.monotonic())
        statement, arguments = statements.following(shape, limit, None if after is None else after.key)
        places = [Place.of(values) for values in await self._table.connection.fetch(statement, arguments)]
        return [Found(place.key, place.digest, None) for place in places], len(places) < limit

    async def contents(self, rows: Sequence[Found], max_bytes: int) -> tuple[list[Row[int]], int]:
        """Return states of rows; see `DiffReader`."""
        shape = await self._table.shape(self._clock.monotonic())
        connection = self._table.connection
        rows = rows[: statements.AT_ONCE]
        async with connection.snapshot():
            statement, arguments = statements.places(shape, [row.key for row in rows])
            places = {(place := Place.of(values)).key: place for values in await connection.fetch(statement, arguments)}
            existing = [places[row.key] for row in rows if row.key in places]
            found = await MysqlRows(connection, shape, self._table.options).read(existing, max_bytes)
        if len(found) == len(existing):
            return found, len(rows)
        last = found[-1].key
        return found, next(number for number, row in enumerate(rows, 1) if row.key == last)

    async def null_key_rows(self, _known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key; see `DiffReader`."""
        await self._table.shape(self._clock.monotonic())
        return await self._table.null_key_rows(timeout)
