"""Views that are read by time: a selection from one table as it is, any other with an overlap."""

import pytest

from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream

SELECTIONS = {
    "columns": "SELECT id, n, at FROM orders",
    "rows": "SELECT * FROM orders WHERE n > 5",
    "a view": "SELECT * FROM shown WHERE n > 5",
}
OTHERS = {
    "a join": "SELECT o.id, c.name, o.at FROM orders o JOIN customers c ON c.id = o.customer",
    "an outer join": "SELECT o.id, c.name, o.at FROM orders o LEFT JOIN customers c ON c.id = o.customer",
    "the table twice": "SELECT o.id, p.n, o.at FROM orders o JOIN orders p ON p.id = o.customer",
    "a condition": "SELECT * FROM orders WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = orders.customer)",
    "a union": "SELECT id, at FROM orders UNION ALL SELECT id, at FROM customers",
    "groups": "SELECT max(id) AS id, customer, max(at) AS at FROM orders GROUP BY customer",
    "a view of a join": "SELECT * FROM joined",
}


@pytest.fixture
async def shop(each: Upstream) -> Upstream:
    """A database with tables, and views on them."""
    moment = "text" if each.url.startswith("sqlite") else "timestamp"
    if each.url.startswith("postgresql"):
        moment = "timestamptz"
    at = f"at {moment} DEFAULT CURRENT_TIMESTAMP"
    await each.execute(f"CREATE TABLE orders (id int PRIMARY KEY, n int, customer int, {at})")
    await each.execute("CREATE INDEX by_time ON orders (at, id)")
    await each.execute(f"CREATE TABLE customers (id int PRIMARY KEY, name varchar(20), {at})")
    await each.execute("INSERT INTO customers (id, name) VALUES (1, 'Ann')")
    await each.execute("INSERT INTO orders (id, n, customer) VALUES (1, 10, 1), (2, 20, 1)")
    await each.execute("CREATE VIEW shown AS SELECT * FROM orders")
    await each.execute(f"CREATE VIEW joined AS {OTHERS['a join']}")
    return each


async def first(shop: Upstream, query: str, **settings: object) -> int:
    """Return how many rows a source of a view has, and drop the view."""
    await shop.execute(f"CREATE VIEW viewed AS {query}")
    try:
        poller = TablePoller(shop.url, table="viewed", updated_at_column="at", **settings)
        async with poller.opened() as source:
            return len(await poller.drain(source))
    finally:
        await shop.execute("DROP VIEW viewed")


async def test_a_selection_from_one_table_needs_no_overlap(shop: Upstream) -> None:
    assert {name: await first(shop, query) for name, query in SELECTIONS.items()} == dict.fromkeys(SELECTIONS, 2)


async def test_any_other_view_needs_an_overlap(shop: Upstream) -> None:
    for name, query in OTHERS.items():
        with pytest.raises(SettingsError, match=r"^system\.sources\.orders\.overlap: viewed is a view of more than"):
            pytest.fail(f"{name}: {await first(shop, query)} rows")
        assert await first(shop, query, overlap=60) >= 1, name
