"""A table source is opened by its settings on either database, and resumes from its checkpoint."""

import sqlite3
from pathlib import Path

import asyncpg
import pytest

from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.table_poller import TablePoller


@pytest.fixture(params=["postgresql", "sqlite"])
async def url(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> str:
    """A table with one row, on each database."""
    moment = "2026-02-03 04:05:06.5"
    statements = [
        "CREATE TABLE orders (id integer PRIMARY KEY, changed timestamp)",
        f"INSERT INTO orders VALUES (7, '{moment}')",
    ]
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "shop.db") as file:
            for statement in statements:
                file.execute(statement)
        file.close()
        return f"sqlite:///{tmp_path}/shop.db"
    upstream = await asyncpg.connect(database)
    for statement in statements:
        await upstream.execute(statement)
    await upstream.close()
    return database


async def test_by_key(url: str) -> None:
    poller = TablePoller(url, overlap=0.01)
    async with poller.opened() as source:
        await poller.poll(source)
    assert [event["id"] for event in poller.events] == ["orders:7"]


async def test_by_time_the_event_has_the_time_of_the_update(url: str) -> None:
    poller = TablePoller(url, updated_at_column="changed", time_zone="Asia/Tokyo")
    async with poller.opened() as source:
        await poller.poll(source)
    (event,) = poller.events
    assert event["id"].startswith("orders:7@")
    assert event["time"].startswith("2026-02-02T19:05:06.5")
    async with poller.opened() as source:
        assert await poller.poll(source) == []


async def test_a_checkpoint_of_another_column(url: str) -> None:
    poller = TablePoller(url, overlap=0.01)
    async with poller.opened() as source:
        await poller.poll(source)
    changed = TablePoller(url, updated_at_column="changed", time_zone="UTC")
    changed.saved = poller.saved
    with pytest.raises(SettingsError, match=r"^system\.sources\.orders: the checkpoint is of 'by id .*another name"):
        async with changed.opened():
            pass
