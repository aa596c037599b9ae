"""Rows of PostgreSQL that cannot be events, and rows that are large: which go to the dead letter, alone and once."""

from typing import Any

import asyncpg
import pytest

from shared.errors import Unavailable
from tests.integration.services.system_api.sources.table.table_poller import TablePoller, connected, encoded_database
from tests.servers.postgres import Postgres


async def test_rows_that_cannot_be_events_go_to_the_dead_letter(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, who text, note text)")
    await upstream.execute("INSERT INTO orders (who, note) VALUES ('a', ''), (NULL, ''), ('b', repeat('x', 2000))")
    poller = TablePoller(database, subject="who", row_limit=1000)
    async with poller.opened() as source:
        await poller.poll(source)
        await poller.poll(source)
    assert poller.ids == [1]
    assert poller.rejects == [
        ("orders:2", "orders, key 2: column 'who' is NULL"),
        ("orders:3", "orders, key 3: found a row of 2028 bytes, the limit is 1000"),
    ]


async def test_a_row_that_fails_the_statement_goes_to_the_dead_letter_alone(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute("CREATE TABLE kept (id bigserial PRIMARY KEY, note text)")
    await upstream.execute(
        "INSERT INTO kept (note) SELECT CASE WHEN n % 50 = 7 THEN 'x' ELSE n::text END FROM generate_series(1, 250) n"
    )
    await upstream.execute("CREATE VIEW orders AS SELECT id, note::int AS n FROM kept")
    poller = TablePoller(database)
    async with poller.opened() as source:
        await poller.drain(source)
    assert poller.ids == [number for number in range(1, 251) if number % 50 != 7]
    assert [event["data"]["n"] for event in poller.events] == poller.ids
    assert len(poller.rejects) == 5
    assert poller.rejects[0] == ("orders:7", 'orders, key 7: invalid input syntax for type integer: "x"')


async def test_large_rows_are_read_in_small_batches(
    database: str, upstream: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._MAX_BYTES", 100_000)
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)")
    await upstream.execute("INSERT INTO orders (note) SELECT repeat('x', 10000) FROM generate_series(1, 30)")
    poller = TablePoller(database)
    async with poller.opened() as source:
        assert [len(await poller.poll(source, 5)) for _ in range(2)] == [5, 5]
        assert [len(await poller.poll(source)) for _ in range(3)] == [9, 9, 2]


async def test_rows_larger_than_the_previous_ones_are_not_read_all_at_once(
    database: str, upstream: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._MAX_BYTES", 100_000)
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)")
    await upstream.execute("INSERT INTO orders (note) SELECT repeat('x', 10000) FROM generate_series(1, 30)")
    poller = TablePoller(database)
    async with poller.opened() as source:
        first = await source.poll(1000)
        assert (len(first.records), first.more) == (10, True)
        poller.save(first)
        await poller.drain(source)
    assert poller.ids == list(range(1, 31))


async def test_of_a_row_that_is_too_large_only_the_beginning_leaves_the_database(
    database: str, upstream: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._MAX_BYTES", 1_000_000)
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)")
    await upstream.execute("INSERT INTO orders (note) VALUES ('a'), (repeat('x', 50_000_000)), ('b')")
    poller = TablePoller(database)
    async with poller.opened() as source:
        batch = await source.poll(1000)
    assert len(batch.records) == 2, "it takes no space of the rows after it"
    [reject] = batch.rejects
    assert reject.error == "orders, key 2: found a row of 50000018 bytes, the limit is 1048576"
    assert reject.value == b'{"id":2,"note":"' + b"x" * (65536 - 16)


async def test_a_row_with_undecodable_text_is_rejected_alone(postgres: Postgres) -> None:
    async with encoded_database(postgres, "SQL_ASCII") as dsn:
        async with connected(dsn) as upstream:
            await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, who text)")
            await upstream.execute("INSERT INTO orders (who) VALUES ('a'), (E'\\xff'), ('c')")
        poller = TablePoller(dsn, subject="who")
        async with poller.opened() as source:
            await poller.drain(source)
    assert poller.ids == [1, 3]
    assert poller.rejects == [("orders:2", 'orders, key 2: invalid byte sequence for encoding "UTF8": 0xff')]


@pytest.mark.parametrize(
    "options",
    [
        {"updated_at_column": "at", "key": "code"},
        {"mode": "diff", "diff_limit": 1000, "key": "code"},
        {"mode": "outbox", "key": "code"},
    ],
)
async def test_a_key_that_is_not_text_stops_the_source_with_a_reason(
    postgres: Postgres, options: dict[str, Any]
) -> None:
    async with encoded_database(postgres, "SQL_ASCII") as dsn:
        async with connected(dsn) as upstream:
            await upstream.execute("CREATE TABLE orders (code text PRIMARY KEY, at timestamptz DEFAULT now())")
            await upstream.execute("INSERT INTO orders (code) VALUES ('a'), (E'b\\xff'), ('c')")
        poller = TablePoller(dsn, **options)
        async with poller.opened() as source:
            with pytest.raises(Unavailable, match=r"the key of a row has text that UTF-8 does not have .*0xff"):
                await poller.drain(source)
