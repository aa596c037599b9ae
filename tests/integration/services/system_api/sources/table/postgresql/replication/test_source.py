"""Changes of a table from the log of PostgreSQL: each once, in order, whatever happens in between."""

import random
from typing import Any

import asyncpg
import pytest

from shared.errors import Unavailable
from tests.integration.services.system_api.sources.table.postgresql.replication.log_poller import (
    TABLE,
    changes,
    poller_of,
    settled,
)
from tests.integration.services.system_api.sources.table.table_poller import connected


async def test_inserts_updates_deletes_and_truncations_in_order(logical_database: str, log: asyncpg.Connection) -> None:
    await log.execute(TABLE)
    await log.execute("INSERT INTO orders VALUES (1, 'a', '{\"x\": 1.50}'), (2, 'b', NULL)")
    poller = poller_of(logical_database)
    await settled(poller)
    assert sorted(changes(poller)) == [("order", "1", "a"), ("order", "2", "b")], "the snapshot"
    await log.execute("INSERT INTO orders VALUES (3, 'c'); UPDATE orders SET v = 'A' WHERE id = 1")
    await log.execute("DELETE FROM orders WHERE id = 2; UPDATE orders SET v = 'B' WHERE id = 1")
    await settled(poller)
    assert changes(poller, 2) == [
        ("order", "3", "c"),
        ("order", "1", "A"),
        ("order.deleted", "2", None),
        ("order", "1", "B"),
    ], "every state, also those between two polls"
    assert poller.events[-2]["data"] == {"id": 2}
    assert poller.events[-1]["data"] == {"id": 1, "v": "B", "j": {"x": 1.5}}
    await log.execute("UPDATE orders SET id = 7 WHERE id = 1; TRUNCATE orders; INSERT INTO orders VALUES (8)")
    await settled(poller)
    assert changes(poller, 6) == [
        ("order.deleted", "1", None),
        ("order", "7", "B"),
        ("order.truncated", "orders", None),
        ("order", "8", None),
    ]
    assert len({event["id"] for event in poller.events}) == len(poller.events)
    assert poller.rejects == []


async def test_a_crash_at_any_poll_repeats_and_loses_nothing(
    logical_database: str, log: asyncpg.Connection, seed: int
) -> None:
    rng = random.Random(seed)
    await log.execute(f"{TABLE}; INSERT INTO orders SELECT g, '0' FROM generate_series(1, 40) g")
    poller = poller_of(logical_database)
    for step in range(1, 15):
        for statement in range(rng.randrange(8)):
            key, value = rng.randrange(1, 60), f"{step}.{statement}"
            if rng.random() < 0.2:
                await log.execute(f"DELETE FROM orders WHERE id = {key}")
            else:
                await log.execute(
                    f"INSERT INTO orders VALUES ({key}, '{value}') ON CONFLICT (id) DO UPDATE SET v = '{value}'"
                )
        async with poller.opened() as source:
            for _ in range(rng.randrange(12)):
                batch = await source.poll(rng.randrange(1, 9))
                if rng.random() < 0.1:
                    break  # the process dies before the batch is committed
                poller.save(batch)
                if rng.random() < 0.7:
                    await source.settle(batch)  # type: ignore[attr-defined]
    await settled(poller)
    there = {f"{row['id']}": row["v"] for row in await log.fetch("SELECT id, v FROM orders")}
    seen: dict[str, list[str]] = {}
    state: dict[str, str] = {}
    for event in poller.events:
        if event["type"] == "order.deleted":
            state.pop(event["subject"], None)
        else:
            state[event["subject"]] = event["data"]["v"]
            seen.setdefault(event["subject"], []).append(event["data"]["v"])
    assert state == there
    assert len({event["id"] for event in poller.events}) == len(poller.events)
    for values in seen.values():
        order = [tuple(map(int, f"{value}.0".split(".")[:2])) for value in values]
        assert order == sorted(order), "a state never follows a newer one"


async def test_changes_during_a_snapshot_are_never_followed_by_an_older_state(
    logical_database: str, log: asyncpg.Connection
) -> None:
    await log.execute(f"{TABLE}; INSERT INTO orders SELECT g, '1' FROM generate_series(1, 20) g")
    poller = poller_of(logical_database)
    async with poller.opened() as source, connected(logical_database) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("UPDATE orders SET v = '2' WHERE id <= 3")
        batch = await source.poll(5)  # reads a portion that does not contain the open transaction
        poller.save(batch)
        await transaction.commit()
        await log.execute("DELETE FROM orders WHERE id = 4; UPDATE orders SET v = '3' WHERE id = 15")
        while batch.more:
            batch = await source.poll(5)
            poller.save(batch)
    by_key: dict[str, list[Any]] = {}
    for type_, subject, value in changes(poller):
        by_key.setdefault(subject, []).append(value if type_ == "order" else "deleted")
    assert by_key["1"] == by_key["2"] == by_key["3"] == ["2"]
    assert by_key["4"][-1] == "deleted"
    assert by_key["15"] in (["3", "3"], ["1", "3"], ["3"])
    assert all(by_key[f"{number}"] == ["1"] for number in (5, 6, 14, 16, 20))


_SLOW = """
    CREATE TYPE slow AS ENUM ('x');
    CREATE FUNCTION slow_json(slow) RETURNS json LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.05); RETURN 1; END$$;
    CREATE CAST (slow AS json) WITH FUNCTION slow_json(slow)
"""


async def test_rows_of_a_snapshot_that_take_long_are_read_in_smaller_portions(
    logical_database: str, log: asyncpg.Connection
) -> None:
    """A statement that takes too long would do so again at each attempt, and the source would be down for good."""
    await log.execute(f"{_SLOW}; CREATE TABLE orders (id int PRIMARY KEY, v slow)")
    await log.execute("INSERT INTO orders SELECT g, 'x' FROM generate_series(1, 60) g")
    poller = poller_of(logical_database, poll_timeout=1.25)
    failures = 0
    async with poller.opened() as source:
        while len(poller.events) < 60:
            try:
                poller.save(await source.poll(1000))
            except Unavailable:
                failures += 1
                if failures > 50:
                    pytest.fail("it asks for as many again and again")
    assert failures > 0
    assert sorted(poller.ids) == list(range(1, 61))
