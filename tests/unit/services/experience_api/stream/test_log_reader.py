import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.log_reader import Past, PastOptions
from services.experience_api.stream.replay import Replay
from services.experience_api.wire.cursor import CursorCodec
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, Reader, Record, TopicOptions
from shared.errors import PositionLost, Unavailable

TOPIC = "trelay.publish"
EVENTS = 100


class CountingBus(MemoryBus):
    """Knows how many readers are open, and lets none go on while it is held."""

    def __init__(self) -> None:
        super().__init__()
        self.open = self.most = 0
        self.free = asyncio.Event()
        self.free.set()

    @asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        async with super().reader(topic, positions) as reader:
            self.open += 1
            self.most = max(self.most, self.open)
            await self.free.wait()
            try:
                yield reader
            finally:
                self.open -= 1


class Faltering:
    """A reader that hands out little, and fails at its second read."""

    def __init__(self, inner: Reader) -> None:
        self._inner = inner
        self._reads = 0

    @property
    def topic(self) -> str:
        return self._inner.topic

    @property
    def positions(self) -> Mapping[int, int]:
        return self._inner.positions

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        self._reads += 1
        if self._reads > 1:
            raise Unavailable("away")
        return await self._inner.read(min(limit, 10), wait)

    def seek(self, partition: int, offset: int) -> None:
        self._inner.seek(partition, offset)


class FalteringBus(CountingBus):
    """Goes away in the middle of each portion."""

    @asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        async with super().reader(topic, positions) as reader:
            yield Faltering(reader)


@pytest.fixture
async def bus() -> CountingBus:
    bus = CountingBus()
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=1)])
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"%d"}' % number) for number in range(EVENTS)])
    return bus


@pytest.fixture
async def history(bus: CountingBus) -> History:
    """A replica that has just started: it has nothing, and the bus has it all."""
    return History(CursorCodec(await bus.epoch(TOPIC), 1), (EVENTS,), HistoryOptions())


def say_gap(lost: PositionLost) -> bytes:
    return b"gap behind %d" % lost.earliest


def replay_from(history: History, offset: int) -> Replay:
    return Replay(history, (offset,), lambda _channel: True)


async def test_portions_lead_to_where_memory_begins(bus: CountingBus, history: History) -> None:
    past = Past(bus, TOPIC, PastOptions(portion_bytes=1024))
    replay = replay_from(history, 10)
    frames: list[bytes] = []
    while replay.lost:
        portion = await past.portion(replay, say_gap)
        assert portion
        frames += portion
    assert len(frames) == EVENTS - 10
    assert b'"id":"10"' in frames[0]
    assert replay.take(1000) == []
    assert replay.level


async def test_a_bus_that_goes_away_within_a_portion_takes_nothing_along(bus: CountingBus, history: History) -> None:
    faltering = FalteringBus()
    faltering._topics = bus._topics
    replay = replay_from(history, 0)
    frames: list[bytes] = []
    while replay.lost:
        frames += await Past(faltering, TOPIC, PastOptions()).portion(replay, say_gap)
    assert [number for number in range(EVENTS) if b'"id":"%d"' % number not in frames[number]] == []


async def test_what_nobody_wants_is_passed(bus: CountingBus, history: History) -> None:
    replay = Replay(history, (0,), lambda channel: channel == b"b")
    assert await Past(bus, TOPIC, PastOptions()).portion(replay, say_gap) == []
    assert not replay.lost


async def test_a_loss_is_said_where_it_lies(bus: CountingBus, history: History) -> None:
    bus.delete_records(TOPIC, 0, 40)
    frames = await Past(bus, TOPIC, PastOptions()).portion(replay_from(history, 0), say_gap)
    assert frames[0] == b"gap behind 40"
    assert len(frames) == 1 + EVENTS - 40


async def test_a_bounded_number_read_at_once(bus: CountingBus, history: History) -> None:
    past = Past(bus, TOPIC, PastOptions(readers=2))
    bus.free.clear()
    reading = [asyncio.create_task(past.portion(replay_from(history, 0), say_gap)) for _ in range(6)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert bus.open == 2
    bus.free.set()
    assert [len(frames) for frames in await asyncio.gather(*reading)] == [EVENTS] * 6
    assert bus.most == 2


async def test_a_reader_that_is_cancelled_gives_its_turn_back(bus: CountingBus, history: History) -> None:
    past = Past(bus, TOPIC, PastOptions(readers=1))
    bus.free.clear()
    reading = asyncio.create_task(past.portion(replay_from(history, 0), say_gap))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    bus.free.set()
    assert len(await past.portion(replay_from(history, 0), say_gap)) == EVENTS


async def test_where_partitions_end(bus: CountingBus) -> None:
    assert await Past(bus, TOPIC, PastOptions()).ends() == {0: EVENTS}
