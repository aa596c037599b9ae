"""A bus on a database of its own."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.bus.postgres import PostgresBus, PostgresBusOptions, connect_postgres
from shared.bus.protocol import TopicOptions
from shared.database.options import DatabaseOptions


@pytest.fixture
async def bus(migrated_database: DatabaseOptions) -> AsyncIterator[PostgresBus]:
    async with connect_postgres(PostgresBusOptions(), migrated_database) as bus:
        yield bus


@pytest.fixture
async def sql(migrated_database: DatabaseOptions) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the bus."""
    connection = await asyncpg.connect(migrated_database.url)
    yield connection
    await connection.close()


@pytest.fixture
async def line(bus: PostgresBus) -> str:
    await bus.ensure_topics([TopicOptions(name="line", partitions=1)])
    return "line"


@pytest.fixture
async def topic(bus: PostgresBus) -> str:
    await bus.ensure_topics([TopicOptions(name="topic", partitions=4)])
    return "topic"


@pytest.fixture
async def kept(bus: PostgresBus) -> str:
    await bus.ensure_topics([TopicOptions(name="kept", partitions=1, compact=True, retention_hours=None)])
    return "kept"
