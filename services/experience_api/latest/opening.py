"""Opens the latest events in a database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.experience_api.latest.copying import CopyCounts
from services.experience_api.latest.options import LatestOptions
from services.experience_api.latest.postgres import PostgresLatestEvents, PostgresLatestStore
from services.experience_api.latest.view import LatestEvents, LatestStore
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest events, and what the settings say of them."""

    options: LatestOptions
    events: LatestEvents
    store: LatestStore
    counts: CopyCounts = field(default_factory=CopyCounts)


@asynccontextmanager
async def opened(options: LatestOptions | None, database: DatabaseOptions) -> AsyncIterator[Latest | None]:
    """Open the latest events, which connect at their first use; None without options."""
    if options is None:
        yield None
        return
    async with (
        ConnectionPool.opened(database, size=options.readers, purpose="snapshots") as reading,
        ConnectionPool.opened(database, size=1, purpose="latest events") as writing,
    ):
        yield Latest(options, PostgresLatestEvents(reading), PostgresLatestStore(writing))
