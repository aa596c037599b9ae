"""A replica whose connections catch up, on a bus in memory that fails on demand."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from services.experience_api.hub.connection import Connection
from services.experience_api.stream.catching_up.catch_up import CatchUp
from services.experience_api.stream.catching_up.replay_writer import ReplayWriter
from services.experience_api.stream.compressing import Compressing
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.log_reader import LogReader, LogReaderOptions
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.deflate import CompressionOptions, Deflater
from services.experience_api.wire.records import FrameEncoder
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, Reader, Record
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.experience_api.clocks import StillClock
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.records import record
from tests.unit.services.experience_api.stream.readers import ReaderAround

TOPIC = "trelay.publish"


ON_THE_BUS = 20


class FlakyBus(MemoryBus):
    """Fails as often as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.unavailable = 0
        """How many more calls of `bounds` fail."""
        self.broken = False
        self.unreadable = 0
        """How many more readers cannot be opened."""
        self.held = asyncio.Event()
        """Whether a reader returns more after its first records."""
        self.held.set()
        self.reads = 0

    @asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        if self.unreadable:
            self.unreadable -= 1
            raise Unavailable("unavailable")
        async with super().reader(topic, positions) as reader:
            yield HeldReader(reader, self)

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        if self.unavailable:
            self.unavailable -= 1
            raise Unavailable("unavailable")
        if self.broken:
            raise ZeroDivisionError
        return await super().bounds(topic)


class HeldReader(ReaderAround):
    """A reader that returns a few records, and no more while its bus is held."""

    def __init__(self, inner: Reader, bus: FlakyBus) -> None:
        super().__init__(inner)
        self._bus = bus

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        if self._bus.held.is_set():
            return await self._inner.read(limit, wait)
        if self._bus.reads:
            await self._bus.held.wait()
        found = await self._inner.read(min(limit, 10), wait)
        self._bus.reads += 1
        return found

    def seek(self, partition: int, offset: int) -> None:
        self._inner.seek(partition, offset)


class Parts:
    """A replica that has read 30 events, of which memory has the last ten and the bus the first twenty."""

    def __init__(
        self, bus: FlakyBus, codec: CursorCodec, drain_timeout: float = 10.0, round_bytes: int = 65_536
    ) -> None:
        self.bus = bus
        self.codec = codec
        self.history = History(codec, (ON_THE_BUS,), HistoryOptions())
        self.joined: list[Connection] = []
        self.pauses = 0
        self.deflater = Deflater(CompressionOptions(enabled=True))
        control_events = ControlEvents(SYSTEM_CLOCK, 25.0, 1_048_576)
        writer = ReplayWriter(
            self.history,
            LogReader(bus, TOPIC, LogReaderOptions()),
            control_events,
            Compressing(self.deflater),
            drain_timeout=drain_timeout,
            pause=self._pause,
        )
        self.clock = StillClock()
        self.catch_up = CatchUp(
            self.history, writer, control_events, self.joined.append, round_bytes=round_bytes, clock=self.clock
        )
        self._encoder = FrameEncoder(codec, (ON_THE_BUS,))
        self.read_to(30)

    def read_to(self, end: int, values: Sequence[bytes | None] = ()) -> None:
        """Let the replica read further: events with these values, or small ones."""
        offsets = range(self.history.head[0], end)
        found = zip(offsets, values or [None] * len(offsets), strict=True)
        for batch in self._encoder.batches([record("a", offset, value=value) for offset, value in found]):
            self.history.extend(batch)
            self.catch_up.notify_progress()

    def restart(self, offset: int) -> None:
        """Restart the history as a feed does that retention has overtaken."""
        self.history.restart(self.codec, (offset,))
        self._encoder = FrameEncoder(self.codec, (offset,))

    async def until_live(self) -> None:
        async with asyncio.timeout(10):
            while self.catch_up.active:
                await asyncio.sleep(0)

    async def _pause(self) -> None:
        self.pauses += 1
        await asyncio.sleep(0)


class CongestedTransport(FakeTransport):
    """Pauses writing after the first write."""

    def __init__(self) -> None:
        super().__init__()
        self.connection: Connection | None = None

    def write(self, data: bytes | memoryview) -> None:
        super().write(data)
        if self.connection is not None:
            self.connection.pause_writing()
            self.connection = None


async def append(bus: FlakyBus, *numbers: int) -> None:
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"0/%d"}' % number) for number in range(*numbers)])
