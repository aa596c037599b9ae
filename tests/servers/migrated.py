"""A database with Trelay's tables in it."""

from collections.abc import AsyncIterator

import pytest

from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.servers.databases import Databases


async def with_tables(dsn: str) -> None:
    """Make the tables, for `Databases.fresh`."""
    await migrate(DatabaseOptions(url=dsn))


@pytest.fixture
async def migrated_database(databases: Databases) -> AsyncIterator[DatabaseOptions]:
    """A database of this test's own, with all tables and no rows."""
    async with databases.fresh(with_tables) as dsn:
        yield DatabaseOptions(url=dsn)
