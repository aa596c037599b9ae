"""Outboxes: every row is published once, and removed after its event is committed; on each database."""

import random
from typing import Any

import asyncpg
import pytest

from services.system_api.sources.capabilities import Rewinding
from services.system_api.sources.source import Settling
from shared.errors import Malformed, SettingsError, Unavailable
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream

LONG = "x" * 2000


async def publish(poller: TablePoller, source: Any, limit: int = 1000) -> int:
    """Poll, commit and settle until nothing more is there; return the number of events."""
    before, more = len(poller.events), True
    while more:
        batch = await source.poll(limit)
        poller.save(batch)
        await source.settle(batch)
        more = batch.more
    return len(poller.events) - before


async def test_rows_are_published_and_then_deleted(each: Upstream) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, v text)")
    poller = TablePoller(each.url, mode="outbox")
    async with poller.opened() as opened:
        assert isinstance(opened, Settling)
        source: Any = opened
        for number in range(3):
            await each.execute("INSERT INTO orders (v) VALUES ('a'), ('b'), ('c')")
            first = await source.poll(2)
            assert len(await each.column("SELECT id FROM orders")) == 3, "nothing is deleted before the commit"
            second = await source.poll(2)
            for batch in (first, second):
                poller.save(batch)
                await source.settle(batch)
            assert await each.column("SELECT id FROM orders") == []
            assert await publish(poller, source) == 0
            assert poller.ids == list(range(1, 3 * number + 4))
    assert [event["id"] for event in poller.events] == [f"orders:{number}" for number in range(1, 10)]
    assert set(poller.saved) == {""}


@pytest.mark.parametrize("type_", ["timestamp", "boolean", "date"])
async def test_rows_are_published_and_then_marked(each: Upstream, type_: str) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, who text, done {type_})")
    await each.execute("INSERT INTO orders (who) VALUES ('a'), (NULL), ('b')")
    poller = TablePoller(each.url, mode="outbox", published_column="done", subject="who", columns=["id", "who"])
    for _ in range(2):
        async with poller.opened() as source:
            await publish(poller, source)
    assert poller.ids == [1, 3]
    assert len(poller.rejects) == 1
    assert await each.column("SELECT count(*) FROM orders WHERE done IS NULL") == [0]


async def test_a_crash_between_commit_and_delete_publishes_nothing_twice(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (a varchar(9), b varchar(9), PRIMARY KEY (a, b))")
    await each.execute("INSERT INTO orders VALUES ('x', '1,%'), ('x,1', '%'), ('y', '')")
    poller = TablePoller(each.url, mode="outbox", key=["a", "b"])
    async with poller.opened() as source:
        poller.save(await source.poll(2))
    assert len(await each.column("SELECT a FROM orders")) == 3
    async with poller.opened() as source:
        await publish(poller, source)
    assert len(poller.events) == len({event["id"] for event in poller.events}) == 3
    assert await each.column("SELECT a FROM orders") == []


async def test_crashes_at_any_step(each: Upstream, seed: int) -> None:
    rng = random.Random(seed)
    await each.execute(f"CREATE TABLE orders (id {each.key}, v int)")
    poller = TablePoller(each.url, mode="outbox")
    total = 0
    for _ in range(15):
        async with poller.opened() as opened:
            source: Any = opened
            for _ in range(rng.randrange(6)):
                rows = rng.randrange(1, 6)
                total += rows
                await each.execute(f"INSERT INTO orders (v) VALUES {', '.join(['(1)'] * rows)}")
                batch = await source.poll(rng.randrange(1, 5))
                if rng.random() < 0.2:
                    break  # dies before the commit
                poller.save(batch)
                if rng.random() < 0.3:
                    break  # dies before the delete
                await source.settle(batch)
    async with poller.opened() as opened:
        await publish(poller, opened)
    assert sorted(poller.ids) == list(range(1, total + 1))
    assert await each.column("SELECT id FROM orders") == []


async def test_rejected_rows_stay_and_are_rejected_once(each: Upstream) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, who text, v text)")
    await each.execute(f"INSERT INTO orders (who, v) VALUES ('a', ''), (NULL, ''), ('c', '{LONG}'), ('d', '')")
    poller = TablePoller(each.url, mode="outbox", subject="who", row_limit=1000)
    for _ in range(2):
        async with poller.opened() as source:
            await publish(poller, source)
            await publish(poller, source)
    assert poller.ids == [1, 4]
    assert len(poller.rejects) == 2
    assert sorted(await each.column("SELECT id FROM orders")) == [2, 3]
    await each.execute("DELETE FROM orders; INSERT INTO orders (who, v) VALUES ('e', '')")
    async with poller.opened() as source:
        await publish(poller, source)
        await publish(poller, source)
    assert poller.ids == [1, 4, 5]
    assert set(poller.saved) == {""}


