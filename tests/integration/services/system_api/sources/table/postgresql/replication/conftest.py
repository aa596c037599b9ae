"""Fixtures for the tests of `mode: replication`."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.integration.services.system_api.sources.table.table_poller import connected


@pytest.fixture
async def log(logical_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(logical_database) as connection:
        yield connection
