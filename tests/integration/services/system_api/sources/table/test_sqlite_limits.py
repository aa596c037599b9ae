"""Tables in SQLite: large rows, definitions that change, and times in another zone."""

import sqlite3
from typing import Any

import pytest

from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.sqlite_database import path, upstream, url
from tests.integration.services.system_api.sources.table.table_poller import TablePoller

__all__ = ["path", "upstream", "url"]

KEYED = "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, n)"


@pytest.mark.parametrize(
    "done",
    [
        "TEXT",
        "TEXT DEFAULT 0",
        "TEXT DEFAULT '0'",
        "DEFAULT '0'",
        "TEXT DEFAULT 'False'",
        "REAL DEFAULT 0",
        "boolean DEFAULT ''",
    ],
)
async def test_an_outbox_whose_column_says_that_nothing_is_published(
    upstream: sqlite3.Connection, url: str, done: str
) -> None:
    """The type of a column decides whether its default is a number or a text."""
    upstream.execute(f"CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, n, done {done})")
    upstream.execute("INSERT INTO orders (n) VALUES (1), (2)")
    upstream.execute("INSERT INTO orders (n, done) VALUES (3, '2026-01-01'), (4, 1)")
    poller = TablePoller(url, mode="outbox", published_column="done", columns=["id", "n"])
    async with poller.opened() as opened:
        source: Any = opened
        batch = await source.poll(10)
        poller.save(batch)
        await source.settle(batch)
        assert not (await source.poll(10)).records
    assert poller.ids == [1, 2]
    marked = [str(value) for (value,) in upstream.execute("SELECT done FROM orders ORDER BY id")]
    assert [text.startswith("20") for text in marked] == [True, True, True, False]


@pytest.mark.parametrize("options", [{}, {"updated_at_column": "changed"}])
async def test_large_rows_are_read_few_at_a_time(
    upstream: sqlite3.Connection, url: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._MAX_BYTES", 1_000_000)
    upstream.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB, changed TEXT)")
    upstream.executemany(
        "INSERT INTO orders (body, changed) VALUES (?, '2026-01-01 00:00:00')", [(b"x" * 100_000,)] * 60
    )
    poller = TablePoller(url, **options)
    sizes = []
    async with poller.opened() as source:
        more = True
        while more:
            batch = await source.poll(1000)
            sizes.append(sum(len(record.value or b"") for record in batch.records))
            poller.save(batch)
            more = batch.more
    assert sorted(poller.ids) == list(range(1, 61))
    assert max(sizes) < 1_200_000


@pytest.mark.parametrize("options", [{}, {"updated_at_column": "changed", "subject": "name"}])
async def test_a_value_that_is_too_large_is_not_loaded_and_its_row_is_rejected(
    upstream: sqlite3.Connection, url: str, options: dict[str, Any]
) -> None:
    upstream.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, name, body, changed TEXT)")
    insert = "INSERT INTO orders (name, body, changed) VALUES (?, ?, '2026-01-01 00:00:00')"
    for body in ("small", b"x" * 5_000_000, "x" * 5_000_000, "small", "x" * 2_000_000, "small"):
        upstream.execute(insert, ("n", body))
    poller = TablePoller(url, **options)
    for _ in range(2):
        async with poller.opened() as source:
            await poller.drain(source)
    assert poller.ids == [1, 4, 6]
    assert [error for _, error in poller.rejects] == [
        "orders, key 2: column 'body' is larger than 4194304 bytes",
        "orders, key 3: column 'body' is larger than 4194304 bytes",
        "orders, key 5: found a row of 2000061 bytes, the limit is 1048576",
    ]


async def test_a_renamed_column_is_an_error_and_not_text(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute(KEYED)
    upstream.execute("INSERT INTO orders (n) VALUES (1)")
    poller = TablePoller(url, columns=["n"])
    async with poller.opened() as source:
        await poller.drain(source)
        upstream.execute("ALTER TABLE orders RENAME n TO m")
        upstream.execute("INSERT INTO orders (m) VALUES (2)")
        with pytest.raises(SettingsError, match="columns: table orders has no column 'n'; it has id, m"):
            await poller.poll(source)
        upstream.execute("ALTER TABLE orders RENAME m TO n")
        assert await poller.drain(source) == [{"n": 2}]


async def test_columns_may_be_added(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute(KEYED)
    poller = TablePoller(url)
    async with poller.opened() as source:
        for number in range(3):
            upstream.execute(f"ALTER TABLE orders ADD c{number} INT DEFAULT {number}")
            upstream.execute("INSERT INTO orders (n) VALUES (1)")
            assert [row[f"c{number}"] for row in await poller.poll(source)] == [number]


async def test_times_written_in_a_zone_behind_that_of_the_settings_are_read(
    upstream: sqlite3.Connection, url: str
) -> None:
    upstream.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, changed TEXT DEFAULT (datetime('now', '-5 hours')))")
    upstream.execute("INSERT INTO orders DEFAULT VALUES")
    poller = TablePoller(url, updated_at_column="changed")
    async with poller.opened() as source:
        await poller.drain(source)
        for number in range(3):
            upstream.execute("INSERT INTO orders (changed) VALUES (datetime('now', '-5 hours'))")
            assert [row["id"] for row in await poller.drain(source)] == [number + 2]
