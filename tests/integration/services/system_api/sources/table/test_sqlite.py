"""Tables in SQLite: ordered by key and by times in every format, with values of any type in a column."""

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from services.system_api.sources.table.sqlite.file import SqliteFile
from shared.errors import SettingsError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from tests.integration.services.system_api.sources.table.sqlite_database import path, upstream, url
from tests.integration.services.system_api.sources.table.table_poller import TablePoller

__all__ = ["path", "upstream", "url"]

KEYED = "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, n)"


async def test_values_are_unchanged(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute('CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, big, "re al" REAL, t TEXT, b BLOB)')
    upstream.execute("INSERT INTO orders VALUES (1, 9007199254740993, 0.1, 'Zoë', x'00ff'), (2, NULL, 1e300, '', NULL)")
    poller = TablePoller(url)
    async with poller.opened() as source:
        found = await poller.drain(source, limit=1)
    assert found == [
        {"id": 1, "big": 9007199254740993, "re al": 0.1, "t": "Zoë", "b": "AP8="},
        {"id": 2, "big": None, "re al": 1e300, "t": "", "b": None},
    ]
    assert [event["id"] for event in poller.events] == ["orders:1", "orders:2"]


async def test_by_key_every_row_is_final(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute(KEYED)
    poller = TablePoller(url)
    for number in range(3):
        async with poller.opened() as source:
            upstream.executemany("INSERT INTO orders (n) VALUES (?)", [(number,)] * 5)
            assert len(await poller.drain(source, limit=2)) == 5
            assert await poller.poll(source) == []
            assert set(poller.saved) == {""}
    assert poller.ids == list(range(1, 16))


@pytest.mark.parametrize(
    "now",
    [
        "strftime('%Y-%m-%d %H:%M:%S', 'now')",
        "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        "CAST(strftime('%s', 'now') AS INTEGER)",
        "CAST(strftime('%s', 'now') AS INTEGER) * 1000",
        "CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
        "CAST(strftime('%s', 'now') AS INTEGER) * 1000000000",
    ],
)
async def test_updates_are_read_in_any_format_of_time(upstream: sqlite3.Connection, url: str, now: str) -> None:
    upstream.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, n, changed)")
    upstream.execute(f"INSERT INTO orders (n, changed) VALUES (1, {now}), (2, {now}), (3, {now})")
    poller = TablePoller(url, updated_at_column="changed")
    for number in range(10, 40, 10):
        async with poller.opened() as source:
            await poller.drain(source, limit=2)
            assert await poller.poll(source) == []
            # Within one second, again and again: each state is one of its own.
            upstream.execute(f"UPDATE orders SET n = n + {number}, changed = {now} WHERE id > 1")
            assert sorted(row["n"] for row in await poller.drain(source, limit=1)) == [
                int(n) for (n,) in upstream.execute("SELECT n FROM orders WHERE id > 1 ORDER BY n")
            ]
    assert len(poller.events) == 9
    assert len({event["id"] for event in poller.events}) == 9
    seconds = time.mktime(time.strptime(poller.events[0]["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert abs(seconds - time.time()) < 60


async def test_rows_older_than_the_overlap_are_remembered_by_the_position(
    upstream: sqlite3.Connection, url: str
) -> None:
    upstream.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, changed TEXT)")
    upstream.execute("CREATE INDEX changes ON orders (changed, id)")
    rows = [(f"k{number:03}", f"2020-01-01 00:00:{number // 10:02}") for number in range(100)]
    upstream.executemany("INSERT INTO orders VALUES (?, ?)", rows)
    poller = TablePoller(url, updated_at_column="changed")
    for _ in range(12):
        async with poller.opened() as source:
            await poller.poll(source, limit=9)
    assert poller.ids == [key for key, _ in rows]
    assert set(poller.saved) == {""}


async def test_many_writers_lose_nothing_by_key(upstream: sqlite3.Connection, url: str, path: Path) -> None:
    upstream.execute("PRAGMA journal_mode = WAL")
    upstream.execute(KEYED)

    def write(writer: int) -> None:
        connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        for number in range(40):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO orders (n) VALUES (?)", (writer * 1000 + number,))
            connection.execute("COMMIT" if number % 7 else "ROLLBACK")
        connection.close()

    poller = TablePoller(url)
    async with poller.opened() as source:
        writing = asyncio.gather(*(asyncio.to_thread(write, writer) for writer in range(4)))
        while not writing.done():
            await poller.poll(source, limit=5)
        await writing
        await poller.drain(source, limit=5)
    assert poller.ids == [key for (key,) in upstream.execute("SELECT id FROM orders ORDER BY id")]
    assert len(poller.ids) == 4 * 34


async def test_a_row_that_cannot_be_an_event_goes_to_the_dead_letter(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, who, n)")
    upstream.execute("INSERT INTO orders (who, n) VALUES (NULL, 1), ('a', 9e999), ('b', CAST(x'ff00' AS TEXT)), (5, 2)")
    poller = TablePoller(url, subject="who")
    async with poller.opened() as source:
        await poller.poll(source)
        await poller.poll(source)
    assert poller.ids == [4]
    assert poller.events[0]["subject"] == "5"
    assert poller.rejects == [
        ("orders:1", "orders, key 1: column 'who' is NULL"),
        ("orders:2", "orders, key 2: column 'n' is inf, which JSON cannot represent"),
        ("orders:3", "orders, key 3: column 'n' is not UTF-8 text"),
    ]


async def test_rows_without_a_key_go_to_the_dead_letter_once(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute("CREATE TABLE orders (id TEXT UNIQUE, changed)")
    upstream.execute("INSERT INTO orders VALUES ('a', '2020-01-01 00:00'), (NULL, '2020-01-01 00:00'), ('b', NULL)")
    upstream.execute("INSERT INTO orders VALUES ('c', 17)")
    poller = TablePoller(url, updated_at_column="changed")
    for _ in range(2):
        async with poller.opened() as source:
            await poller.poll(source)
    assert poller.ids == ["a"]
    assert [error.partition(": ")[2] for _, error in poller.rejects] == [
        "column 'id' is NULL",
        "column 'changed' is NULL",
        "column 'changed' is integer; expected text",
    ]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"table": "order"}, ".table: there is no table 'order'"),
        ({"key": "idd"}, ".key: table orders has no column 'idd'; it has id, n, name; did you mean 'id'?"),
        (
            {"key": "name"},
            (
                ".key: table orders: column 'name' is TEXT; set `updated_at_column`, or a key that is an integer and"
                " grows, or `mode: diff` for a small table"
            ),
        ),
        (
            {"updated_at_column": "n"},
            ".updated_at_column: table orders: column 'n' holds blob; expected text, integers or real numbers",
        ),
        (
            {"updated_at_column": "name", "time_zone": "Mars"},
            ".time_zone: found the unknown zone 'Mars'; expected a name such as Europe/Berlin",
        ),
    ],
)
async def test_settings_that_cannot_work(upstream: sqlite3.Connection, url: str, options: Any, error: str) -> None:
    upstream.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, n, name TEXT)")
    upstream.execute("INSERT INTO orders VALUES (1, x'00', 'x')")
    with pytest.raises(SettingsError) as caught:
        async with TablePoller(url, **options).opened():
            pass
    assert str(caught.value) == f"system.sources.orders{error}"


