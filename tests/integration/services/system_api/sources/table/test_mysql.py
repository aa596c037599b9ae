"""Tables in MariaDB: late commits, privileges, values, and times in any zone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncmy
import pytest

from shared.errors import SettingsError, Unauthorized, Unavailable
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream, mariadb_database
from tests.servers.mariadb import MariaDb

TIMED = (
    "CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, n int,"
    " changed timestamp NOT NULL DEFAULT now() ON UPDATE now(), KEY (changed, id))"
)


@pytest.fixture
async def upstream(mariadb: MariaDb) -> AsyncIterator[Upstream]:
    async with mariadb_database(mariadb) as found:
        yield found


@pytest.fixture
async def late(upstream: Upstream, mariadb: MariaDb) -> AsyncIterator[Any]:
    """A second connection, without autocommit."""
    _, _, name = upstream.url.rpartition("/")
    connection = await asyncmy.connect(host="127.0.0.1", port=mariadb.port, user="trelay", database=name)

    async def execute(statement: str) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute(statement)

    yield execute
    await connection.ensure_closed()


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.table.mysql.reader._MARGIN", 0)


@pytest.mark.parametrize("options", [{}, {"updated_at_column": "changed"}])
async def test_a_row_that_commits_late_is_read_late_and_once(
    upstream: Upstream, late: Any, options: dict[str, str]
) -> None:
    await upstream.execute(TIMED)
    poller = TablePoller(upstream.url, **options)
    async with poller.opened() as source:
        await late("INSERT INTO orders (n) VALUES (1)")
        await upstream.execute("INSERT INTO orders (n) VALUES (2)")
        assert [row["n"] for row in await poller.drain(source)] == [2]
    async with poller.opened() as source:
        await upstream.execute("INSERT INTO orders (n) VALUES (3)")
        assert [row["n"] for row in await poller.drain(source)] == [3]
        await late("COMMIT")
        assert [row["n"] for row in await poller.drain(source)] == [1]
        assert await poller.drain(source) == []
    assert len({event["id"] for event in poller.events}) == 3


async def poll_until(poller: TablePoller, source: Any, condition: Callable[[], bool]) -> None:
    """Poll until a condition holds; the server renews its list of transactions when it was not read for 100 ms."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.12)
            await poller.drain(source)


