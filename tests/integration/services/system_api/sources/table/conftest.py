"""Fixtures for the tests of tables."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.system_api.sources.table.postgresql import observing
from tests.integration.services.system_api.sources.table.table_poller import connected


@pytest.fixture
async def upstream(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database) as connection:
        yield connection


@pytest.fixture
async def other(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A second connection."""
    async with connected(database) as connection:
        yield connection


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "_MARGIN", 0)
