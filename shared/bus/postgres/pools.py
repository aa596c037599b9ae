"""The connection pools of one bus, and the errors of its functions in the database."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self

import asyncpg

from shared.bus.postgres.options import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import Fenced, Unavailable

_FENCED = "TR001"
_TOPIC_DELETED = "TR002"

_SETTINGS = {
    # The statements need one plan each, by index, whatever the statistics of tables that were empty yesterday say.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
}


class TopicDeleted(Unavailable):
    """A topic was deleted, and perhaps created again, after it was looked up."""


class Pools:
    """One connection pool for each kind of work, so that no kind delays another."""

    def __init__(self, database: DatabaseOptions, options: PostgresBusOptions) -> None:
        self.statement_timeout = database.statement_timeout
        self.problem: str | None = None
        """What was wrong when the database was used last; None if nothing was."""

        def pool(size: int, purpose: str) -> ConnectionPool:
            return ConnectionPool(database, size=size, purpose=purpose, settings=_SETTINGS, on_use=self.report)

        self.writing = pool(options.writing_connections, "bus writing")
        self.reading = pool(options.reading_connections, "bus reading")
        self.control = pool(2, "bus control")
        """For topics, groups and retention."""
        self.leases = pool(1, "bus leases")

    @classmethod
    @asynccontextmanager
    async def opened(cls, database: DatabaseOptions, options: PostgresBusOptions) -> AsyncIterator[Self]:
        """Open the pools; each connects at its first use."""
        pools = cls(database, options)
        try:
            yield pools
        finally:
            for pool in (pools.writing, pools.reading, pools.control, pools.leases):
                pool.close()

    def report(self, problem: str | None) -> None:
        """Note how the last use of the database went."""
        self.problem = problem


@contextmanager
def bus_errors(name: str) -> Iterator[None]:
    """Translate the errors that the functions of the bus raise; `name` begins their text.

    Raises:
        Fenced: a newer writer has the name.
        TopicDeleted: a topic does not exist any more.
    """
    try:
        yield
    except asyncpg.PostgresError as exc:
        if exc.sqlstate == _FENCED:
            raise Fenced(f"{name}: {exc.args[0]}") from exc
        if exc.sqlstate == _TOPIC_DELETED:
            raise TopicDeleted(f"{name}: a topic was deleted") from exc
        raise
