"""Tables in SQLite: keys that went back, columns that are generated, and keys of another type than their column's."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.integration.services.system_api.sources.table.sqlite_database import path, upstream, url
from tests.integration.services.system_api.sources.table.table_poller import TablePoller

__all__ = ["path", "upstream", "url"]

KEYED = "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, n)"


async def test_keys_that_went_back_are_reported(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute(KEYED)
    upstream.execute("INSERT INTO orders (n) VALUES (1), (2), (3)")
    poller = TablePoller(url)
    async with poller.opened() as source:
        assert len(await poller.drain(source)) == 3
        upstream.execute("DELETE FROM orders")
        await poller.poll(source)
        assert poller.problems == (), "SQLite continues behind them"
        upstream.execute("INSERT INTO orders (n) VALUES (4)")
        assert await poller.poll(source) == [{"id": 4, "n": 4}]
        upstream.execute("DROP TABLE orders")
        upstream.execute(KEYED)
        await poller.poll(source)
        upstream.execute("INSERT INTO orders (n) VALUES (5)")
        assert await poller.poll(source) == []
        said = "the next key of the table is 2, and rows up to key 4 were read"
        assert "; ".join(poller.problems).startswith(said)
        assert poller.waiting == poller.problems, "it has not caught up"
        upstream.execute("UPDATE sqlite_sequence SET seq = 9")
        upstream.execute("INSERT INTO orders (n) VALUES (6)")
        assert await poller.poll(source) == [{"id": 10, "n": 6}]
        assert poller.problems == ()


async def test_a_file_with_lower_keys_in_place_of_the_one_that_was_read(
    upstream: sqlite3.Connection, url: str, path: Path, tmp_path: Path
) -> None:
    upstream.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, n)")
    upstream.execute("INSERT INTO orders (n) VALUES (1), (2), (3)")
    poller = TablePoller(url)
    async with poller.opened() as source:
        assert len(await poller.drain(source)) == 3
        with contextlib.closing(sqlite3.connect(tmp_path / "new", isolation_level=None)) as other:
            other.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, n)")
            other.execute("INSERT INTO orders (n) VALUES (7)")
        (tmp_path / "new").rename(path)
        await poller.poll(source)
        assert poller.problems[0].startswith("the next key of the table is 2, and rows up to key 3 were read")


async def test_generated_columns_are_columns(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, n INT, twice AS (2 * n), thrice AS (3 * n) STORED)"
    )
    upstream.execute("INSERT INTO orders (n) VALUES (1)")
    cases: list[dict[str, Any]] = [
        {},
        {"mode": "diff", "key": "thrice"},
        {"columns": ["id", "twice"], "subject": "thrice"},
    ]
    for settings in cases:
        if settings.get("mode") == "diff":
            upstream.execute("CREATE UNIQUE INDEX by_thrice ON orders (thrice)")
        poller = TablePoller(url, **settings)
        async with poller.opened() as source:
            await poller.drain(source)
        (event,) = poller.events
        wanted = settings.get("columns", ["id", "n", "twice", "thrice"])
        assert event["data"] == {name: {"id": 1, "n": 1, "twice": 2, "thrice": 3}[name] for name in wanted}
        assert event["subject"] == ("1" if not settings else "3")


async def test_a_deleted_row_whose_key_is_text_in_a_column_of_integers(
    upstream: sqlite3.Connection, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.diff.source._PAUSE", 0)
    upstream.execute("CREATE TABLE orders (id INT PRIMARY KEY, n)")
    upstream.execute("INSERT INTO orders VALUES (1, 1), ('A-7', 2)")
    poller = TablePoller(url, mode="diff")
    async with poller.opened() as source:
        await poller.drain(source)
        upstream.execute("DELETE FROM orders")
        await poller.drain(source)
    assert poller.ids == [1, "A-7", 1, "A-7"]
