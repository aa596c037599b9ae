"""Reads an outbox in MariaDB or MySQL, and removes rows from it."""

from collections.abc import Iterator, Sequence
from itertools import islice

from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.mysql import statements
from services.system_api.sources.table.mysql.rows import MysqlRows, Place
from services.system_api.sources.table.mysql.table import MysqlTable
from shared.runtime.clock import Clock

_SKIPS_LOCKED = {True: (10, 6), False: (8, 0)}
"""The first version of MariaDB, and of MySQL, that can leave out locked rows."""


class MysqlOutboxReader:
    """An `OutboxReader`."""

    def __init__(self, table: MysqlTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    async def rows(self, limit: int, max_bytes: int, known: Sequence[str]) -> tuple[list[Row[int]], bool]:
        """Return rows that are not known; see `OutboxReader`."""
        shape = await self._table.shape(self._clock.monotonic())
        connection = self._table.connection
        asked = limit + len(known)
        skips = connection.version >= _SKIPS_LOCKED[connection.on_mariadb]
        statement, arguments = statements.unpublished(shape, asked, skip_locked=skips)
        places = [Place.of(values) for values in await connection.fetch(statement, arguments)]
        excluded = set(known)
        fresh = [place for place in places if place.key not in excluded]
        rows = await MysqlRows(connection, shape, self._table.options).read(fresh[:limit], max_bytes)
        return rows, len(places) < asked and len(rows) == len(fresh)

    async def remove(self, keys: Sequence[str]) -> set[str]:
        """Remove rows; see `OutboxReader`."""
        shape = await self._table.shape(self._clock.monotonic())
        kept: set[str] = set()
        for some in _portions(keys):
            await self._table.connection.fetch(*statements.remove(shape, some))
            if shape.published is not None:
                # A trigger may have changed the mark. Nothing keeps a row from being deleted without an error.
                found = await self._table.connection.fetch(*statements.remaining(shape, some))
                kept |= {Place.of(values).key for values in found}
        return kept

    async def existing(self, keys: Sequence[str]) -> set[str]:
        """Return the keys of rows that are in the table; see `OutboxReader`."""
        shape = await self._table.shape(self._clock.monotonic())
        found: set[str] = set()
        for some in _portions(keys):
            rows = await self._table.connection.fetch(*statements.places(shape, some))
            found |= {Place.of(values).key for values in rows}
        return found


def _portions(keys: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while some := list(islice(rest, statements.AT_ONCE)):
        yield some
