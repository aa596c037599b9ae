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
