"""Small tables that are compared: inserts, updates and deletes, each once, on each database."""

import random
import re
from typing import Any

import pytest

from shared.errors import SettingsError, Unavailable
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.table.diff.source._PAUSE", 0)


def changes(poller: TablePoller, since: int = 0) -> list[tuple[str, str, Any]]:
    """Return the changes of the events: type, subject and data without the key."""
    return [(event["type"], event["subject"], event["data"].get("v")) for event in poller.events[since:]]


async def test_inserts_updates_and_deletes_are_found_once(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id varchar(20) PRIMARY KEY, v int)")
    await each.execute("INSERT INTO orders VALUES ('b', 1), ('A', 2), ('ä,%', 3)")
    poller = TablePoller(each.url, mode="diff")
    for _ in range(2):
        async with poller.opened() as source:
            await poller.drain(source)
            await poller.drain(source)
    assert sorted(changes(poller)) == [("order", "A", 2), ("order", "b", 1), ("order", "ä,%", 3)]
    async with poller.opened() as source:
        await each.execute("UPDATE orders SET v = 4 WHERE id = 'b'; DELETE FROM orders WHERE id = 'A'")
        await each.execute("INSERT INTO orders VALUES ('c', 5)")
        await poller.drain(source)
        assert sorted(changes(poller, 3)) == [("order", "b", 4), ("order", "c", 5), ("order.deleted", "A", None)]
        assert poller.events[-1]["data"] == {"id": "A"}
        await each.execute("UPDATE orders SET v = 1 WHERE id = 'b'; INSERT INTO orders VALUES ('A', 2)")
    async with poller.opened() as source:
        await poller.drain(source)
    assert sorted(changes(poller, 6)) == [("order", "A", 2), ("order", "b", 1)]
    assert len({event["id"] for event in poller.events}) == len(poller.events) == 8


async def test_keys_of_several_columns_and_a_subject_of_another_column(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (a int, b varchar(9), who text, v int, PRIMARY KEY (a, b))")
    await each.execute("INSERT INTO orders VALUES (1, 'x,y', 'ann', 1), (1, 'x', 'ann', 2), (10, 'x', NULL, 3)")
    poller = TablePoller(each.url, mode="diff", key=["a", "b"], subject="who", columns=["v"], deleted_type="gone")
    async with poller.opened() as source:
        await poller.drain(source, limit=1)
        assert sorted(changes(poller)) == [("order", "ann", 1), ("order", "ann", 2)]
        assert [error for _, error in poller.rejects] == ["orders, key 10,x: column 'who' is NULL"]
        await each.execute("UPDATE orders SET who = 'bob' WHERE b = 'x,y'; DELETE FROM orders WHERE b = 'x'")
        await poller.drain(source)
    assert changes(poller, 2) == [("order", "bob", 1), ("gone", "ann", None)]
    assert poller.events[-1]["data"] == {"a": 1, "b": "x"}
    assert len(poller.rejects) == 1, "a row that had no event has none when it is deleted"


async def test_a_crash_at_any_poll_repeats_and_loses_nothing(each: Upstream, seed: int) -> None:
    rng = random.Random(seed)
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, v int)")
    expected: dict[int, int] = {}
    seen: dict[str, int] = {}
    poller = TablePoller(each.url, mode="diff")
    for _ in range(12):
        for _ in range(rng.randrange(60)):
            key, value = rng.randrange(40), rng.randrange(1000)
            await each.execute(f"DELETE FROM orders WHERE id = {key}")
            expected.pop(key, None)
            if rng.random() < 0.7:
                await each.execute(f"INSERT INTO orders VALUES ({key}, {value})")
                expected[key] = value
        async with poller.opened() as source:
            for _ in range(rng.randrange(8)):
                batch = await source.poll(rng.randrange(1, 9))
                if rng.random() < 0.2:
                    break  # the process dies before the batch is committed
                poller.save(batch)
    async with poller.opened() as source:
        await poller.drain(source)
        await poller.drain(source)
    for event in poller.events:
        if event["type"] == "order.deleted":
            del seen[event["subject"]]
        else:
            assert seen.get(event["subject"]) != event["data"]["v"], "a state that was published already"
            seen[event["subject"]] = event["data"]["v"]
    assert seen == {str(key): value for key, value in expected.items()}
    assert len({event["id"] for event in poller.events}) == len(poller.events)


async def test_rows_that_cannot_be_events_are_rejected_once_for_each_state(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, v text)")
    await each.execute(f"INSERT INTO orders VALUES (1, 'a'), (2, '{'x' * 2000}'), (3, 'b')")
    poller = TablePoller(each.url, mode="diff", row_limit=1000)
    for _ in range(2):
        async with poller.opened() as source:
            await poller.drain(source)
            await poller.drain(source)
    assert poller.ids == [1, 3]
    [(_, error)] = poller.rejects
    assert re.fullmatch(r"orders, key 2: found a row of (at least )?20\d\d bytes, the limit is 1000", error)
    async with poller.opened() as source:
        await each.execute(f"UPDATE orders SET v = '{'y' * 2000}' WHERE id = 2")
        await poller.drain(source)
        await each.execute("UPDATE orders SET v = 'y' WHERE id = 2")
        await poller.drain(source)
    assert len(poller.rejects) == 2
    assert poller.ids == [1, 3, 2]


