"""Keys of several columns, keys that are not unique, and keys that no sequence gives, on each database."""

import asyncio
from typing import Any

import pytest

from services.system_api.sources.table.source import TableSource
from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream


async def test_every_row_of_a_key_of_two_columns_has_an_id_of_its_own(each: Upstream) -> None:
    await each.execute(
        "CREATE TABLE orders (order_id int, line int, changed timestamp NOT NULL, PRIMARY KEY (order_id, line))"
    )
    values = ", ".join(f"({order}, {line}, '2026-01-02 03:04:05')" for order in range(3) for line in range(600))
    await each.execute(f"INSERT INTO orders VALUES {values}")
    poller = TablePoller(each.url, key=["order_id", "line"], updated_at_column="changed", time_zone="UTC")
    for _ in range(4):
        async with poller.opened() as source:
            await poller.drain(source, limit=500)
    assert len(poller.events) == 1800
    assert len({event["id"] for event in poller.events}) == 1800
    assert {(row["data"]["order_id"], row["data"]["line"]) for row in poller.events} == {
        (order, line) for order in range(3) for line in range(600)
    }
    assert poller.events[0]["subject"] == "0,0"
    assert poller.events[0]["id"].startswith("orders:0,0@")


async def test_rows_after_those_that_were_read_early_are_not_taken_for_read(
    each: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of one time are read before any is known to be final; then the rest of them is more than one poll reads."""
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, changed timestamp NOT NULL)")
    values = ", ".join(f"({number}, '2026-01-02 03:04:05')" for number in range(1800))
    await each.execute(f"INSERT INTO orders VALUES {values}")
    poller = TablePoller(each.url, updated_at_column="changed", time_zone="UTC")
    horizons: list[int | None] = [None, None, None]
    observe = TableSource._observed

    def observed(source: TableSource[Any], horizon: Any) -> None:
        observe(source, horizons.pop() if horizons else horizon)

    monkeypatch.setattr(TableSource, "_observed", observed)
    async with poller.opened() as source:
        for _ in range(6):
            await poller.poll(source, 100)
            await asyncio.sleep(0.15)  # MariaDB renews its list of transactions after 100 ms
        await poller.drain(source, 100)
    assert sorted(poller.ids) == list(range(1800))


async def test_keys_of_two_columns_never_share_an_id_whatever_is_in_them(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (a varchar(9), b varchar(9), changed timestamp, PRIMARY KEY (b, a))")
    pairs = [("1,2", "3"), ("1", "2,3"), ("1%2C2", "3"), ("1,2%", ""), ("1,2", "%"), ("", ","), (",", ""), ("ä", "%25")]
    for a, b in pairs:
        await each.execute(f"INSERT INTO orders VALUES ('{a}', '{b}', '2026-01-02 03:04:05')")
    poller = TablePoller(each.url, key=["a", "b"], updated_at_column="changed", time_zone="UTC")
    for _ in range(len(pairs) + 1):
        async with poller.opened() as source:
            await poller.poll(source, 1)
    assert sorted((event["data"]["a"], event["data"]["b"]) for event in poller.events) == sorted(pairs)
    assert len({event["subject"] for event in poller.events}) == len(pairs)


async def test_a_row_is_updated_under_a_key_of_two_columns(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (a int, b int, n int, changed timestamp, UNIQUE (a, b))")
    await each.execute("INSERT INTO orders VALUES (1, 1, 1, '2026-01-02 00:00:00'), (1, 2, 2, '2026-01-02 00:00:00')")
    poller = TablePoller(each.url, key=["b", "a"], updated_at_column="changed", time_zone="UTC")
    async with poller.opened() as source:
        await poller.drain(source)
        await each.execute("UPDATE orders SET n = 3, changed = CURRENT_TIMESTAMP WHERE b = 2")
        assert [row["n"] for row in await poller.drain(source)] == [3]
    assert [event["subject"] for event in poller.events] == ["1,1", "2,1", "2,1"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            {"key": "order_id"},
            (
                "key: table orders: nothing keeps two rows from having the same 'order_id', and one of them would be"
                " missed; set `key: [order_id, line]`, which is unique, or make it unique: CREATE UNIQUE INDEX"
                ' "orders_order_id" ON "orders" ("order_id")'
            ),
        ),
        ({"key": ["line", "n"]}, "key: table orders: nothing keeps two rows from having the same 'line', 'n'"),
        ({"key": ["line", "lime"]}, "key: table orders has no column 'lime'; it has order_id, line, n, changed; did"),
    ],
)
async def test_a_key_that_does_not_tell_rows_apart_is_refused(each: Upstream, options: Any, error: str) -> None:
    await each.execute(
        "CREATE TABLE orders (order_id int NOT NULL, line int, n int, changed timestamp, PRIMARY KEY (order_id, line))"
    )
    if not each.url.startswith("mariadb"):
        await each.execute("CREATE UNIQUE INDEX i1 ON orders (line, n) WHERE n > 5")
        await each.execute("CREATE UNIQUE INDEX i2 ON orders ((line + n), line)")
    with pytest.raises(SettingsError) as caught:
        async with TablePoller(each.url, updated_at_column="changed", time_zone="UTC", **options).opened():
            pass
    assert (
        str(caught.value)
        .replace("`orders", '"orders')
        .replace("`", '"')
        .startswith(f"system.sources.orders.{error}".replace("`", '"'))
    )


async def test_a_key_with_more_columns_than_are_needed_is_accepted(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, tenant text, changed timestamp)")
    await each.execute("INSERT INTO orders VALUES (1, 'a', '2026-01-02 03:04:05')")
    poller = TablePoller(each.url, key=["tenant", "id"], updated_at_column="changed", time_zone="UTC")
    async with poller.opened() as source:
        await poller.drain(source)
    assert poller.events[0]["subject"] == "a,1"


@pytest.mark.parametrize("type_", ["bigint PRIMARY KEY", "bigint NOT NULL UNIQUE"])
async def test_integer_keys_that_applications_make_are_refused_without_an_overlap(each: Upstream, type_: str) -> None:
    await each.execute(f"CREATE TABLE orders (id {type_}, v int)")
    with pytest.raises(SettingsError, match=r"orders\.key: .*a lower one may appear after a higher.*`overlap`"):
        async with TablePoller(each.url).opened():
            pass


async def test_with_an_overlap_a_lower_key_that_comes_later_is_read(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id bigint PRIMARY KEY, v int); INSERT INTO orders VALUES (1000, 1)")
    poller = TablePoller(each.url, overlap=600)
    async with poller.opened() as source:
        assert await poller.drain(source) == [{"id": 1000, "v": 1}]
        assert await poller.poll(source) == []
        await each.execute("INSERT INTO orders VALUES (500, 2), (1001, 3)")
        assert [row["id"] for row in await poller.drain(source)] == [500, 1001]
    async with poller.opened() as source:
        await each.execute("INSERT INTO orders VALUES (499, 4)")
        assert [row["id"] for row in await poller.drain(source)] == [499]


async def test_text_keys_without_a_time_are_refused(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id varchar(36) PRIMARY KEY)")
    with pytest.raises(SettingsError, match=r"orders\.key: table orders: column 'id' is .*; set `updated_at_column`"):
        async with TablePoller(each.url, overlap=600).opened():
            pass


async def test_names_with_any_character(each: Upstream) -> None:
    name, key, n, at = 'my "own".table%s', 'Key "1"', "é, $1 :x ?", "up.dated-at"
    q = {each: '"' + each.replace('"', '""') + '"' for each in (name, key, n, at)}
    await each.execute(f"CREATE TABLE {q[name]} ({q[key]} int PRIMARY KEY, {q[n]} text, {q[at]} timestamp)")
    await each.execute(f"INSERT INTO {q[name]} VALUES (1, '%s {{}} ?', '2026-01-02 03:04:05')")
    poller = TablePoller(
        each.url, table=q[name], key=[key, n], updated_at_column=at, subject=n, columns=[n, key], time_zone="UTC"
    )
    async with poller.opened() as source:
        assert await poller.drain(source) == [{n: "%s {} ?", key: 1}]
    assert poller.events[0]["id"].startswith("orders:1,%25s {} ?@")