async def test_text_that_is_not_a_time(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT)")
    upstream.execute("INSERT INTO orders VALUES (1, 'yesterday')")
    async with TablePoller(url, updated_at_column="name").opened() as source:
        with pytest.raises(SettingsError, match="'name' holds 'yesterday'"):
            await source.poll(1)


async def test_a_file_that_does_not_exist_yet_and_one_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "later.db"
    poller = TablePoller(f"sqlite:///{path}")
    with pytest.raises(Unavailable, match=r"later\.db, table orders: unable to open"):
        async with poller.opened():
            pass
    assert not path.exists()
    path.write_bytes(b"something else, long enough to be looked at" * 100)
    with pytest.raises(Unavailable, match="not a database"):
        async with poller.opened():
            pass


async def test_a_table_that_is_dropped_and_created_again(upstream: sqlite3.Connection, url: str) -> None:
    upstream.execute(KEYED)
    upstream.execute("INSERT INTO orders (n) VALUES (1)")
    poller = TablePoller(url)
    async with poller.opened() as source:
        await poller.poll(source)
        upstream.execute("ALTER TABLE orders RENAME TO away")
        with pytest.raises(Unavailable, match="no such table"):
            await poller.poll(source)
        upstream.execute("ALTER TABLE away RENAME TO orders")
        upstream.execute("INSERT INTO orders (n) VALUES (2)")
        assert [row["n"] for row in await poller.poll(source)] == [2]


async def test_a_file_that_replaces_the_first_one_is_read(
    upstream: sqlite3.Connection, url: str, path: Path, tmp_path: Path
) -> None:
    upstream.execute(KEYED)
    upstream.execute("INSERT INTO orders (n) VALUES (1), (2)")
    poller = TablePoller(url)
    async with poller.opened() as source:
        await poller.drain(source)
        with contextlib.closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as new:
            new.execute(KEYED)
            new.execute("INSERT INTO orders (n) VALUES (1), (2), (3)")
        (tmp_path / "new.db").rename(path)
        await poller.drain(source)
        assert poller.ids == [1, 2, 3]
        path.unlink()
        with pytest.raises(Unavailable):
            await poller.poll(source)


@pytest.mark.parametrize("declared", ["BLOB", "", "TEXT", "INT", "REAL"])
async def test_keys_of_any_type_with_the_same_time(upstream: sqlite3.Connection, url: str, declared: str) -> None:
    upstream.execute(f"CREATE TABLE orders (id {declared} UNIQUE, changed TEXT)")
    keys = [b"\x00\xff", b"\x01", "a", "b", 1, 2, 10, 1.5, 0.1 + 0.2]
    upstream.executemany("INSERT INTO orders VALUES (?, '2020-01-01 00:00:00')", [(key,) for key in keys])
    poller = TablePoller(url, updated_at_column="changed")
    for _ in range(6):
        async with poller.opened() as source:
            await poller.poll(source, 2)
    assert len(poller.events) == len({event["id"] for event in poller.events}) == len(keys)


async def test_a_statement_that_takes_too_long_is_interrupted_and_the_next_one_works(
    url: str, upstream: sqlite3.Connection
) -> None:
    upstream.execute(KEYED)
    file = SqliteFile(TablePoller(url, poll_timeout=0.5).options, SYSTEM_CLOCK)
    endless = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT max(n) FROM n"
    async with asyncio.timeout(60):
        for _ in range(2):
            with pytest.raises(Unavailable, match="interrupted"):
                await file.fetch(endless)
            with pytest.raises(Unavailable, match="interrupted"):
                await file.fetch(endless, timeout=0.1)
            assert await file.fetch("SELECT 1") == [(1,)]
        await file.close()
