"""The plan of a rewind, on the bus in memory."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.process_api import rewinding
from services.process_api.rewinding import Partition, count, parse_place, plan, request
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, TopicOptions
from shared.errors import Malformed
from shared.events.dead_letter import Replay
from shared.events.headers import headers_of
from shared.runtime.clock import SYSTEM_CLOCK, SystemClock
from tests.unit.services.process_api.making import event, pipeline

TOPIC = "trelay.ingest"


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("beginning", "beginning"),
        ({"time": "2026-01-31T13:00:00+01:00"}, datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ({"offsets": {"0": 7, "12": 0}}, {0: 7, 12: 0}),
        ({"offsets": {"0": 7.0}}, {0: 7}),
    ],
    ids=["beginning", "time", "offsets", "fraction"],
)
def test_a_place_is_the_beginning_a_time_or_offsets(given: Any, place: Any) -> None:
    assert parse_place(given) == place


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (None, 'to: found null; expected "beginning"'),
        ("end", 'to: found "end"'),
        ({"time": "noon"}, 'to.time: found "noon"; expected RFC 3339'),
        # Their years are 0 and 10000 in UTC.
        ({"time": "0001-01-01T00:00:00+01:00"}, 'to.time: found "0001-01-01T00:00:00+01:00"; expected RFC 3339'),
        ({"time": "9999-12-31T23:59:59-01:00"}, 'to.time: found "9999-12-31T23:59:59-01:00"; expected RFC 3339'),
        ({"time": "2026-01-31T12:00:00"}, "which has no time zone"),
        ({"time": "2026-01-31T12:00:00Z", "offsets": {}}, "to: found"),
        ({"offsets": {}}, "to: found"),
        ({"offsets": {"x": 1}}, "to.offsets: found partition 'x'"),
        ({"offsets": {"0": -1}}, "to.offsets: found -1"),
        ({"offsets": {"0": 1.5}}, "to.offsets: found 1.5"),
        ({"offsets": {"0": True}}, "to.offsets: found true"),
        ({"offsets": {"0": "1"}}, 'to.offsets: found "1"'),
    ],
    ids=str,
)
def test_any_other_place_is_refused_by_what_was_expected(given: Any, error: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_place(given)
    assert error in str(caught.value)


class LateClock(SystemClock):
    """Ten seconds pass with each look at the time."""

    at = 1_000.0

    def monotonic(self) -> float:
        self.at += 10
        return self.at


async def filled(*sources: str) -> MemoryBus:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=2)])
    async with bus.appender() as appender:
        for number, source in enumerate(sources):
            value = event({"n": number})
            record = Outgoing(b"C-1", value, headers_of(f"{source} 1 {source}:{number}".encode()))
            await appender.append(TOPIC, [record])
    return bus


async def partition(bus: MemoryBus) -> int:
    return next(number for number, (_, end) in (await bus.bounds(TOPIC)).items() if end)


async def test_only_what_the_pipeline_has_passed_is_run_again_and_its_events_are_counted() -> None:
    bus = await filled("orders", "refunds", "orders", "orders")
    number = await partition(bus)
    other = 1 - number
    positions = {number: 3, other: 0}
    assert await plan(bus, TOPIC, positions, "beginning") == {number: Partition(3, 0)}
    assert await plan(bus, TOPIC, positions, {number: 2, other: 5}) == {number: Partition(3, 2)}
    assert await plan(bus, TOPIC, positions, {number: 3}) == {}
    with pytest.raises(Malformed, match=r"found partition 7; trelay\.ingest has the partitions 0 to 1"):
        await plan(bus, TOPIC, positions, {7: 1})
    orders = pipeline(sources=["orders"])
    assert await count(bus, TOPIC, orders, {number: Partition(3, 0)}, SYSTEM_CLOCK) == ({number: 2}, True)


async def test_replays_of_events_that_run_again_are_not_counted() -> None:
    bus = await filled("orders", "orders")
    number = await partition(bus)
    for origin in ((number, 0), (number, 1), (1 - number, 1), None):
        replay = Replay("0-0", 1, "orders", origin=origin)
        headers = (*headers_of(b"orders 1 orders:0"), *replay.headers())
        async with bus.appender() as appender:
            await appender.append(TOPIC, [Outgoing(b"C-1", event({"n": 0}), headers)])
    made = pipeline(name="orders", sources=["orders"])
    assert await count(bus, TOPIC, made, {number: Partition(6, 1)}, SYSTEM_CLOCK) == ({number: 4}, True)


async def test_counting_ends_after_some_time() -> None:
    bus = await filled("orders")
    number = await partition(bus)
    assert await count(bus, TOPIC, pipeline(), {number: Partition(1, 0)}, LateClock()) == ({number: 0}, False)


async def test_a_time_is_the_first_event_since_then() -> None:
    bus = await filled(*["orders"] * 40)
    number = await partition(bus)
    records = bus.records(TOPIC, number)
    since = datetime.fromtimestamp(records[0].timestamp / 1000, tz=UTC)
    assert await plan(bus, TOPIC, {number: 40}, since) == {number: Partition(40, 0)}
    late = datetime.fromtimestamp(records[-1].timestamp / 1000 + 60, tz=UTC)
    assert await plan(bus, TOPIC, {number: 40}, late) == {}


def test_a_request_names_who_asked_for_what() -> None:
    made = request("e", {0: 4}, {"offsets": {"0": 4}}, "alice", SYSTEM_CLOCK, reset_state=True)
    assert (made.epoch, made.to, made.by, made.reset_state) == ("e", {0: 4}, "alice", True)
    assert json.loads(made.place) == {"offsets": {"0": 4}}
    assert made.id != request("e", {}, None, "alice", SYSTEM_CLOCK, reset_state=False).id
    assert rewinding.Partition(9, 4) == (9, 4)
