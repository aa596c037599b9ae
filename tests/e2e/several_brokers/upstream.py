"""An upstream that keeps changing: a file that grows, and tables with quick and with late commits."""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import asyncpg

from tests.e2e.audit import Sighting
from tests.e2e.feeding import Upstream, append_lines, insert

_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)
"""Also errors of the driver itself, which a connection that breaks in the middle of a message brings about."""
_RETRY_PAUSE = 0.2
_CONNECT_TIMEOUT = 5.0
_LARGEST_TRANSACTION = 8
_OPEN_FOR = (0.2, 3.0)
"""Seconds that a late transaction stays open."""


class Writer(Protocol):
    """Somebody upstream."""

    upstream: Upstream

    async def run(self, enough: asyncio.Event) -> None:
        """Write until it is enough."""
        ...


@dataclass
class LineWriter:
    """A program that appends to a file."""

    path: Path
    rate: float
    """Events a second."""
    rng: random.Random
    upstream: Upstream = field(init=False)

    def __post_init__(self) -> None:
        self.upstream = Upstream(self.rng)

    async def run(self, enough: asyncio.Event) -> None:
        """Write until it is enough."""
        while not enough.is_set():
            events = self.upstream.more(self.rng.randint(1, 20))
            await asyncio.to_thread(append_lines, self.path, self.upstream, events, self.rng)
            await asyncio.sleep(len(events) / self.rate)


@dataclass
class TableWriter:
    """A session of PostgreSQL with subjects of its own, so that their order is the order of its commits.

    It tries each transaction until it is committed, and asks whether it was where the answer got lost.
    """

    dsn: str
    table: str
    name: str
    rate: float
    """Events a second."""
    rng: random.Random
    late: float = 0.0
    """Share of the transactions that stay open for a while after their last row."""
    upstream: Upstream = field(init=False)
    _connection: asyncpg.Connection | None = None

    def __post_init__(self) -> None:
        self.upstream = Upstream(self.rng, tuple(f"{self.name}.{number}" for number in range(10)))

    async def run(self, enough: asyncio.Event) -> None:
        """Write until it is enough; what was begun is committed on return."""
        while not enough.is_set():
            events = self.upstream.more(self.rng.randint(1, _LARGEST_TRANSACTION))
            open_for = self.rng.uniform(*_OPEN_FOR) if self.rng.random() < self.late else 0.0
            await self._commit(events, open_for)
            self.upstream.note(len(events))
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) * len(events) / self.rate)
        if self._connection is not None:
            await self._connection.close()

    async def _commit(self, events: list[Sighting], open_for: float) -> None:
        asked = False
        while True:
            try:
                connection = await self._connected()
                if asked and await self._is_there(connection, events[0]):
                    return
                asked = True
                async with connection.transaction():
                    await insert(connection, self.table, events)
                    await asyncio.sleep(open_for)
            except _LOST:
                if _is_cancelled():
                    raise  # asyncpg turns the cancellation of a lost connection into an error of its own
                self._disconnect()
                await asyncio.sleep(_RETRY_PAUSE)
            else:
                return

    async def _is_there(self, connection: asyncpg.Connection, event: Sighting) -> bool:
        # The first attempt's session ended with its connection, so it commits nothing after this.
        statement = f"SELECT count(*) FROM {self.table} WHERE account = $1 AND number = $2"
        return bool(await connection.fetchval(statement, event.subject, event.number))

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None:
            self._connection = await asyncpg.connect(self.dsn, timeout=_CONNECT_TIMEOUT)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
