"""The data of changes: values of every type, values that the log lacks, and columns that change."""

import json

import asyncpg
import pytest

from services.system_api.sources.table.postgresql.replication.pgoutput import Value
from services.system_api.sources.table.postgresql.replication.rendering import text_array
from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.postgresql.replication.log_poller import (
    TABLE,
    poller_of,
    settled,
)


async def test_unchanged_large_values_and_the_replica_identity(logical_database: str, log: asyncpg.Connection) -> None:
    await log.execute("CREATE TABLE orders (id int PRIMARY KEY, v int, big text STORAGE EXTERNAL)")
    await log.execute("INSERT INTO orders VALUES (1, 1, repeat('x', 20000))")
    poller = poller_of(logical_database, row_limit=30_000)
    await settled(poller)
    assert len(poller.events[0]["data"]["big"]) == 20_000
    await log.execute("UPDATE orders SET v = 2")
    await settled(poller)
    assert poller.events[1]["data"] == {"id": 1, "v": 2}, "the log does not have the value"
    await log.execute("ALTER TABLE orders REPLICA IDENTITY FULL; UPDATE orders SET v = 3")
    await log.execute("INSERT INTO orders VALUES (2, 2, repeat('y', 400000))")
    await settled(poller)
    assert len(poller.events[2]["data"]["big"]) == 20_000
    [(_, error)] = poller.rejects
    assert error.startswith("orders, key 2: found a change of 4000")
    assert error.endswith("the limit of a row is 30000")


async def test_values_of_every_type_are_those_of_the_other_modes(
    logical_database: str, log: asyncpg.Connection
) -> None:
    await log.execute("CREATE TYPE mood AS ENUM ('ok', 'so so'); CREATE DOMAIN posint AS int CHECK (value > 0)")
    await log.execute(
        "CREATE TABLE orders (id bpchar(5), yes bool, n numeric(9, 3), f float8, t timestamptz, d date, a int[],"
        " b bytea, m mood, p posint, r int4range, bits bit(3), j json, u uuid, i interval, txt text,"
        " PRIMARY KEY (id, yes))"
    )
    await log.execute(
        "INSERT INTO orders VALUES ('a', true, 1.50, 'NaN', '2026-01-02 03:04:05.678+01', '2026-01-02', '{1,NULL}',"
        " '\\x00ff', 'so so', 5, '[1,3)', '101', '{\"k\": 1.0}', '00000000-0000-0000-0000-000000000001', '1 day',"
        " E'q\"\\\\\n')"
    )
    poller = poller_of(logical_database, key=["id", "yes"])
    await settled(poller)
    await log.execute("UPDATE orders SET n = n")
    await settled(poller)
    read, changed = poller.events
    assert changed["data"] == read["data"]
    assert changed["subject"] == read["subject"] == "a,true"


@pytest.mark.parametrize(
    ("type_", "value", "key"),
    [
        ("inet", "10.0.0.1", "10.0.0.1/32"),
        ("inet", "10.0.0.0/8", "10.0.0.0/8"),
        ("inet", "::1", "::1/128"),
        ("cidr", "10.0.0.0/8", "10.0.0.0/8"),
        ("code", "a", "a"),
        ("shown_code", "a", "a"),
        ("flag", "t", "true"),
    ],
)
async def test_a_key_is_the_same_text_in_the_log_as_in_the_table(
    logical_database: str, log: asyncpg.Connection, type_: str, value: str, key: str
) -> None:
    """Otherwise a row of a snapshot would follow a newer state of it, under another id."""
    await log.execute("CREATE DOMAIN code AS char(5); CREATE DOMAIN shown_code AS code; CREATE DOMAIN flag AS boolean")
    await log.execute(f"CREATE TABLE orders (id {type_} PRIMARY KEY, v int)")
    await log.execute(f"INSERT INTO orders VALUES ('{value}', 1)")
    poller = poller_of(logical_database)
    await settled(poller)
    await log.execute("UPDATE orders SET v = 2; DELETE FROM orders")
    await settled(poller)
    assert [event["subject"] for event in poller.events] == [key] * 3
    assert {event["id"].rpartition("@")[0] for event in poller.events} == {f"orders:{key}"}


