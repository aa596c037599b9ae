"""Times of every form that applications use, on each database: each state of each row is read once."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream

UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6}


async def check_states(each: Upstream, poller: TablePoller, now: str) -> None:
    """Insert, update and read across restarts, as long as all rows are of the present, and may not be final."""
    await each.execute(f"INSERT INTO orders (n, at) VALUES (1, {now}), (2, {now})")
    async with poller.opened() as source:
        await poller.drain(source)
        await each.execute(f"INSERT INTO orders (n, at) VALUES (3, {now})")
        await each.execute(f"UPDATE orders SET n = 10, at = {now} WHERE n = 1")
        await poller.drain(source)
        assert await poller.drain(source) == []
    async with poller.opened() as source:
        await each.execute(f"UPDATE orders SET n = 20, at = {now} WHERE n = 2")
        await poller.drain(source)
    async with poller.opened() as source:
        assert await poller.drain(source) == []
    assert [event["data"]["n"] for event in poller.events] in ([1, 2, 10, 3, 20], [1, 2, 3, 10, 20])
    assert len({event["id"] for event in poller.events}) == 5
    assert poller.problems == ()


@pytest.mark.parametrize("unit", UNITS)
async def test_integers_since_1970(each: Upstream, unit: str) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, n int, at bigint NOT NULL)")
    await each.execute("CREATE INDEX by_time ON orders (at, id)")
    poller = TablePoller(each.url, updated_at_column="at", time_unit=unit)
    now = int(time.time() * UNITS[unit])
    await check_states(each, poller, f"{now}")
    told = datetime.fromisoformat(poller.events[0]["time"]).timestamp()
    assert abs(told - now / UNITS[unit]) < 0.01
    assert poller.events[0]["id"].startswith(f"orders:1@{now}.")


async def test_real_numbers_since_1970(each: Upstream) -> None:
    type_ = "double" if each.url.startswith("mariadb") else "double precision"
    await each.execute(f"CREATE TABLE orders (id {each.key}, n int, at {type_})")
    await each.execute("CREATE INDEX by_time ON orders (at, id)")
    poller = TablePoller(each.url, updated_at_column="at", time_unit="seconds")
    now = time.time()
    await each.execute(f"INSERT INTO orders (n, at) VALUES (0, NULL), (5, {now - 3600!r}), (6, {now - 3600.5!r})")
    async with poller.opened() as source:
        for _ in range(3):
            await poller.poll(source, 1)
    assert [event["data"]["n"] for event in poller.events] == [6, 5]
    assert [error for _, error in poller.rejects] == ["orders, row without key or time: column 'at' is NULL"]
    poller.events.clear()
    await check_states(each, poller, f"{now!r}")
    told = datetime.fromisoformat(poller.events[0]["time"]).timestamp()
    assert abs(told - now) < 0.01


async def test_dates(each: Upstream) -> None:
    """A date says little: rows of the present day are remembered until it has ended everywhere."""
    await each.execute(f"CREATE TABLE orders (id {each.key}, n int, at {'text' if 'sqlite' in each.url else 'date'})")
    poller = TablePoller(each.url, updated_at_column="at")
    today = datetime.now(UTC).date().isoformat()
    await each.execute("INSERT INTO orders (n, at) VALUES (7, '2026-01-02'), (8, '2026-01-01'), (9, '2026-01-02')")
    async with poller.opened() as source:
        for _ in range(4):
            await poller.poll(source, 1)
    assert [event["data"]["n"] for event in poller.events] == [8, 7, 9]
    assert poller.events[0]["id"].startswith("orders:2@2026-01-01.")
    # MariaDB renews its list of transactions only after 100 ms.
    assert "e0" not in poller.saved or "mariadb" in each.url, "a day that has ended is not remembered row by row"
    poller.events.clear()
    await check_states(each, poller, f"'{today}'")
    assert "e0" in poller.saved


async def test_a_date_in_the_zone_of_the_settings(each: Upstream) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, n int, at {'text' if 'sqlite' in each.url else 'date'})")
    poller = TablePoller(each.url, updated_at_column="at", time_zone="UTC")
    await check_states(each, poller, f"'{datetime.now(UTC).date().isoformat()}'")


async def test_of_several_times_the_first_that_is_not_null(each: Upstream) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, n int, made timestamp NOT NULL, at timestamp {each.null})")
    await each.execute(
        "INSERT INTO orders (n, made, at) VALUES (1, '2026-01-01 00:00:00', '2026-01-03 00:00:00'),"
        " (2, '2026-01-02 00:00:00', NULL), (3, '2026-01-04 00:00:00', NULL)"
    )
    poller = TablePoller(each.url, updated_at_column=["at", "made"], time_zone="UTC")
    for _ in range(3):
        async with poller.opened() as source:
            await poller.poll(source, 1)
    assert [event["data"]["n"] for event in poller.events] == [2, 1, 3]
    async with poller.opened() as source:
        await each.execute("UPDATE orders SET n = 20, at = CURRENT_TIMESTAMP WHERE n = 2")
        assert [row["n"] for row in await poller.drain(source)] == [20]


@pytest.mark.parametrize(
    ("columns", "options", "error"),
    [
        ("at bigint", {"updated_at_column": "at"}, "time_unit: .* column 'at' is bigint; set what it counts"),
        ("at date", {"updated_at_column": "at", "time_unit": "seconds"}, "time_unit: .*'at' is .*remove `time_unit`"),
        ("at timestamp, b date", {"updated_at_column": ["at", "b"]}, "'at' is timestamp.*, 'b' is date; expected col"),
        ("at varchar(9)", {"updated_at_column": "at"}, "'at' is .*; expected timestamp"),
        ("at {float4}", {"updated_at_column": "at", "time_unit": "seconds"}, "to within two minutes; make it double"),
        ("at timestamp", {"updated_at_column": ["at", "no"]}, "updated_at_column: table orders has no column 'no'"),
    ],
)
async def test_what_cannot_be_ordered_by_time_is_refused(
    each: Upstream, columns: str, options: Any, error: str
) -> None:
    if each.url.startswith("sqlite"):
        return  # a column of SQLite has values of any type
    float4 = "float" if each.url.startswith("mariadb") else "real"
    await each.execute(f"CREATE TABLE orders (id {each.key}, {columns.format(float4=float4)})")
    with pytest.raises(SettingsError, match=error):
        async with TablePoller(each.url, time_zone="UTC", **options).opened():
            pass


async def test_julian_days_of_sqlite(each: Upstream) -> None:
    if not each.url.startswith("sqlite"):
        return
    await each.execute(f"CREATE TABLE orders (id {each.key}, n int, at real)")
    poller = TablePoller(each.url, updated_at_column="at")
    await check_states(each, poller, "julianday('now')")
    told = datetime.fromisoformat(poller.events[0]["time"])
    assert abs(told.timestamp() - time.time()) < 60


_NOW = {"postgresql": "now()", "mariadb": "now(6)", "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')"}


@pytest.mark.parametrize("by", ["time", "day"])
async def test_contents_that_a_row_had_before(each: Upstream, by: str) -> None:
    """Without the time among them, or on the same day, they are those of a state that is still remembered."""
    type_, now = "date", "CURRENT_DATE"
    if by == "time":
        type_ = "timestamptz" if each.url.startswith("postgresql") else "timestamp(6)"
        now = _NOW[each.url.partition(":")[0]]
    await each.execute(f"CREATE TABLE orders (id {each.key}, v varchar(9), changed {type_})")
    await each.execute(f"INSERT INTO orders (v, changed) VALUES ('a', {now})")
    columns = ["id", "v"]
    poller = TablePoller(each.url, updated_at_column="changed", time_zone="UTC", overlap=3600, columns=columns)
    async with poller.opened() as source:
        await poller.drain(source)
        for value in "bac":
            await each.execute(f"UPDATE orders SET v = '{value}', changed = {now}")
            await poller.drain(source)
    async with poller.opened() as source:
        await poller.drain(source)
        await each.execute(f"UPDATE orders SET v = 'a', changed = {now}")
        await poller.drain(source)
        await poller.drain(source)
    assert [event["data"]["v"] for event in poller.events] == ["a", "b", "a", "c", "a"]
    assert len({event["id"] for event in poller.events}) == 5
