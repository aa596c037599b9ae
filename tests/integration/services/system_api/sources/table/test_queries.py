"""Queries of the user's own: read as tables are, on each database, and nothing else than one SELECT."""

from typing import Any

import pytest

from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream

JOINED = """
    SELECT o.id, o.n * 2 AS doubled, c.name, o.at -- 100 % of them; "at" is the order's
    FROM orders o JOIN customers c ON c.id = o.customer
    WHERE c.name NOT LIKE 'test%';
"""


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.table.diff.source._PAUSE", 0)


@pytest.fixture
async def shop(each: Upstream) -> Upstream:
    """A database with the tables of `JOINED`: two orders of a customer, and one of a customer who is not there."""
    moment = (
        "text DEFAULT CURRENT_TIMESTAMP" if each.url.startswith("sqlite") else "timestamp DEFAULT CURRENT_TIMESTAMP"
    )
    if each.url.startswith("postgresql"):
        moment = "timestamptz DEFAULT now()"
    await each.execute(f"CREATE TABLE orders (id int PRIMARY KEY, n int, customer int, at {moment})")
    await each.execute("CREATE TABLE customers (id int PRIMARY KEY, name varchar(20))")
    await each.execute("INSERT INTO customers VALUES (1, 'Ann'), (9, 'test')")
    await each.execute("INSERT INTO orders (id, n, customer) VALUES (1, 10, 1), (2, 20, 2), (3, 30, 1), (4, 40, 9)")
    return each


def query(shop: Upstream, **more: Any) -> TablePoller:
    return TablePoller(shop.url, **{"query": JOINED, "columns": ["id", "doubled", "name"]} | more)


async def test_inserts_updates_and_deletes_of_each_table_are_found_by_comparison(shop: Upstream) -> None:
    poller = query(shop, mode="diff")
    async with poller.opened() as source:
        await poller.drain(source)
        assert [tuple(event["data"].values()) for event in poller.events] == [(1, 20, "Ann"), (3, 60, "Ann")]
        await shop.execute("INSERT INTO customers VALUES (2, 'Bob'); UPDATE orders SET n = 11 WHERE id = 1")
    async with poller.opened() as source:
        await poller.drain(source)
        assert [tuple(event["data"].values()) for event in poller.events[2:]] == [(1, 22, "Ann"), (2, 40, "Bob")]
        await shop.execute("DELETE FROM customers WHERE id = 1")
        await poller.drain(source)
        await poller.drain(source)
    assert [(event["type"], event["data"]) for event in poller.events[4:]] == [
        ("order.deleted", {"id": 1}),
        ("order.deleted", {"id": 3}),
    ]


@pytest.mark.parametrize("order", [{"updated_at_column": "at"}, {}], ids=["by time", "by key"])
async def test_a_row_that_appears_below_others_within_the_overlap_is_read_once(
    shop: Upstream, order: dict[str, Any]
) -> None:
    poller = query(shop, overlap=3600, **order)
    for _ in range(2):
        async with poller.opened() as source:
            await poller.drain(source)
            await poller.drain(source)
    assert poller.ids == [1, 3]
    async with poller.opened() as source:
        await shop.execute("INSERT INTO customers VALUES (2, 'Bob')")
        await poller.drain(source)
        await shop.execute("INSERT INTO orders (id, n, customer) VALUES (5, 50, 1)")
        await poller.drain(source)
    async with poller.opened() as source:
        await poller.drain(source)
    assert poller.ids == [1, 3, 2, 5]
    assert poller.rejects == []


async def test_a_snapshot_publishes_all_rows_again(shop: Upstream) -> None:
    poller = query(shop, overlap=3600, updated_at_column="at")
    async with poller.opened() as source:
        await poller.drain(source)
        begun = await source.snapshot()  # type: ignore[attr-defined] # a table has one
        poller.saved |= {part: value for part, value in begun.items() if value is not None}
        await poller.drain(source)
    assert [event["id"] for event in poller.events[:2]] == [event["id"] for event in poller.events[2:]]


async def test_values_of_each_type_are_those_of_the_table(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id varchar(9) PRIMARY KEY, a decimal(6, 2), b double precision, c bigint)")
    await each.execute("CREATE TABLE more (id varchar(9), d date, e text)")
    await each.execute("INSERT INTO orders VALUES ('é', 1.50, 0.5, 9007199254740993), ('z', NULL, NULL, NULL)")
    await each.execute("INSERT INTO more VALUES ('é', '2026-01-31', '{\"x\": 1}')")
    own = "SELECT o.*, m.d, m.e, CAST(NULL AS char(3)) AS f FROM orders o LEFT JOIN more m ON m.id = o.id"
    poller = TablePoller(each.url, query=own, mode="diff")
    async with poller.opened() as source:
        await poller.drain(source)
    assert sorted((list(event["data"].values()) for event in poller.events), key=str) == [
        ["z", None, None, None, None, None, None],
        ["é", 1.5, 0.5, 9007199254740993, "2026-01-31", '{"x": 1}', None],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 AS id) x, (SELECT 2 AS two",
        "SELECT 1 AS id; DROP TABLE orders",
        "SELECT 1 AS id; SELECT 2 AS id",
        "SELECT * FROM (SELECT 1 AS id",
        "SELECT 1 AS id /* all of",
        "WITH x AS (SELECT 1 AS id) DELETE FROM orders",
        "SELECT nothing FROM",
        "SELECT $1 AS id",
    ],
    ids=["two", "drop", "second", "open", "comment", "delete", "incomplete", "parameter"],
)
async def test_what_is_not_one_select_is_refused(shop: Upstream, text: str) -> None:
    if shop.url.startswith("sqlite") and text.endswith("/* all of"):
        pytest.skip("SQLite ends an open comment with the text")
    poller = query(shop, query=text, mode="diff", columns=None)
    with pytest.raises(SettingsError, match=r"^system\.sources\.orders\.query: "):
        async with poller.opened():
            pass
    assert await shop.column("SELECT count(*) FROM orders") == [4]


async def test_a_query_has_the_columns_that_the_settings_name(shop: Upstream) -> None:
    poller = query(shop, mode="diff", subject="nam")
    with pytest.raises(SettingsError, match=r"subject: query has no column 'nam'; it has id, .*; did you mean 'name'"):
        async with poller.opened():
            pass
    if not shop.url.startswith("sqlite"):  # which gives the second one another name
        poller = query(shop, query="SELECT id, id FROM orders", mode="diff", columns=None)
        with pytest.raises(SettingsError, match=r"query: .*'id'"):
            async with poller.opened():
                pass


async def test_a_query_locks_nothing(shop: Upstream) -> None:
    if shop.url.startswith("sqlite"):
        pytest.skip("SQLite has no locks of rows")
    poller = query(shop, query="SELECT id FROM orders FOR UPDATE", mode="diff", columns=None)
    with pytest.raises(SettingsError, match=r"query: "):
        async with poller.opened():
            pass
