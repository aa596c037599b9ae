"""Sending a plan to the server: at once where it is small, else stored first and then published."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from shared.bus.postgres.link import Link, refusals
from shared.bus.postgres.plan import SMALL, Plan, Row
from shared.runtime.failpoints import reach

_WRITE = "SELECT trelay.bus_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
# From here to the COMMIT it holds locks. A client that is stopped right there, by SIGSTOP or a lost network, must not
# keep others from its partitions for long.
_COMMIT = """
SELECT set_config('idle_in_transaction_session_timeout', '3000', true),
       trelay.bus_commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
_NUMBER = "SELECT nextval('trelay.bus_tx')"
_COLUMNS = ("tx", "n", "key", "value", "headers")
_SLOWEST = 1024 * 1024
"""Bytes a second that a server takes at least, or it counts as gone."""


@dataclass(frozen=True, slots=True)
class Owner:
    """In whose name something is written."""

    name: str | None = None
    epoch: int | None = None

    @property
    def called(self) -> str:
        """What errors call it."""
        return "appender" if self.name is None else f"writer {self.name}"


class Writing:
    """One transaction on a connection of its own: open until it is published or dropped."""

    def __init__(self, connection: asyncpg.Connection, plan: Plan, owner: Owner) -> None:
        self._connection = connection
        self._plan = plan
        self._owner = owner
        self._number: int | None = None

    @classmethod
    @asynccontextmanager
    async def prepared(cls, link: Link, plan: Plan, owner: Owner) -> AsyncIterator["Writing"]:
        """Do all that can be done before it is this transaction's turn. Leaving without `publish` drops it.

        Raises (from the whole context):
            Fenced: a newer writer has the name.
            TopicGone, Unavailable: see there.
        """
        with refusals(owner.called):
            async with link.writing.use() as connection:
                writing = cls(connection, plan, owner)
                if plan.size > SMALL:
                    await writing._store(link.patience)
                yield writing

    async def publish(self) -> None:
        """Make it visible, durably."""
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
                *plan.publication(),
            )
        else:
            await self._connection.execute(_COMMIT, owner.name, owner.epoch, self._number, *plan.publication())
            await self._connection.execute("COMMIT")
        reach("bus.committed")

    async def _store(self, patience: float) -> None:
        """`patience` are the seconds a statement may take; what is large may take longer."""
        patience += self._plan.size / _SLOWEST
        await self._connection.execute(f"BEGIN; SET LOCAL statement_timeout = {int(patience * 1000)}")
        number = self._number = await self._connection.fetchval(_NUMBER)
        await self._connection.copy_records_to_table(
            "bus_records",
            schema_name="trelay",
            columns=_COLUMNS,
            records=_numbered(number, self._plan.rows),
            timeout=patience,
        )


def _numbered(tx: int, rows: list[Row]) -> Iterator[tuple[int, int, bytes, bytes | None, bytes | None]]:
    for n, (key, value, headers) in enumerate(rows):
        yield tx, n, key, value, headers
