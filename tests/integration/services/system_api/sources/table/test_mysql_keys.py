"""Tables in MariaDB whose keys the server orders in another way than it compares them with a text."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream, mariadb_database
from tests.servers.mariadb import MariaDb


@pytest.fixture
async def upstream(mariadb: MariaDb) -> AsyncIterator[Upstream]:
    async with mariadb_database(mariadb) as found:
        yield found


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("enum('z', 'a', 'm')", ["'z'", "'a'", "'m'"]),
        ("set('z', 'a', 'm')", ["'z'", "'a'", "'z,a'", "'m,z'"]),
        ("decimal(30, 1)", [f"{10**28 + number}.5" for number in range(4)]),
        ("bit(16)", ["255", "256", "48", "12337"]),
        ("varchar(9) COLLATE utf8mb4_general_ci", ["'b'", "'A'", "'É'", "'a c'"]),
    ],
)
@pytest.mark.parametrize("keys", [["k", "n"], ["n", "k"], ["k"]])
async def test_all_rows_are_compared_however_the_server_orders_their_keys(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, type_: str, values: list[str], keys: list[str]
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.diff.source._HASHES", 2)
    await upstream.execute(f"CREATE TABLE orders (k {type_}, n int, v int, PRIMARY KEY ({', '.join(keys)}))")
    numbers = range(3) if "n" in keys else range(1)
    rows = ", ".join(f"({value}, {number}, 1)" for value in values for number in numbers)
    await upstream.execute(f"INSERT INTO orders VALUES {rows}")
    poller = TablePoller(upstream.url, mode="diff", diff_limit=1000, key=keys if len(keys) > 1 else keys[0])
    async with poller.opened() as source:
        assert len(await poller.drain(source)) == len(values) * len(numbers)
    async with poller.opened() as source:
        assert await poller.drain(source) == []
    await upstream.execute("UPDATE orders SET v = 2")
    async with poller.opened() as source:
        assert [row["v"] for row in await poller.drain(source)] == [2] * (len(values) * len(numbers))


async def test_keys_that_went_back_are_reported(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.table.mysql.reader._KEY_INTERVAL", 0)
    monkeypatch.setattr("services.system_api.sources.table.mysql.reader._MARGIN", 0)
    await upstream.execute("CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, n int)")
    await upstream.execute("INSERT INTO orders (n) VALUES (1), (2), (3)")
    poller = TablePoller(upstream.url)
    async with poller.opened() as source, asyncio.timeout(60):
        assert len(await poller.drain(source)) == 3
        await upstream.execute("DELETE FROM orders")
        while source._ledger.position is None:  # type: ignore[attr-defined]
            # The server lists transactions anew once it was not asked for a tenth of a second.
            await asyncio.sleep(0.2)
            await poller.poll(source)
            assert poller.problems == (), "the server continues behind them"
        await upstream.execute("TRUNCATE TABLE orders; INSERT INTO orders (n) VALUES (4)")
        assert await poller.poll(source) == []
        assert poller.problems[0].startswith("the next key of the table is 2, and rows up to key 3 were read")
        await upstream.execute("ALTER TABLE orders AUTO_INCREMENT = 10; INSERT INTO orders (n) VALUES (5)")
        assert await poller.poll(source) == [{"id": 10, "n": 5}]
        assert poller.problems == ()
