"""The end of topics on the bus in memory."""

from unittest import mock

from services.cli.pipelines import tail
from services.cli.pipelines.tail import Tail
from services.process_api.dry_run import EventClock
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, Record, TopicOptions
from shared.runtime.clock import SYSTEM_CLOCK


async def filled(count: int, partitions: int = 3) -> MemoryBus:
    clock = EventClock()
    bus = MemoryBus(clock)
    await bus.ensure_topics([TopicOptions(name="t", partitions=partitions)])
    async with bus.appender() as appender:
        for number in range(count):
            clock.advance(1)
            await appender.append("t", [Outgoing(b"%d" % number, b"%d" % number)])
    return bus


def values(records: list[Record]) -> list[int]:
    return sorted(int(record.value or b"") for record in records)


async def test_the_newest_records_are_found_however_far_back_they_are() -> None:
    bus = await filled(400)
    found = Tail(bus, SYSTEM_CLOCK)
    assert values(await found.last("t", 5, lambda _record: True)) == list(range(395, 400))
    assert values(await found.last("t", 5, lambda record: int(record.value or b"") < 20)) == list(range(15, 20))
    assert await found.last("t", 5, lambda _record: False) == []
    assert await Tail(await filled(0), SYSTEM_CLOCK).last("t", 5, lambda _record: True) == []


async def test_no_more_than_the_limit_is_read() -> None:
    bus = await filled(400, partitions=1)
    with mock.patch.object(tail, "SCAN_LIMIT", 100):
        assert await Tail(bus, SYSTEM_CLOCK).last("t", 5, lambda record: record.offset < 300) == []
        assert len(await Tail(bus, SYSTEM_CLOCK).since("t", 0, lambda _record: True)) == 100


async def test_records_since_a_time_are_found() -> None:
    bus = await filled(400)
    records = await Tail(bus, SYSTEM_CLOCK).last("t", 400, lambda _record: True)
    since = records[200].timestamp
    found = await Tail(bus, SYSTEM_CLOCK).since("t", since, lambda _record: True)
    assert values(found) == values([record for record in records if record.timestamp >= since])
