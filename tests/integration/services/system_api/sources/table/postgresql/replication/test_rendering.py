"""The data of changes: values of every type, values that the log lacks, and columns that change."""

import asyncpg
import pytest

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
