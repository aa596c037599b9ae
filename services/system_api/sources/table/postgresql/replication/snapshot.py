"""Rows that are there, read in portions between the changes: each state once, and never after a newer one.

A portion is read with the database's list of the transactions that it does not contain. It is published only once the
log has been published up to a place behind all transactions that it contains. A row that another transaction has
changed meanwhile is left out: its change is published already, and has a newer state. This is the watermark algorithm
of DBLog (https://arxiv.org/abs/2010.12597), with the exact list in place of watermarks.

A row whose state was written after the snapshot began is left out as well, because its change is in the log.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg

from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.connection import is_row_error
from services.system_api.sources.table.postgresql.shape import Shape

_XIDS = 2**32
_SINGLE_ROWS = 100
_END = "SELECT pg_current_wal_insert_lsn()"


@dataclass(frozen=True, slots=True)
class Visible:
    """Which transactions a portion contains."""

    next: int
    """The lowest transaction id that was not given yet."""
    running: frozenset[int]
    """The ids below that whose transactions it does not contain, of 32 bits."""

    @classmethod
    def parse(cls, snapshot: str) -> "Visible":
        """Parse the text of a `pg_snapshot`: `xmin:xmax:xip,…`."""
        _, upper, running = snapshot.split(":")
        return cls(int(upper), frozenset(int(xid) % _XIDS for xid in running.split(",") if xid))

    def contains(self, xid: int) -> bool:
        """Return whether a transaction, by its id of 32 bits, is contained; it is a recent one."""
        ahead = (xid - self.next) % _XIDS < _XIDS // 2
        return not ahead and xid not in self.running


@dataclass(slots=True)
class Start:
    """The beginning of a snapshot."""

    text: str
    """As PostgreSQL writes the visible transactions."""
    visible: Visible
    upto: int
    """The place in the log behind all transactions that are visible."""
    seen: set[int] = field(default_factory=set)
    """Visible transactions whose changes are published from the log."""

    @classmethod
    def resumed(cls, text: str, seen: Iterable[int]) -> "Start":
        """Return one that is saved: the log has passed it."""
        return cls(text, Visible.parse(text), 0, set(seen))

    def has(self, xid: int, now: Visible) -> bool:
        """Return whether a state of a row, read with `now`, is to be published from the snapshot; `xid` wrote it."""
        if now.next >= _XIDS:
            # An old row may have an id that was given again: rather publish a state twice than not at all.
            return True
        return xid < self.visible.next and xid not in self.visible.running and xid not in self.seen


async def read_start(connection: asyncpg.Connection) -> Start:
    """Begin a snapshot."""
    text = await connection.fetchval("SELECT pg_current_snapshot()::text")
    return Start(text, Visible.parse(text), await connection.fetchval(_END))


@dataclass(slots=True)
class Portion:
    """Rows that wait for the log."""

    rows: list[Row[int]]
    """In the order of their keys; the version of each tells its state."""
    last: str | None
    """The key of the last row; None: there was none."""
    complete: bool
    """Whether these are the last rows of the table."""
    visible: Visible
    upto: int
    """The place in the log behind all transactions that are contained."""
    changed: set[str] = field(default_factory=set)
    """The keys of rows that other transactions have changed."""
    truncated: bool = False

    def note(self, xid: int, key: str | None) -> None:
        """Note a change that is published before the portion; without a key, of all rows."""
        if self.visible.contains(xid):
            return
        if key is None:
            self.truncated = True
        else:
            self.changed.add(key)

    def current(self, start: Start) -> list[Row[int]]:
        """Return the rows whose states are not published from the log, nor newer ones."""
        if self.truncated:
            return []
        return [row for row in self.rows if row.key not in self.changed and start.has(int(row.version), self.visible)]


class After(NamedTuple):
    """Which rows are read."""

    key: str | None
    """Those after it; None: from the first one."""
    condition: str | None = None
    """Those that the publication has, in SQL; None: all."""


async def read_portion(
    connection: asyncpg.Connection, shape: Shape, place: After, limits: statements.ReadLimits
) -> Portion:
    """Read the rows after a place."""
    try:
        rows, visible = await _read(connection, shape, place, limits)
    except asyncpg.PostgresError as exc:
        if not is_row_error(exc):
            raise
        limits = statements.ReadLimits(min(limits.rows, _SINGLE_ROWS), limits.bytes, limits.bytes_per_row)
        rows, visible = await _singly(connection, shape, place, limits)
    upto: int = await connection.fetchval(_END)
    complete = len(rows) < limits.rows and sum(len(row.data) for row in rows) < limits.bytes
    return Portion(rows, rows[-1].key if rows else None, complete, visible, upto)


async def _read(
    connection: asyncpg.Connection, shape: Shape, place: After, limits: statements.ReadLimits
) -> tuple[list[Row[int]], Visible]:
    statement, arguments = statements.following(shape, limits, place.key, with_data=True, condition=place.condition)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        snapshot = await connection.fetchval("SELECT pg_current_snapshot()::text")
        found = await connection.fetch(statement, *arguments)
    return [Row(0, *row) for row in found], Visible.parse(snapshot)


async def _singly(
    connection: asyncpg.Connection, shape: Shape, place: After, limits: statements.ReadLimits
) -> tuple[list[Row[int]], Visible]:
    """Read the rows one by one, to find the one that fails the statement."""
    statement, arguments = statements.following(shape, limits, place.key, with_data=False, condition=place.condition)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        snapshot = await connection.fetchval("SELECT pg_current_snapshot()::text")
        places = [Row[int](0, *row) for row in await connection.fetch(statement, *arguments)]
        rows = [await _with_data(connection, shape, row, limits.bytes_per_row) for row in places]
    return rows, Visible.parse(snapshot)


async def _with_data(connection: asyncpg.Connection, shape: Shape, row: Row[int], limit: int) -> Row[int]:
    statement, arguments = statements.data_of_one(shape, limit, row.key)
    try:
        async with connection.transaction():
            subject, data, error = await connection.fetchrow(statement, *arguments) or (None, b"{}", None)
    except asyncpg.PostgresError as exc:
        if not is_row_error(exc):
            raise
        return row._replace(error=str(exc.args[0]))
    return row._replace(subject=subject, data=data, error=error)
