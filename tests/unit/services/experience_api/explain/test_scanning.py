"""Reading the topics, on the bus in memory."""

from services.experience_api.explain.scanning import scan
from services.experience_api.explain.search import Search, Stage
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing
from shared.bus.topics import TopicsOptions
from shared.events.dead_letter import Reject
from shared.events.headers import headers_of
from shared.runtime.clock import SYSTEM_CLOCK, SystemClock

TOPICS = TopicsOptions(partitions=2)


def event(number: int, source: str = "orders") -> Outgoing:
    identity = f"{source}:{number}"
    return Outgoing(
        identity.encode(), b'{"id":"%b"}' % identity.encode(), headers_of(f"{source} 5 {identity}".encode())
    )


async def filled() -> MemoryBus:
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    async with bus.appender() as appender:
        await appender.append(TOPICS.ingest, [event(number) for number in range(50)])
        await appender.append(TOPICS.dead_letter, [Reject("orders:7", b"{}", "no", "pipeline", "o", "p@1").record()])
        await appender.append(TOPICS.publish, [event(number) for number in range(50)])
    return bus


def search(bus_time_ms: int = 2**40) -> Search:
    return Search("orders:7", "", 0, bus_time_ms, 10**9)


async def test_every_topic_is_read_in_its_turn() -> None:
    wanted = search(2**42)
    await scan(await filled(), TOPICS, wanted, 20.0, SYSTEM_CLOCK)
    assert [each.stage for each in wanted.found] == [Stage.INGEST, Stage.DEAD_LETTER, Stage.PUBLISH]
    assert wanted.stage is Stage.DONE


async def test_what_was_ingested_later_is_not_read() -> None:
    wanted = search(1)
    await scan(await filled(), TOPICS, wanted, 20.0, SYSTEM_CLOCK)
    assert [each.stage for each in wanted.found] == [Stage.DEAD_LETTER, Stage.PUBLISH]


class OneStep(SystemClock):
    """Every look at it is a second later."""

    seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


async def test_it_stops_after_its_seconds_and_continues() -> None:
    bus, wanted, rounds = await filled(), search(2**42), 0
    while wanted.stage is not Stage.DONE:
        await scan(bus, TOPICS, wanted, 2.5, OneStep())
        rounds += 1
        assert rounds < 50
    assert rounds > 2
    assert len(wanted.found) == 3