async def test_large_rows_and_many_rows(each: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.table.diff.source._MAX_BYTES", 100_000)
    monkeypatch.setattr("services.system_api.sources.table.diff.source._HASHES", 700)
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, v text)")
    values = ", ".join(f"({number}, '{'x' * (20_000 if number % 100 == 0 else 10)}')" for number in range(3000))
    await each.execute(f"INSERT INTO orders VALUES {values}")
    poller = TablePoller(each.url, mode="diff")
    async with poller.opened() as source:
        more, sizes = True, []
        while more:
            batch = await source.poll(1000)
            sizes.append(sum(len(record.value or b"") for record in batch.records))
            assert all(len(value or b"") < 300_000 for value in batch.checkpoint.values())
            poller.save(batch)
            more = batch.more
        assert poller.ids == list(range(3000))
        assert max(sizes) < 400_000
        await each.execute("DELETE FROM orders WHERE id % 2 = 0")
        await poller.drain(source)
        assert len(poller.events) == 4500
    async with poller.opened() as source:
        await each.execute("DELETE FROM orders")
        await poller.drain(source)
    assert len(poller.events) == 6000
    assert set(poller.saved) == {""}


async def test_a_table_with_too_many_rows_is_a_problem_and_loses_no_row(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, v int)")
    await each.execute(f"INSERT INTO orders VALUES {', '.join(f'({number}, 1)' for number in range(10, 20))}")
    poller = TablePoller(each.url, mode="diff", diff_limit=10)
    async with poller.opened() as source:
        await poller.drain(source)
        assert (len(poller.events), poller.problems) == (10, ())
        await each.execute("INSERT INTO orders VALUES (1, 1), (2, 1), (3, 1)")
        await poller.drain(source)
        assert "more than diff_limit (10) rows" in poller.problems[0]
        assert poller.waiting == poller.problems
        await poller.drain(source)
        assert not [event for event in poller.events if event["type"] == "order.deleted"]
        await each.execute("DELETE FROM orders WHERE id > 12")
        await poller.drain(source)
    assert poller.problems == ()
    assert sum(event["type"] == "order.deleted" for event in poller.events) == 7


async def test_rows_without_a_key(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id text UNIQUE, v int); INSERT INTO orders VALUES (NULL, 1), ('a', 2)")
    poller = TablePoller(each.url, mode="diff")
    for _ in range(2):
        async with poller.opened() as source:
            await poller.drain(source)
            await poller.drain(source)
    assert changes(poller) == [("order", "a", 2)]
    [(_, error)] = poller.rejects
    assert error == "orders, row without key or time: column 'id' is NULL"


async def test_a_table_that_disappears_is_no_delete(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, v int); INSERT INTO orders VALUES (1, 1)")
    poller = TablePoller(each.url, mode="diff")
    async with poller.opened() as source:
        await poller.drain(source)
        await each.execute("ALTER TABLE orders RENAME TO away")
        for _ in range(2):
            with pytest.raises((Unavailable, SettingsError)):
                await poller.drain(source)
        await each.execute("ALTER TABLE away RENAME TO orders; ALTER TABLE orders ADD w int DEFAULT 7")
        await poller.drain(source)
    assert [event["data"] for event in poller.events] == [{"id": 1, "v": 1}, {"id": 1, "v": 1, "w": 7}]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"key": "v"}, "key: table orders: nothing keeps two rows from having the same 'v'"),
        ({"key": ["id", "w"]}, "key: table orders has no column 'w'"),
    ],
)
async def test_settings_that_cannot_work(each: Upstream, options: Any, error: str) -> None:
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, v int)")
    with pytest.raises(SettingsError) as caught:
        async with TablePoller(each.url, mode="diff", **options).opened():
            pass
    assert str(caught.value).startswith(f"system.sources.orders.{error}")


async def test_a_checkpoint_of_another_mode(each: Upstream) -> None:
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, v int UNIQUE); INSERT INTO orders VALUES (1, 1)")
    poller, other = TablePoller(each.url, mode="diff"), TablePoller(each.url, overlap=1)
    for reader in (poller, other):
        async with reader.opened() as source:
            await reader.drain(source)
    for saved, options in ((other.saved, {"mode": "diff"}), (poller.saved, {"mode": "diff", "key": "v"})):
        changed = TablePoller(each.url, **options)
        changed.saved = saved
        with pytest.raises(SettingsError, match="another name"):
            async with changed.opened():
                pass


async def test_a_deleted_row_has_the_key_that_its_data_had(each: Upstream) -> None:
    """Keys of every type that one may have: the subscriber finds the row by them."""
    text = each.url.startswith("sqlite")
    moment, number = ("text", "real") if text else ("timestamp", "decimal(9, 2)")
    columns = {"a": "int", "b": moment, "c": number, "d": "date" if not text else "text"}
    declared = ", ".join(f"{name} {type_} NOT NULL" for name, type_ in columns.items())
    await each.execute(f"CREATE TABLE orders ({declared}, PRIMARY KEY (a, b, c, d))")
    await each.execute("INSERT INTO orders VALUES (1, '2026-01-02 03:04:05', 1.25, '2026-01-02')")
    poller = TablePoller(each.url, mode="diff", key=list(columns))
    async with poller.opened() as source:
        await poller.drain(source)
        await each.execute("DELETE FROM orders")
        await poller.drain(source)
    state, deleted = (event["data"] for event in poller.events)
    if text:
        state["c"] = str(state["c"])  # a column of SQLite may hold values of any type
    assert deleted == state
