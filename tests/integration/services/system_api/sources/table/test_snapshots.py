"""A snapshot on demand: all rows again, with their ids, beside what changes, on each database."""

from typing import Any

import pytest

from services.system_api.sources.capabilities import Snapshotting
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream


@pytest.mark.parametrize("options", [{}, {"updated_at_column": "changed", "time_zone": "UTC"}])
async def test_all_rows_are_published_again_with_their_ids(each: Upstream, options: Any) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, n int, changed timestamp DEFAULT CURRENT_TIMESTAMP)")
    await each.execute(f"INSERT INTO orders (n) VALUES {', '.join(f'({number})' for number in range(25))}")
    poller = TablePoller(each.url, **options)
    async with poller.opened() as source:
        await poller.drain(source)
        first = {event["id"] for event in poller.events}
        assert len(first) == len(poller.events) == 25
        assert isinstance(source, Snapshotting)
        poller.saved |= {part: value for part, value in (await source.snapshot()).items() if value is not None}
    for _ in range(3):
        async with poller.opened() as source:
            batch = await source.poll(6)
            poller.save(batch)
            assert batch.more
            await source.poll(6)  # the process dies before this batch is committed
    async with poller.opened() as source:
        await each.execute("INSERT INTO orders (n) VALUES (100)")
        await poller.drain(source, 6)
        assert await poller.drain(source, 6) == []
    again = [event["id"] for event in poller.events[25:]]
    assert first <= set(again)
    assert len(set(again) - first) == 1, "the row that was inserted meanwhile"
    assert sorted(event["data"]["n"] for event in poller.events[25:] if event["id"] in first) == list(range(25))
    assert "s" not in poller.saved


async def test_all_rows_of_a_table_that_is_compared(each: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.table.diff.source._PAUSE", 0)
    await each.execute("CREATE TABLE orders (id int PRIMARY KEY, n int)")
    await each.execute(f"INSERT INTO orders VALUES {', '.join(f'({number}, 0)' for number in range(25))}")
    poller = TablePoller(each.url, mode="diff")
    async with poller.opened() as source:
        await poller.drain(source)
        await each.execute("UPDATE orders SET n = 1 WHERE id = 7")
        await poller.drain(source)
        before = {event["id"] for event in poller.events if event["id"] != "orders:7@1"}
        assert isinstance(source, Snapshotting)
        poller.saved |= {part: value for part, value in (await source.snapshot()).items() if value is not None}
    poller.events.clear()
    async with poller.opened() as source:
        await each.execute("DELETE FROM orders WHERE id = 3; UPDATE orders SET n = 2 WHERE id = 4")
        await poller.drain(source, 6)
        await poller.drain(source, 6)
    ids = [event["id"] for event in poller.events]
    assert len(set(ids)) == len(ids) == 25
    assert set(ids) - before == {event["id"] for event in poller.events if event["subject"] in "34"}
    assert "s" not in poller.saved
    assert poller.rejects == []
