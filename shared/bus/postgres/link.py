"""The connections of one bus, and what is known of the server at their end."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self

import asyncpg

from shared.bus.postgres.options import PostgresBusOptions
from shared.database.connections import Connections
from shared.database.options import DatabaseOptions
from shared.errors import Fenced, Unavailable

_FENCED = "TR001"
_GONE = "TR002"

_SETTINGS = {
    # Our statements want one plan each, by index, whatever the statistics say of tables that were empty yesterday.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
}


class TopicGone(Unavailable):
    """A topic was deleted, and perhaps made anew, after it was looked up."""


class Link:
    """Connections by what they are for, so that no kind of work keeps another waiting."""

    def __init__(self, database: DatabaseOptions, options: PostgresBusOptions) -> None:
        self.place = database.place
        self.patience = database.statement_timeout
        self.problem: str | None = None
        """What was wrong the last time anybody asked the server for anything; None if nothing was."""

        def connections(size: int, purpose: str) -> Connections:
            return Connections(database, size=size, purpose=purpose, settings=_SETTINGS, tell=self.tell)

        self.writing = connections(options.writing_connections, "bus writing")
        self.reading = connections(options.reading_connections, "bus reading")
        self.steering = connections(2, "bus steering")
        self.leasing = connections(1, "bus leases")

    @classmethod
    @asynccontextmanager
    async def opened(cls, database: DatabaseOptions, options: PostgresBusOptions) -> AsyncIterator[Self]:
        """Connects when used."""
        link = cls(database, options)
        try:
            yield link
        finally:
            for connections in (link.writing, link.reading, link.steering, link.leasing):
                connections.drop_idle()

    def tell(self, problem: str | None) -> None:
        """Note how the last use of the server went."""
        self.problem = problem


@contextmanager
def refusals(doing: str) -> Iterator[None]:
    """Translate what the functions of the bus refuse by themselves; `doing` names whoever is told so.

    Raises:
        Fenced, TopicGone: see there.
    """
    try:
        yield
    except asyncpg.PostgresError as exc:
        if exc.sqlstate == _FENCED:
            raise Fenced(f"{doing}: {exc.args[0]}") from exc
        if exc.sqlstate == _GONE:
            raise TopicGone(f"{doing}: a topic has been deleted") from exc
        raise