@pytest.mark.parametrize("options", [{}, {"updated_at_column": "changed"}])
async def test_what_no_open_transaction_precedes_is_remembered_by_the_position(
    upstream: Upstream, late: Any, options: dict[str, str], no_margin: None
) -> None:
    await upstream.execute(TIMED.replace("timestamp", "timestamp(6)").replace("now()", "now(6)"))
    await late("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    poller = TablePoller(upstream.url, **options)
    async with poller.opened() as source:
        reader = source._reader  # type: ignore[attr-defined]
        await upstream.execute("INSERT INTO orders (n) VALUES (0)")
        await poll_until(poller, source, lambda: reader._horizon.value is not None)
        await late("INSERT INTO orders (n) VALUES (1)")
        await upstream.execute("INSERT INTO orders (n) VALUES (2)")
        await poll_until(poller, source, lambda: reader.holder() is not None)
        assert reader.holder().startswith("transaction ")
        await upstream.execute("INSERT INTO orders (n) VALUES (3)")
        await poller.drain(source)
        assert sorted(event["data"]["n"] for event in poller.events) == [0, 2, 3]
        await late("COMMIT")
        await poll_until(poller, source, lambda: reader.holder() is None)
        await upstream.execute("INSERT INTO orders (n) VALUES (4)")
        await poll_until(poller, source, lambda: len(poller.events) == 5)
    assert sorted(event["data"]["n"] for event in poller.events) == list(range(5))


async def test_updates_within_a_second_are_states_of_their_own(upstream: Upstream) -> None:
    await upstream.execute(TIMED)
    await upstream.execute("INSERT INTO orders (n) VALUES (1)")
    poller = TablePoller(upstream.url, updated_at_column="changed")
    async with poller.opened() as source:
        await poller.drain(source)
        for number in (2, 3, 4):
            await upstream.execute(f"UPDATE orders SET n = {number}")
            assert [row["n"] for row in await poller.drain(source)] == [number]
    assert len({event["id"] for event in poller.events}) == 4


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
async def test_a_datetime_needs_its_zone_and_a_wrong_one_loses_nothing(
    upstream: Upstream, zone: str, no_margin: None
) -> None:
    offset = {"America/New_York": "-5", "Asia/Kolkata": "5"}[zone]
    await upstream.execute("CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, changed datetime(6))")
    insert = f"INSERT INTO orders (changed) VALUES (UTC_TIMESTAMP(6) + INTERVAL {offset} HOUR)"
    with pytest.raises(SettingsError, match=r"time_zone: table orders: column 'changed' has no time zone"):
        async with TablePoller(upstream.url, updated_at_column="changed").opened():
            pass
    poller = TablePoller(upstream.url, updated_at_column="changed", time_zone="UTC")
    async with poller.opened() as source:
        for number in range(1, 6):
            await upstream.execute(insert)
            assert [row["id"] for row in await poller.drain(source)] == [number]
    [problem] = poller.problems
    assert "times 5 h 00 min" in problem


async def test_values_are_unchanged(upstream: Upstream) -> None:
    await upstream.execute("""
        CREATE TABLE orders (
            id bigint AUTO_INCREMENT PRIMARY KEY, f float, d double, x decimal(30, 10), b varbinary(10), j json,
            t timestamp(6) NULL, dt datetime, tm time, bi bit(3), e enum('a', 'b'), y year, z int(5) zerofill,
            u bigint unsigned, `we%ird ``s` text CHARACTER SET latin1
        )
    """)
    await upstream.execute(
        "INSERT INTO orders (f, d, x, b, j, t, dt, tm, bi, e, y, z, u, `we%ird ``s`) VALUES (0.1, 0.1e0 + 0.2e0,"
        " 12345678901234567890.123456789, x'00ff', '{\"a\": [1]}', '2026-02-01 03:04:05.678901', '2026-01-02 03:04:05',"
        " '-12:00:01', b'101', 'b', 2026, 7, 18446744073709551615, 'Zoë \"q\" \\\\ %s')"
    )
    await upstream.execute("INSERT INTO orders (f, dt) VALUES (16777217.5, '0000-00-00')")
    poller = TablePoller(upstream.url)
    async with poller.opened() as source:
        first, _ = (await source.poll(10)).records
    assert first.value is not None
    assert b'"x":12345678901234567890.1234567890,' in first.value
    poller = TablePoller(upstream.url)
    async with poller.opened() as source:
        row, other = await poller.drain(source)
    del row["x"]
    assert row == {
        "id": 1, "f": 0.1, "d": 0.30000000000000004, "b": "AP8=", "j": {"a": [1]},
        "t": "2026-02-01T03:04:05.678901+00:00", "dt": "2026-01-02T03:04:05", "tm": "-12:00:01", "bi": 5, "e": "b",
        "y": 2026, "z": 7, "u": 18446744073709551615, "we%ird `s": 'Zoë "q" \\ %s',
    }  # fmt: skip
    assert (other["f"], other["dt"]) == (16777218.0, "0000-00-00T00:00:00")


async def test_json_is_json_for_an_account_that_may_read_some_columns(upstream: Upstream, mariadb: MariaDb) -> None:
    _, _, name = upstream.url.rpartition("/")
    await upstream.execute("CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, j json, secret text)")
    await upstream.execute("INSERT INTO orders (j) VALUES ('{\"a\": 1}')")
    await upstream.execute(
        f"CREATE USER {name[:20]}@'127.0.0.1'; GRANT SELECT (id, j) ON {name}.orders TO {name[:20]}@'127.0.0.1';"
        f" GRANT PROCESS ON *.* TO {name[:20]}@'127.0.0.1'"
    )
    try:
        poller = TablePoller(mariadb.url(name, name[:20]), columns=["id", "j"])
        async with poller.opened() as source:
            assert await poller.drain(source) == [{"id": 1, "j": {"a": 1}}]
    finally:
        await upstream.execute(f"DROP USER {name[:20]}@'127.0.0.1'")


async def test_an_account_without_process_needs_an_overlap(upstream: Upstream, mariadb: MariaDb) -> None:
    _, _, name = upstream.url.rpartition("/")
    await upstream.execute(TIMED)
    await upstream.execute(f"CREATE USER {name[:20]}@'127.0.0.1'; GRANT SELECT ON {name}.* TO {name[:20]}@'127.0.0.1'")
    try:
        url = mariadb.url(name, name[:20])
        with pytest.raises(SettingsError, match=r"orders\.overlap: .*GRANT PROCESS ON \*\.\* to it, or set `overlap`"):
            async with TablePoller(url, updated_at_column="changed").opened():
                pass
        poller = TablePoller(url, updated_at_column="changed", overlap=60)
        async with poller.opened() as source:
            await upstream.execute("INSERT INTO orders (n) VALUES (1)")
            assert len(await poller.drain(source)) == 1
            await upstream.execute("INSERT INTO orders (n, changed) VALUES (2, now() - INTERVAL 30 SECOND)")
            assert [row["n"] for row in await poller.drain(source)] == [2]
    finally:
        await upstream.execute(f"DROP USER {name[:20]}@'127.0.0.1'")


async def test_large_rows_are_read_few_at_a_time_and_cut(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._MAX_BYTES", 1_000_000)
    await upstream.execute("CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, body longtext)")
    await upstream.execute("INSERT INTO orders (body) SELECT repeat('x', 100000) FROM seq_1_to_40")
    await upstream.execute("INSERT INTO orders (body) VALUES (repeat('y', 9000000)), ('z')")
    poller = TablePoller(upstream.url)
    sizes = []
    async with poller.opened() as source:
        more = True
        while more:
            batch = await source.poll(1000)
            sizes.append(sum(len(record.value or b"") for record in batch.records))
            poller.save(batch)
            more = batch.more
    assert len(poller.ids) == 41
    assert max(sizes) < 1_200_000
    [(_, error)] = poller.rejects
    assert error.startswith(f"orders, key {poller.ids[-1] - 1}: found a row of at least 90000")


async def test_rows_without_a_key_or_a_time_go_to_the_dead_letter_once(upstream: Upstream) -> None:
    await upstream.execute("CREATE TABLE orders (id varchar(9) UNIQUE, changed datetime NULL)")
    await upstream.execute(
        "INSERT INTO orders VALUES ('a', '2020-01-01'), (NULL, '2020-01-01'), ('b', NULL), ('c', '0000-00-00')"
    )
    poller = TablePoller(upstream.url, updated_at_column="changed", time_zone="UTC")
    for _ in range(2):
        async with poller.opened() as source:
            await poller.drain(source)
    assert poller.ids == ["a"]
    assert sorted(error.rpartition(": ")[2] for _, error in poller.rejects) == [
        "column 'changed' is NULL",
        "column 'changed' is NULL",
        "column 'id' is NULL",
    ]


async def test_another_table_of_the_name_and_another_definition(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.mysql.table._CHECK_INTERVAL", 0)
    await upstream.execute(TIMED + "; INSERT INTO orders (n) VALUES (1)")
    poller = TablePoller(upstream.url)
    async with poller.opened() as source:
        await poller.drain(source)
        await upstream.execute("CREATE TABLE copy LIKE orders; INSERT INTO copy SELECT * FROM orders")
        await upstream.execute("RENAME TABLE orders TO old, copy TO orders; ALTER TABLE orders ADD m int DEFAULT 7")
        await upstream.execute("INSERT INTO orders (n) VALUES (2)")
        assert [(row["id"], row["n"], row["m"]) for row in await poller.drain(source)] == [(2, 2, 7)]
        await upstream.execute("DROP TABLE orders")
        with pytest.raises(Unavailable, match="the table does not exist"):
            await poller.drain(source)
        await upstream.execute(TIMED + "; INSERT INTO orders (id, n) VALUES (3, 3)")
        assert [row["n"] for row in await poller.drain(source)] == [3]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"table": "order"}, "table: there is no table 'order', or the account may not see it"),
        ({"key": "name"}, "key: table orders: column 'name' is varchar; set `updated_at_column`"),
        (
            {"updated_at_column": "name"},
            "updated_at_column: table orders: column 'name' is varchar; expected timestamp",
        ),
        ({"key": "other"}, "key: table orders: the values of column 'other' are not from AUTO_INCREMENT"),
        ({"mode": "outbox", "published_column": "name"}, "published_column: table orders: column 'name' is varchar"),
    ],
)
async def test_settings_that_cannot_work(upstream: Upstream, options: Any, error: str) -> None:
    await upstream.execute(
        "CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, other int UNIQUE, name varchar(9) UNIQUE)"
    )
    with pytest.raises(SettingsError) as caught:
        async with TablePoller(upstream.url, **options).opened():
            pass
    assert str(caught.value).startswith(f"system.sources.orders.{error}")


async def test_lost_connections_and_refused_accounts(upstream: Upstream, mariadb: MariaDb) -> None:
    await upstream.execute(TIMED)
    poller = TablePoller(upstream.url)
    async with poller.opened() as source:
        await poller.drain(source)
        for number in range(2):
            for thread in await upstream.column(
                "SELECT id FROM information_schema.processlist WHERE id <> connection_id() AND user = 'trelay'"
            ):
                with contextlib.suppress(asyncmy.errors.OperationalError):
                    await upstream.execute(f"KILL {thread}")
            await upstream.execute(f"INSERT INTO orders (n) VALUES ({number})")
            with pytest.raises(Unavailable):
                await poller.drain(source)
            assert [row["n"] for row in await poller.drain(source)] == [number]
    with pytest.raises(Unauthorized, match="Access denied"):
        async with TablePoller(mariadb.url(user="stranger")).opened():
            pass
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/"):
        async with TablePoller("mariadb://nobody@127.0.0.1:1/nothing").opened():
            pass
