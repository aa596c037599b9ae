"""Publications that have a part of a table, or its changes under other names; partitions."""

import asyncpg
import pytest

from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.postgresql.replication.log_poller import (
    changes,
    poller_of,
    settled,
)

PARTITIONED = """
    CREATE TABLE orders (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
    CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (10);
    CREATE TABLE high PARTITION OF orders FOR VALUES FROM (10) TO (100);
"""


async def test_changes_of_partitions_under_their_own_names_are_refused(
    logical_database: str, log: asyncpg.Connection
) -> None:
    """They would be taken for those of other tables, and no event would ever come."""
    await log.execute(f"{PARTITIONED}; CREATE PUBLICATION p FOR ALL TABLES")
    poller = poller_of(logical_database, publication="p")
    with pytest.raises(SettingsError, match=r"'p' does not have table .*publish_via_partition_root = true"):
        await settled(poller)
    await log.execute("ALTER PUBLICATION p SET (publish_via_partition_root = true)")
    await settled(poller)
    await log.execute("INSERT INTO orders VALUES (1, 'a'), (11, 'b'); UPDATE orders SET id = 12 WHERE id = 1")
    await log.execute("TRUNCATE orders")
    await settled(poller)
    assert changes(poller) == [
        ("order", "1", "a"),
        ("order", "11", "b"),
        ("order.deleted", "1", None),
        ("order", "12", "a"),
        ("order.truncated", "orders", None),
    ]
    # The other way round: the changes of a partition are under the name of the whole table.
    with pytest.raises(SettingsError, match=r"'p' does not have table public\.low"):
        await settled(poller_of(logical_database, publication="p", table="low"))


@pytest.mark.parametrize("scope", ["FOR ALL TABLES", "FOR TABLES IN SCHEMA public"])
async def test_a_publication_of_many_tables(logical_database: str, log: asyncpg.Connection, scope: str) -> None:
    await log.execute(f"CREATE TABLE orders (id int PRIMARY KEY, v text); CREATE PUBLICATION p {scope}")
    poller = poller_of(logical_database, publication="p")
    await settled(poller)
    await log.execute("INSERT INTO orders VALUES (1, 'a')")
    await settled(poller)
    assert changes(poller) == [("order", "1", "a")]


async def test_a_snapshot_has_the_rows_and_columns_of_the_publication(
    logical_database: str, log: asyncpg.Connection
) -> None:
    await log.execute("CREATE TABLE orders (id int PRIMARY KEY, v text, secret text, w int)")
    await log.execute("INSERT INTO orders VALUES (1, 'a', 'x', 1), (2, 'b', 'x', 2), (11, 'c', 'x', 3)")
    await log.execute("CREATE PUBLICATION p FOR TABLE orders (id, w, v) WHERE (id < 10 OR id = 20)")
    poller = poller_of(logical_database, publication="p")
    await settled(poller, limit=1)
    await log.execute("INSERT INTO orders VALUES (3, 'd', 'x', 4), (12, 'e', 'x', 5)")
    await settled(poller)
    assert [event["data"] for event in poller.events] == [
        {"id": 1, "v": "a", "w": 1},
        {"id": 2, "v": "b", "w": 2},
        {"id": 3, "v": "d", "w": 4},
    ]


@pytest.mark.parametrize(
    "statements",
    [
        ["ALTER PUBLICATION p DROP TABLE orders", "ALTER PUBLICATION p ADD TABLE orders"],
        ["DROP PUBLICATION p", "CREATE PUBLICATION p FOR TABLE orders"],
        ["ALTER PUBLICATION p SET (publish = 'delete')", "ALTER PUBLICATION p SET (publish = 'insert,update,delete')"],
        ["ALTER TABLE orders RENAME TO old; CREATE TABLE orders (LIKE old INCLUDING ALL)", "TABLE"],
    ],
)
async def test_changes_that_a_publication_left_out_for_a_while_are_an_error(
    logical_database: str, log: asyncpg.Connection, statements: list[str]
) -> None:
    await log.execute("CREATE TABLE orders (id int PRIMARY KEY, v text); CREATE PUBLICATION p FOR TABLE orders")
    poller = poller_of(logical_database, publication="p")
    await settled(poller)
    await log.execute("INSERT INTO orders VALUES (1, 'a')")
    await settled(poller)
    before, after = statements
    await log.execute(before)
    await log.execute("INSERT INTO orders VALUES (2, 'b')")
    await log.execute("ALTER PUBLICATION p ADD TABLE orders" if after == "TABLE" else after)
    await log.execute("ALTER PUBLICATION p SET (publish = 'insert, update, delete, truncate')")
    await log.execute("INSERT INTO orders VALUES (3, 'c')")
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"'p' was altered or created again.*rewind the source"):
            await settled(poller)


async def test_other_tables_of_a_publication_may_come_and_go(logical_database: str, log: asyncpg.Connection) -> None:
    await log.execute("CREATE TABLE orders (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)")
    await log.execute("CREATE PUBLICATION p FOR TABLE orders")
    poller = poller_of(logical_database, publication="p")
    await settled(poller)
    for number, statement in enumerate(["ADD TABLE other", "SET TABLE orders, other", "DROP TABLE other"]):
        await log.execute(f"ALTER PUBLICATION p {statement}; INSERT INTO orders VALUES ({number}, 'a')")
        await settled(poller)
    assert poller.ids == [0, 1, 2]


async def test_each_partition_has_a_replica_identity_of_its_own(logical_database: str, log: asyncpg.Connection) -> None:
    await log.execute(PARTITIONED)
    await log.execute("ALTER TABLE orders REPLICA IDENTITY FULL; ALTER TABLE low REPLICA IDENTITY FULL")
    poller = poller_of(logical_database, subject="v")
    with pytest.raises(SettingsError, match=r"subject: table high: column 'v' is not in .*ALTER TABLE high REPLICA"):
        await settled(poller)
    await log.execute("ALTER TABLE high REPLICA IDENTITY FULL")
    await settled(poller)
    await log.execute("INSERT INTO orders VALUES (1, 'a'), (11, 'b'); DELETE FROM orders")
    await settled(poller)
    assert [(kind, subject) for kind, subject, _ in changes(poller)] == [
        ("order", "a"),
        ("order", "b"),
        ("order.deleted", "a"),
        ("order.deleted", "b"),
    ]


async def test_a_partition_whose_changes_are_not_in_the_log_is_refused(
    logical_database: str, log: asyncpg.Connection
) -> None:
    await log.execute(f"{PARTITIONED}; CREATE UNLOGGED TABLE more PARTITION OF orders FOR VALUES FROM (100) TO (200)")
    with pytest.raises(
        SettingsError, match=r"more, a partition of public\.orders, is not a table whose changes are in"
    ):
        await settled(poller_of(logical_database))


async def test_a_column_beside_the_key_of_an_index_is_not_in_the_identity(
    logical_database: str, log: asyncpg.Connection
) -> None:
    await log.execute("CREATE TABLE orders (id int, v text, PRIMARY KEY (id) INCLUDE (v))")
    with pytest.raises(SettingsError, match="column 'v' is not in the replica identity"):
        await settled(poller_of(logical_database, subject="v"))
    await settled(poller_of(logical_database))
