"""Rows counted by the time of their last change, on each database; and a rewind to a time."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from services.system_api.sources.capabilities import Countable, Rewinding
from shared.errors import Malformed
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream

DAY = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 5)]
TOKYO = "Asia/Tokyo"
"""Nine hours ahead of UTC."""


async def counted(poller: TablePoller, since: datetime, until: datetime) -> int:
    async with poller.opened() as source:
        assert isinstance(source, Countable)
        return await source.count(since, until)


def kind(upstream: Upstream) -> str:
    return upstream.url.partition(":")[0]


@pytest.mark.parametrize("form", ["instants", "local", "numbers", "dates"])
async def test_rows_are_counted_by_the_time_of_their_last_change(each: Upstream, form: str) -> None:
    types = {
        "postgresql": {"instants": "timestamptz", "local": "timestamp", "numbers": "bigint", "dates": "date"},
        "mariadb": {"instants": "timestamp(6)", "local": "datetime(6)", "numbers": "bigint", "dates": "date"},
        "sqlite": {"instants": "text", "local": "text", "numbers": "integer", "dates": "text"},
    }
    values: dict[str, list[Any]] = {
        "instants": ["2026-01-01 12:00:00", "2026-01-02 00:00:00", "2026-01-02 23:59:59", "2026-01-03 00:00:00"],
        "local": ["2026-01-01 21:00:00", "2026-01-02 09:00:00", "2026-01-03 08:59:59", "2026-01-03 09:00:00"],
        "numbers": [1767268800, 1767312000, 1767398399, 1767398400],
        "dates": ["2026-01-01", "2026-01-02", "2026-01-02", "2026-01-03"],
    }
    more = {"local": {"time_zone": TOKYO}, "numbers": {"time_unit": "seconds"}}.get(form, {})
    await each.execute(f"CREATE TABLE orders (id int PRIMARY KEY, at {types[kind(each)][form]})")
    for number, value in enumerate(values[form]):
        await each.execute(f"INSERT INTO orders VALUES ({number}, {value!r})")
    poller = TablePoller(each.url, updated_at_column="at", **more)
    assert [await counted(poller, since, until) for since, until in pairwise(DAY)] == [1, 2, 1]
    assert await counted(poller, DAY[0], DAY[3]) == 4
    async with poller.opened() as source:
        assert isinstance(source, Countable)
        assert isinstance(source, Rewinding)
        await poller.drain(source)
        position = poller.events[-1]["id"].removeprefix("orders:")
        assert source.entity(position) == "3"
        poller.saved = dict(await source.checkpoint_at(DAY[1]))
    before = len(poller.events)
    async with poller.opened() as source:
        await poller.drain(source)
    assert [event["data"]["id"] for event in poller.events[before:]] == [1, 2, 3], "what changed since the second day"


async def test_rows_by_key_have_no_time_to_count_by(each: Upstream) -> None:
    await each.execute(f"CREATE TABLE orders (id {each.key}, v int); INSERT INTO orders (v) VALUES (1)")
    with pytest.raises(Malformed, match="without updated_at_column"):
        await counted(TablePoller(each.url), DAY[0], DAY[1])


async def test_an_empty_table_has_no_rows(each: Upstream) -> None:
    type_ = {"postgresql": "timestamptz", "mariadb": "timestamp", "sqlite": "text"}[kind(each)]
    await each.execute(f"CREATE TABLE orders (id int PRIMARY KEY, at {type_})")
    assert await counted(TablePoller(each.url, updated_at_column="at"), DAY[0], DAY[1]) == 0
