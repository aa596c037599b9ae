"""Queries in PostgreSQL: the example of the documentation, and what only this server has."""

import re
from pathlib import Path

import asyncpg
import yaml

from tests.integration.services.system_api.sources.table.table_poller import TablePoller

DOCS = Path(__file__).parents[7] / "docs"


async def test_the_example_of_the_documentation_runs(database: str, upstream: asyncpg.Connection) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "sources" / "tables.md").read_text(), re.DOTALL)
    (example,) = [block for block in blocks if "query:" in block]
    settings = yaml.safe_load(example)["system"]["sources"]["shipments"]
    await upstream.execute(
        """
        CREATE SCHEMA shop;
        CREATE TABLE shop.customers (id int PRIMARY KEY, name text);
        CREATE TABLE shop.orders (
            id int PRIMARY KEY, customer_id int, total numeric(9, 2), state text, updated_at timestamptz DEFAULT now()
        );
        INSERT INTO shop.customers VALUES (1, 'Ann');
        INSERT INTO shop.orders VALUES (7, 1, 10.00, 'paid'), (8, 1, 20.00, 'open');
        """
    )
    poller = TablePoller(database, query=settings["query"], mode=settings["mode"])
    async with poller.opened() as source:
        await poller.drain(source)
    assert [(event["data"]["id"], event["data"]["gross"], event["data"]["name"]) for event in poller.events] == [
        (7, 11.9, "Ann")
    ]


async def test_keys_keep_all_their_characters(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(
        "CREATE TABLE orders (id char(4) PRIMARY KEY, v jsonb); INSERT INTO orders VALUES ('ab', '1')"
    )
    poller = TablePoller(database, query="TABLE orders", mode="diff")
    for value in ("1", "2"):
        await upstream.execute("UPDATE orders SET v = $1", value)
        async with poller.opened() as source:
            await poller.drain(source)
    assert [event["data"] for event in poller.events] == [{"id": "ab  ", "v": 1}, {"id": "ab  ", "v": 2}]


async def test_a_column_of_another_type_is_read_after_it_has_changed(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute("CREATE TABLE orders (id int PRIMARY KEY, v int); INSERT INTO orders VALUES (1, 1)")
    poller = TablePoller(database, query="SELECT * FROM orders", mode="diff")
    async with poller.opened() as source:
        await poller.drain(source)
        await upstream.execute("ALTER TABLE orders ALTER v TYPE text; INSERT INTO orders VALUES (2, 'x')")
    async with poller.opened() as source:
        await poller.drain(source)
    assert [event["data"] for event in poller.events][-2:] == [{"id": 1, "v": "1"}, {"id": 2, "v": "x"}]
