"""What is written to a connection that is not live; its tasks are tested with `CatchUp`."""

import asyncio

from services.experience_api.hub.close_codes import TOO_SLOW
from services.experience_api.stream.catching_up.replay_writer import CHUNK, ReplayWriter
from services.experience_api.stream.compressing import Compressing
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.log_reader import LogReader, LogReaderOptions
from services.experience_api.stream.replay import Replay
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.deflate import CompressionOptions, Deflater
from services.experience_api.wire.frames import event_frame
from shared.bus.memory import MemoryBus
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport

CODEC = CursorCodec("epoch", 1)
HISTORY = History(CODEC, (0,), HistoryOptions())


async def no_pause() -> None:
    await asyncio.sleep(0)


def writer(drain_timeout: float = 30.0) -> ReplayWriter:
    return ReplayWriter(
        HISTORY,
        LogReader(MemoryBus(), "missing", LogReaderOptions()),
        ControlEvents(SYSTEM_CLOCK, 25.0, 1_048_576),
        Compressing(Deflater(CompressionOptions())),
        drain_timeout=drain_timeout,
        pause=no_pause,
    )


def replay() -> Replay:
    return Replay(HISTORY, (0,), lambda _channel: True)


def frames(count: int, fill: int) -> list[bytes]:
    value = b'{"id":"%d","fill":"%b"}'
    return [event_frame(value % (number, b"x" * fill), CODEC.encode((number + 1,))) for number in range(count)]


async def test_a_chunk_waits_until_the_one_before_was_read() -> None:
    transport, to = FakeTransport(), writer()
    one = connection(transport)
    one.pause_writing()
    writing = asyncio.create_task(to.write(one, replay(), frames(4, CHUNK)))
    await asyncio.sleep(0)
    assert transport.sent == b""
    one.resume_writing()
    await writing
    assert [found["id"] for found in events(transport.sent)] == ["0", "1", "2", "3"]
    assert to.counts.deliveries == 4


async def test_gaps_are_not_counted_as_events() -> None:
    to = writer()
    found = frames(3, 10)
    await to.write(connection(FakeTransport()), replay(), found, found[1:2])
    assert to.counts.deliveries == 2


async def test_large_events_are_announced_where_it_was_asked_for() -> None:
    transport, to, told = FakeTransport(), writer(), replay()
    to.tell(told)
    to.force(connection(transport), told, frames(1, CHUNK))
    to.force(connection(transport), replay(), frames(1, CHUNK))
    assert [found.get("type", "event") for found in events(transport.sent)] == ["trelay.oversized", "event", "event"]


async def test_a_subscriber_that_reads_nothing_is_ended() -> None:
    one = connection(FakeTransport())
    one.pause_writing()
    await writer(drain_timeout=0.01).drained(one)
    assert one.ending is TOO_SLOW