async def test_a_delete_that_fails_is_repeated_before_anything_else(
    each: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, v int); INSERT INTO orders (v) VALUES (1)")
    poller = TablePoller(each.url, mode="outbox")
    async with poller.opened() as source:
        batch = await source.poll(10)
        poller.save(batch)
        reader: Any = source._reader  # type: ignore[attr-defined]
        remove = reader.remove

        async def failing(_keys: Any) -> None:
            raise Unavailable("gone")

        reader.remove = failing
        with pytest.raises(Unavailable):
            await source.settle(batch)  # type: ignore[attr-defined]
        with pytest.raises(Unavailable):
            await source.poll(10)
        reader.remove = remove
        assert await publish(poller, source) == 0
        assert await each.column("SELECT id FROM orders") == []


KEEPING = {
    "postgresql": [
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.done = NULL; RETURN NEW; END'",
        "CREATE TRIGGER keep BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION keep()",
    ],
    "mariadb": ["CREATE TRIGGER keep BEFORE UPDATE ON orders FOR EACH ROW SET NEW.done = NULL"],
    "sqlite": ["CREATE TRIGGER keep BEFORE UPDATE ON orders BEGIN SELECT RAISE(IGNORE); END"],
}


async def test_rows_that_are_not_marked_are_an_error_and_not_published_again(each: Upstream) -> None:
    await each.execute(
        f"CREATE TABLE orders (id {each.key}, done timestamp {each.null}); INSERT INTO orders VALUES (1, NULL)"
    )
    for statement in KEEPING[each.url.partition(":")[0]]:
        await each.execute(statement)
    poller = TablePoller(each.url, mode="outbox", published_column="done")
    for _ in range(3):
        with pytest.raises(
            SettingsError, match=r"1 of 1 rows that were published are still unpublished .* such as key 1"
        ):
            async with poller.opened() as source:
                await publish(poller, source)
    assert poller.ids == [1]
    await each.execute("DROP TRIGGER keep" + " ON orders" * each.url.startswith("postgresql"))
    async with poller.opened() as source:
        await publish(poller, source)
    assert poller.ids == [1]
    assert await each.column("SELECT count(*) FROM orders WHERE done IS NULL") == [0]


async def test_a_rewind_reads_what_is_in_the_table(each: Upstream) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, v int); INSERT INTO orders (v) VALUES (1), (2)")
    poller = TablePoller(each.url, mode="outbox")
    async with poller.opened() as source:
        poller.save(await source.poll(1))
        assert isinstance(source, Rewinding)
        assert await source.checkpoint_at("beginning") == poller.saved
        with pytest.raises(Malformed, match="an outbox has no other place"):
            await source.checkpoint_at("end")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"key": "v"}, "key: table orders: nothing keeps two rows from having the same 'v'"),
        ({"published_column": "vv"}, "published_column: table orders has no column 'vv'"),
        ({"table": "shown"}, "table: shown is not a table"),
    ],
)
async def test_settings_that_cannot_work(each: Upstream, options: Any, error: str) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, v int); CREATE VIEW shown AS SELECT * FROM orders")
    with pytest.raises(SettingsError) as caught:
        async with TablePoller(each.url, mode="outbox", **options).opened():
            pass
    assert str(caught.value).startswith(f"system.sources.orders.{error}")


async def test_rows_are_removed_durably(database: str, upstream: asyncpg.Connection) -> None:
    """Otherwise a crash of the server could bring them back, and they would be published again."""
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY)")
    _, _, name = database.rpartition("/")
    for setting, expected in (("off", "on"), ("local", "local")):
        await upstream.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = {setting}')
        async with TablePoller(database, mode="outbox").opened() as source:
            connection = source._reader._keeper.current.connection  # type: ignore[attr-defined]
            assert await connection.fetchval("SHOW synchronous_commit") == expected