async def test_texts_in_the_log_are_read_as_they_were_written(logical_database: str, log: asyncpg.Connection) -> None:
    """Whatever the settings of the server and of the account are."""
    _, _, name = logical_database.rpartition("/")
    await log.execute(f'ALTER DATABASE "{name}" SET array_nulls = off')
    await log.execute("CREATE TABLE orders (id int PRIMARY KEY, a text[])")
    poller = poller_of(logical_database)
    await settled(poller)
    await log.execute("INSERT INTO orders VALUES (1, ARRAY['a', NULL, 'NULL'])")
    await settled(poller)
    assert [event["data"] for event in poller.events] == [{"id": 1, "a": ["a", None, "NULL"]}]
    assert poller.rejects == []


async def test_a_change_of_the_table_on_the_way(logical_database: str, log: asyncpg.Connection) -> None:
    await log.execute(TABLE)
    poller = poller_of(logical_database)
    await settled(poller)
    await log.execute("INSERT INTO orders VALUES (1, 'a'); ALTER TABLE orders ADD w int DEFAULT 5, DROP j")
    await log.execute("INSERT INTO orders VALUES (2, 'b'); ALTER TABLE orders ALTER v TYPE varchar(3)")
    await log.execute("INSERT INTO orders VALUES (3, 'c')")
    await settled(poller)
    assert [event["data"] for event in poller.events] == [
        {"id": 1, "v": "a", "j": None},
        {"id": 2, "v": "b", "w": 5},
        {"id": 3, "v": "c", "w": 5},
    ]
    await log.execute("ALTER TABLE orders RENAME id TO number; INSERT INTO orders VALUES (4)")
    with pytest.raises(SettingsError, match="key: table orders has no column 'id'; it has number"):
        await settled(poller)
    await log.execute("ALTER TABLE orders RENAME number TO id")
    with pytest.raises(SettingsError, match="key: table orders had no column 'id' in the log"):
        await settled(poller)


async def test_values_that_are_valid_no_longer(logical_database: str, log: asyncpg.Connection) -> None:
    """They were when they were written."""
    await log.execute(
        "CREATE TYPE mood AS ENUM ('ok', 'so so'); CREATE DOMAIN posint AS int; CREATE DOMAIN shown AS mood"
    )
    await log.execute("CREATE DOMAIN code AS char(3); CREATE DOMAIN flags AS bit(3); CREATE DOMAIN doc AS jsonb")
    await log.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, m mood, a mood[], s shown, p posint, c code, f flags, d doc)"
    )
    poller = poller_of(logical_database)
    await settled(poller)
    await log.execute(
        "INSERT INTO orders VALUES (1, 'so so', '{ok,NULL,so so}', 'ok', -1, 'a', '101', '{\"x\": 1.50}')"
    )
    there = json.loads(await log.fetchval("SELECT row_to_json(t) FROM orders t"))
    await log.execute("ALTER TYPE mood RENAME VALUE 'so so' TO 'fair'; ALTER TYPE mood RENAME VALUE 'ok' TO 'good'")
    await log.execute("ALTER DOMAIN posint ADD CHECK (value > 0) NOT VALID")
    await settled(poller)
    assert poller.rejects == []
    assert [event["data"] for event in poller.events] == [there]


_ODD = [
    b"",
    b"NULL",
    b"null",
    b'"',
    b'","',
    b"\\",
    b'\\"',
    b"{}",
    b"{a,b}",
    b",",
    b" a ",
    b"\n\t\r",
    "zoë €".encode(),
    b"a",
]


@pytest.mark.parametrize(
    "values",
    [[None], [None, None], *([value] for value in _ODD), _ODD, [*_ODD, None], [b'a","b'], [b'a"', b'"b'], [b"a", None]],
)
async def test_the_server_reads_an_array_as_it_was(log: asyncpg.Connection, values: list[Value]) -> None:
    found = await log.fetchval("SELECT $1::text::text[]", text_array(values))
    assert found == [value.decode() if isinstance(value, bytes) else None for value in values]
