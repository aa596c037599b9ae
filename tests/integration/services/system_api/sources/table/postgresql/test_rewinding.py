"""Tables that an operator has read again: their events have the ids that they had before."""

import asyncio
from datetime import UTC, datetime
from typing import Literal

import asyncpg
import pytest

from services.system_api.sources.capabilities import Rewinding
from shared.errors import Malformed
from tests.integration.services.system_api.sources.table.table_poller import INDEX, TIMED, TablePoller


async def rewind(poller: TablePoller, place: Literal["beginning", "end"] | datetime) -> None:
    async with poller.opened() as source:
        assert isinstance(source, Rewinding)
        found = await source.checkpoint_at(place)
    poller.saved = dict(found)
    poller.events.clear()


async def read(poller: TablePoller) -> list[str]:
    """Read what there is to read; return the ids of the events."""
    async with poller.opened() as source:
        await poller.drain(source)
    return [event["id"] for event in poller.events]


@pytest.mark.parametrize("changed", [None, "changed"])
async def test_from_the_beginning_and_from_the_end(
    database: str, upstream: asyncpg.Connection, changed: str | None, no_margin: None
) -> None:
    await upstream.execute(TIMED + ";" + INDEX + "; INSERT INTO orders (n) SELECT generate_series(1, 5)")
    poller = TablePoller(database, updated_at_column=changed)
    before = await read(poller)
    assert len(before) == 5
    await rewind(poller, "beginning")
    assert sorted(await read(poller)) == sorted(before)
    await upstream.execute("INSERT INTO orders (n) SELECT generate_series(6, 8)")
    await rewind(poller, "end")
    assert await read(poller) == [], "what was waiting is skipped"
    await upstream.execute("INSERT INTO orders (n) VALUES (9)")
    assert len(await read(poller)) == 1


async def test_since_a_time(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED + ";" + INDEX + "; INSERT INTO orders (n) VALUES (1)")
    poller = TablePoller(database, updated_at_column="changed")
    first = await read(poller)
    await asyncio.sleep(0.01)
    since = await upstream.fetchval("SELECT clock_timestamp()")
    await upstream.execute("INSERT INTO orders (n) VALUES (2), (3)")
    ids = await read(poller)
    await rewind(poller, since)
    assert await read(poller) == [identity for identity in ids if identity not in first]


async def test_since_a_time_in_the_zone_of_the_settings(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("""
        CREATE TABLE orders (id bigserial PRIMARY KEY, changed timestamp NOT NULL);
        CREATE INDEX ON orders (changed, id);
        INSERT INTO orders (changed) VALUES ('2026-01-02 08:59:59.999999'), ('2026-01-02 09:00');
    """)
    poller = TablePoller(database, updated_at_column="changed", time_zone="Asia/Tokyo")
    await read(poller)
    await rewind(poller, datetime(2026, 1, 2, tzinfo=UTC))
    await read(poller)
    assert poller.ids == [2]


async def test_a_table_by_key_has_no_times(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    with pytest.raises(Malformed, match="without updated_at_column has no times"):
        await rewind(TablePoller(database), datetime(2026, 1, 2, tzinfo=UTC))
