"""Sends a plan to the database: in one statement if it is small; otherwise its records first, then the commit."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from shared.bus.postgres.plan import SMALL, Plan, Row
from shared.bus.postgres.pools import Pools, bus_errors
from shared.runtime.failpoints import reach

_WRITE = "SELECT trelay.bus_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
# From here to the COMMIT it holds locks. A client that stops right there, by SIGSTOP or a lost network, must not keep
# others from its partitions for long.
_COMMIT = """
SELECT set_config('idle_in_transaction_session_timeout', '3000', true),
       trelay.bus_commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
_NUMBER = "SELECT nextval('trelay.bus_tx')"
_COLUMNS = ("tx", "n", "key", "value", "headers")
_SLOWEST = 1024 * 1024
"""Bytes a second that a server must accept at least; a slower one is considered unavailable."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The writer of a transaction; without a name, an appender."""

    name: str | None = None
    epoch: int | None = None

    @property
    def label(self) -> str:
        """What errors and logs call it."""
        return "appender" if self.name is None else f"writer {self.name}"


class OpenTransaction:
    """One transaction on a connection of its own, open until it is committed or dropped."""

    def __init__(self, connection: asyncpg.Connection, plan: Plan, owner: Owner) -> None:
        self._connection = connection
        self._plan = plan
        self._owner = owner
        self._number: int | None = None

    @classmethod
    @asynccontextmanager
    async def prepared(cls, pools: Pools, plan: Plan, owner: Owner) -> AsyncIterator["OpenTransaction"]:
        """Do all that may precede the commit of earlier transactions. Leaving without `commit` drops the transaction.

        Raises (from the whole context):
            Fenced: a newer writer has the name.
            TopicDeleted: a topic does not exist any more.
            Unavailable: the database does not answer.
        """
        with bus_errors(owner.label):
            async with pools.writing.use() as connection:
                transaction = cls(connection, plan, owner)
                if plan.size > SMALL:
                    await transaction._store(pools.statement_timeout)
                yield transaction

    async def commit(self) -> None:
        """Commit durably; records and offsets are visible afterwards."""
        plan, owner = self._plan, self._owner
        reach("bus.written")
        if self._number is None:
            await self._connection.execute(
                _WRITE,
                [key for key, _, _ in plan.rows],
                [value for _, value, _ in plan.rows],
                [headers for _, _, headers in plan.rows],
                owner.name,
                owner.epoch,
                *plan.arguments(),
            )
        else:
            await self._connection.execute(_COMMIT, owner.name, owner.epoch, self._number, *plan.arguments())
            await self._connection.execute("COMMIT")
        reach("bus.committed")

    async def _store(self, timeout: float) -> None:
        """Store the records. `timeout` in seconds, of one statement; large plans get more."""
        timeout += self._plan.size / _SLOWEST
        await self._connection.execute(f"BEGIN; SET LOCAL statement_timeout = {int(timeout * 1000)}")
        number = self._number = await self._connection.fetchval(_NUMBER)
        await self._connection.copy_records_to_table(
            "bus_records",
            schema_name="trelay",
            columns=_COLUMNS,
            records=_numbered(number, self._plan.rows),
            timeout=timeout,
        )


def _numbered(tx: int, rows: list[Row]) -> Iterator[tuple[int, int, bytes, bytes | None, bytes | None]]:
    for n, (key, value, headers) in enumerate(rows):
        yield tx, n, key, value, headers
