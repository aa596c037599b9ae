import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.log_reader import LogReader, LogReaderOptions
from services.experience_api.stream.replay import Progress, Replay
from services.experience_api.wire.cursor import CursorCodec
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, Reader, Record, TopicOptions
from shared.errors import PositionLost, Unavailable
from tests.unit.services.experience_api.stream.readers import ReaderAround

TOPIC = "trelay.publish"
EVENTS = 100


class CountingBus(MemoryBus):
    """Counts open readers, and blocks them while `free` is not set."""

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


class FlakyReader(ReaderAround):
    """A reader that returns few records, and fails on its second read."""

    def __init__(self, inner: Reader) -> None:
        super().__init__(inner)
        self._reads = 0

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        self._reads += 1
        if self._reads > 1:
            raise Unavailable("unavailable")
        return await self._inner.read(min(limit, 10), wait)

    def seek(self, partition: int, offset: int) -> None:
        self._inner.seek(partition, offset)


class FlakyBus(CountingBus):
    """Becomes unavailable in the middle of each chunk."""

    @asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        async with super().reader(topic, positions) as reader:
            yield FlakyReader(reader)


@pytest.fixture
async def bus() -> CountingBus:
    bus = CountingBus()
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=1)])
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"%d"}' % number) for number in range(EVENTS)])
    return bus


@pytest.fixture
async def history(bus: CountingBus) -> History:
    """The history of a replica that has just started: it is empty, and the bus has every event."""
    return History(CursorCodec(await bus.epoch(TOPIC), 1), (EVENTS,), HistoryOptions())


def make_gap(lost: PositionLost) -> bytes:
    return b"gap before %d" % lost.earliest


def replay_from(history: History, offset: int) -> Replay:
    return Replay(history, (offset,), lambda _channel: True)


def replay_of(history: History, only: bytes) -> Replay:
    return Replay(history, (0,), lambda channel: channel == only)


async def test_chunks_lead_to_the_start_of_the_history(bus: CountingBus, history: History) -> None:
    reader = LogReader(bus, TOPIC, LogReaderOptions(chunk_bytes=1024))
    replay = replay_from(history, 10)
    frames: list[bytes] = []
    while (found := replay.take(1000))[1] is Progress.READ_LOG:
        chunk = await reader.read_chunk(replay, make_gap)
        assert chunk
        frames += chunk
    assert len(frames) == EVENTS - 10
    assert b'"id":"10"' in frames[0]
    assert found == ([], Progress.LIVE)


async def test_a_bus_that_becomes_unavailable_within_a_chunk_loses_nothing(bus: CountingBus, history: History) -> None:
    flaky = FlakyBus()
    flaky._topics = bus._topics
    replay = replay_from(history, 0)
    frames: list[bytes] = []
    while replay.missing():
        frames += await LogReader(flaky, TOPIC, LogReaderOptions()).read_chunk(replay, make_gap)
    assert [number for number in range(EVENTS) if b'"id":"%d"' % number not in frames[number]] == []


async def test_events_that_do_not_match_are_skipped(bus: CountingBus, history: History) -> None:
    replay = replay_of(history, b"b")
    assert await LogReader(bus, TOPIC, LogReaderOptions()).read_chunk(replay, make_gap) == []
    assert replay.missing() == {}


async def test_a_turn_ends_although_no_event_matches(bus: CountingBus) -> None:
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"%0100d"}' % number) for number in range(3000)])
    history = History(CursorCodec(await bus.epoch(TOPIC), 1), (EVENTS + 3000,), HistoryOptions())
    reader, replay = LogReader(bus, TOPIC, LogReaderOptions(chunk_bytes=1024)), replay_of(history, b"b")
    turns = 0
    while replay.missing():
        before = replay.missing()
        assert await reader.read_chunk(replay, make_gap) == []
        assert before != replay.missing()
        turns += 1
    assert turns > 3


async def test_a_gap_is_reported_at_its_position(bus: CountingBus, history: History) -> None:
    bus.delete_records(TOPIC, 0, 40)
    frames = await LogReader(bus, TOPIC, LogReaderOptions()).read_chunk(replay_from(history, 0), make_gap)
    assert frames[0] == b"gap before 40"
    assert len(frames) == 1 + EVENTS - 40


async def test_the_number_of_concurrent_readers_is_limited(bus: CountingBus, history: History) -> None:
    reader = LogReader(bus, TOPIC, LogReaderOptions(readers=2))
    bus.free.clear()
    tasks = [asyncio.create_task(reader.read_chunk(replay_from(history, 0), make_gap)) for _ in range(6)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert bus.open == 2
    bus.free.set()
    assert [len(frames) for frames in await asyncio.gather(*tasks)] == [EVENTS] * 6
    assert bus.most == 2


async def test_a_cancelled_reader_releases_its_turn(bus: CountingBus, history: History) -> None:
    reader = LogReader(bus, TOPIC, LogReaderOptions(readers=1))
    bus.free.clear()
    tasks = asyncio.create_task(reader.read_chunk(replay_from(history, 0), make_gap))
    await asyncio.sleep(0)
    tasks.cancel()
    await asyncio.wait([tasks])
    bus.free.set()
    assert len(await reader.read_chunk(replay_from(history, 0), make_gap)) == EVENTS


async def test_the_ends_of_partitions(bus: CountingBus) -> None:
    assert await LogReader(bus, TOPIC, LogReaderOptions()).ends() == {0: EVENTS}


class Dated(MemoryBus):
    """Has found these offsets of a time."""

    found: Mapping[int, int] = {}
    kept: Mapping[int, tuple[int, int]] = {}

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        assert topic == TOPIC
        return self.kept

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        assert (topic, timestamp_ms) == (TOPIC, 1_500)
        return self.found


async def test_a_time_is_found_in_every_partition_and_before_what_is_kept_where_some_may_be_missing() -> None:
    bus = Dated()
    bus.kept = {0: (0, 9), 1: (5, 9), 2: (5, 9), 3: (7, 7), 4: (0, 0)}
    bus.found = {0: 0, 1: 6, 2: 5, 3: 7, 4: 0}
    reader = LogReader(bus, TOPIC, LogReaderOptions())
    assert await reader.vector_at(1.5) == (0, 6, 4, 6, 0)
    assert await reader.vector_at(0.0) == (0, 5, 5, 7, 0)
