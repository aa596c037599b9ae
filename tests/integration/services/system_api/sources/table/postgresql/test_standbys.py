"""Tables that are read on a standby, which lags behind its primary."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import pytest

from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.table_poller import TIMED, TablePoller, connected
from tests.servers.missing import skipping_without
from tests.servers.postgres import postgres_server, standby_of


class Pair(NamedTuple):
    """The addresses of two servers."""

    primary: str
    standby: str


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with (
        skipping_without("PostgreSQL (wheel)", request.config),
        postgres_server() as primary,
        standby_of(primary) as standby,
    ):
        yield Pair(primary.dsn(), standby.dsn())


@asynccontextmanager
async def both(pair: Pair) -> AsyncIterator[tuple[asyncpg.Connection, asyncpg.Connection]]:
    """Connections to primary and standby, with a table of this test's own on both."""
    async with connected(pair.primary) as primary, connected(pair.standby) as standby:
        await primary.execute(f"DROP TABLE IF EXISTS orders; {TIMED}; CREATE INDEX ON orders (changed, id)")
        await replayed(primary, standby)
        yield primary, standby


async def replayed(primary: asyncpg.Connection, standby: asyncpg.Connection) -> None:
    """Wait until the standby has what the primary has now."""
    end = await primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")
    async with asyncio.timeout(60):
        while not await standby.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", end):
            await asyncio.sleep(0.01)


async def paused(standby: asyncpg.Connection) -> None:
    """Let the standby replay nothing, until it is resumed."""
    await standby.execute("SELECT pg_wal_replay_pause()")
    async with asyncio.timeout(60):
        while await standby.fetchval("SELECT pg_get_wal_replay_pause_state()") != "paused":
            await asyncio.sleep(0.01)


async def test_rows_that_a_standby_gets_late_are_read(pair: Pair, no_margin: None) -> None:
    """However far it lags: their times are then long before the standby's clock."""
    async with both(pair) as (primary, standby):
        poller = TablePoller(pair.standby, updated_at_column="changed", overlap=0.1)
        async with poller.opened() as source:
            for number in range(1, 4):
                await primary.execute("INSERT INTO orders (n) VALUES (1)")
                await replayed(primary, standby)
                await paused(standby)
                await poller.poll(source)
                assert poller.ids == list(range(1, 2 * number))
                await primary.execute("INSERT INTO orders (n) VALUES (2)")
                await asyncio.sleep(0.5)  # the lag, which is longer than the overlap
                await poller.poll(source)
                await standby.execute("SELECT pg_wal_replay_resume()")
                await replayed(primary, standby)
                await poller.poll(source)
                assert poller.ids == list(range(1, 2 * number + 1))


async def test_changes_of_a_small_table_are_found_on_a_standby(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.table.diff.source._PAUSE", 0)
    async with both(pair) as (primary, standby):
        await primary.execute("INSERT INTO orders (n) VALUES (1), (2)")
        await replayed(primary, standby)
        poller = TablePoller(pair.standby, mode="diff")
        async with poller.opened() as source:
            await poller.drain(source)
            await primary.execute("UPDATE orders SET n = 3 WHERE id = 1; DELETE FROM orders WHERE id = 2")
            await replayed(primary, standby)
            await poller.drain(source)
        assert [(event["type"], event["data"]["id"]) for event in poller.events] == [
            ("order", 1),
            ("order", 2),
            ("order", 1),
            ("order.deleted", 2),
        ]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({}, "url: this server is a standby, which does not list the open transactions of its primary"),
        ({"updated_at_column": "changed"}, "url: this server is a standby, which does not list"),
        ({"updated_at_column": "changed", "overlap": 60, "notify": "news"}, "notify: this server is a standby"),
        ({"mode": "outbox"}, "url: this server is a standby, where published rows cannot be removed"),
        ({"mode": "replication"}, "url: this server is a standby, where a slot cannot be read"),
    ],
)
async def test_what_a_standby_cannot_do_is_refused(pair: Pair, settings: dict[str, Any], error: str) -> None:
    async with both(pair):
        with pytest.raises(SettingsError, match=error):
            async with TablePoller(pair.standby, **settings).opened():
                pass
