import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from services.experience_api.hub.audience import interest_in
from services.experience_api.hub.close_codes import NO_PONG, REMOVED, TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import SLOTS, HeartbeatOptions
from services.experience_api.hub.hub import Hub, HubOptions
from services.experience_api.hub.outbox import NO_FD, Outbox
from services.experience_api.wire.cursor import Vector
from services.experience_api.wire.deflate import CompressionOptions, Deflater
from services.experience_api.wire.frames import event_frame, text_frame
from services.experience_api.wire.records import Batch
from shared.runtime.clock import SystemClock
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.connections import Inner, Pipe, connection, subscriber
from tests.unit.services.experience_api.hub.transports import FakeTransport

LIMIT = 262_144


class SteppedClock(SystemClock):
    """Each sleep ends when the test allows it."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._steps = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self._steps.acquire()

    async def step(self) -> None:
        """End one sleep, and run until the next one."""
        before = len(self.slept)
        self._steps.release()
        while len(self.slept) == before:
            await asyncio.sleep(0)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def hub(clock: SteppedClock) -> Hub:
    return Hub(
        HubOptions(outbox_bytes=LIMIT, heartbeat=HeartbeatOptions(seconds=16.0)), clock, Deflater(CompressionOptions())
    )


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


class Lagging(list[tuple[Connection, Vector]]):
    """Records lagging connections."""

    def __call__(self, connection: Connection, vector: Vector) -> None:
        self.append((connection, vector))


def batch(*channels: str, frames: Sequence[bytes] = ()) -> Batch:
    """Return a batch whose frames are the channel names, in brackets."""
    found = list(frames) or [f"<{channel}>".encode() for channel in channels]
    names = [channel.encode() for channel in channels]
    return Batch(found, names, [0] * len(names), list(range(len(names))), sum(map(len, found)))


def joined(hub: Hub, transport: FakeTransport, *channels: str, window: int = 0) -> Connection:
    one = connection(transport, *channels, on_detach=hub.remove, limit=LIMIT, window=window)
    hub.add(one)
    hub.join(one)
    return one


def test_each_connection_receives_its_channels_of_a_batch_in_one_write(hub: Hub) -> None:
    every, some, none = FakeTransport(), FakeTransport(), FakeTransport()
    joined(hub, every, "**")
    joined(hub, some, "a", "c")
    joined(hub, none, "z")
    lagging = Lagging()
    hub.deliver(batch("a", "b", "c", "a"), (0,), lagging)
    assert every.sent == b"<a><b><c><a>"
    assert some.sent == b"<a><c><a>"
    assert none.sent == b""
    assert not lagging
    assert (hub.counts.batches, hub.counts.events, hub.counts.deliveries) == (1, 4, 7)


def test_connections_with_compression_share_the_compressed_frames(hub: Hub) -> None:
    plain, compressed, other = FakeTransport(), [FakeTransport() for _ in range(5)], FakeTransport()
    joined(hub, plain)
    for transport in compressed:
        joined(hub, transport, window=15)
    joined(hub, other, "a", window=12)
    frames = [text_frame(b'{"n": %d, "fill": "%b"}' % (number, b"x" * 500)) for number in range(2)]
    hub.deliver(batch("a", "b", frames=frames), (0,), Lagging())
    assert plain.sent == b"".join(frames)
    assert len(compressed[0].sent) < len(plain.sent) / 5
    assert {transport.sent for transport in compressed} == {compressed[0].sent}
    assert compressed[0].sent.startswith(other.sent)
    assert events(compressed[0].sent) == events(plain.sent)
    assert hub.counts.deliveries == 13
    assert hub.windows(b"a") == {0, 12, 15}
    assert hub.windows(b"b") == {0, 15}


def test_connections_with_a_filter_receive_what_passes(hub: Hub) -> None:
    every, some, both = FakeTransport(), FakeTransport(), FakeTransport()
    joined(hub, every)
    for transport, patterns, filters in (
        (some, ["a"], {"a": "n > 1"}),
        (both, ["a", "*"], {"a": "n > 9", "*": "$event.id = '1'"}),
    ):
        one = connection(transport, on_detach=hub.remove, limit=LIMIT)
        one.subscriber = replace(one.subscriber, interest=interest_in(patterns, filters))
        hub.add(one)
        hub.join(one)
    frames = [event_frame(b'{"id":"%d","data":{"n":%d}}' % (number, number), b"AaB") for number in range(4)]
    hub.deliver(batch("a", "b", "a", "b", frames=frames), (0,), Lagging())
    assert every.sent == b"".join(frames)
    assert some.sent == frames[2]
    assert both.sent == frames[1]
    assert hub.counts.deliveries == 6


def test_a_connection_with_compression_leaves_its_own_audience(hub: Hub) -> None:
    kept, left = FakeTransport(), FakeTransport()
    joined(hub, kept)
    one = joined(hub, left, window=15)
    hub.remove(one)
    hub.deliver(batch("a"), (0,), Lagging())
    assert (kept.sent, left.sent) == (b"<a>", b"")
    assert hub.windows(b"a") == {0}


def test_pending_frames_are_written_once(hub: Hub) -> None:
    transport = FakeTransport()
    joined(hub, transport)
    for _ in range(3):
        hub.deliver(batch("a"), (0,), Lagging())
    assert transport.sent == b"<a><a><a>"


def test_a_connection_that_has_not_joined_receives_nothing(hub: Hub) -> None:
    transport = FakeTransport()
    one = connection(transport)
    hub.add(one)
    hub.deliver(batch("a"), (0,), Lagging())
    assert transport.sent == b""
    assert hub.live() == []
    hub.join(one)
    assert hub.live() == [one]


def test_a_blocked_socket_affects_no_other(hub: Hub) -> None:
    """The others have received every batch when the call returns, and nothing was awaited."""
    stuck = FakeTransport(room=0)
    others = [FakeTransport() for _ in range(10)]
    for transport in others[:5]:
        joined(hub, transport)
    slow = joined(hub, stuck)
    for transport in others[5:]:
        joined(hub, transport)
    frame = b"x" * 10_000
    lagging = Lagging()
    for number in range(100):
        hub.deliver(batch("a", frames=[frame]), (number,), lagging)
    assert all(transport.sent == frame * 100 for transport in others)
    # The 27th is the first that does not fit; what it has received until then is passed on, once.
    assert lagging == [(slow, (26,))]
    assert stuck.get_write_buffer_size() == 260_000
    assert hub.counts.lagging == 1
    assert slow not in hub.live()


def test_a_batch_above_the_limit_is_left_to_catching_up(hub: Hub) -> None:
    transport = FakeTransport()
    one = joined(hub, transport)
    lagging = Lagging()
    hub.deliver(batch("a", frames=[b"x" * (LIMIT + 1)]), (3,), lagging)
    assert lagging == [(one, (3,))]
    assert transport.sent == b""


class TestDirect:
    """The delivery loop writes to descriptors directly; these are real ones."""

    def joined(self, hub: Hub, transport: FakeTransport, pipe: Pipe) -> Connection:
        outbox = Outbox(transport, pipe.write, LIMIT)
        one = Connection(subscriber(), outbox, transport, Inner(), hub.remove)  # type: ignore[arg-type]
        hub.add(one)
        hub.join(one)
        return one

    def test_frames_that_fit_go_to_the_descriptor(self, hub: Hub, pipe: Pipe) -> None:
        transport = FakeTransport()
        self.joined(hub, transport, pipe)
        for _ in range(3):
            hub.deliver(batch("a", "b"), (0,), Lagging())
        assert pipe.read() == b"<a><b>" * 3
        assert transport.sent == b""

    def test_frames_that_do_not_fit_go_to_the_transport(self, hub: Hub, pipe: Pipe) -> None:
        transport = FakeTransport(room=0)
        one = self.joined(hub, transport, pipe)
        frame = b"x" * 50_000
        for _ in range(2):
            hub.deliver(batch("a", frames=[frame]), (0,), Lagging())
        assert one.outbox.direct_fd == NO_FD
        assert len(pipe.read()) + one.outbox.buffered == 100_000

    def test_a_full_descriptor_loses_nothing(self, hub: Hub, pipe: Pipe) -> None:
        transport = FakeTransport(room=0)
        one = self.joined(hub, transport, pipe)
        for _ in range(3):
            hub.deliver(batch("a", frames=[b"x" * 32_768]), (0,), Lagging())
        assert len(pipe.read()) == 65_536
        assert one.outbox.buffered == 32_768

    def test_a_batch_may_be_written_in_part_and_the_next_one_follows_it(self, hub: Hub, pipe: Pipe) -> None:
        transport = FakeTransport(room=0)
        self.joined(hub, transport, pipe)
        hub.deliver(batch("a", frames=[b"x" * 60_000]), (0,), Lagging())
        hub.deliver(batch("a", frames=[b"y" * 20_000]), (0,), Lagging())
        first = pipe.read()
        hub.deliver(batch("a", frames=[b"z" * 10]), (0,), Lagging())
        assert first + transport.buffered == b"x" * 60_000 + b"y" * 20_000 + b"z" * 10


def test_an_ended_connection_receives_nothing_and_is_counted_by_reason(hub: Hub) -> None:
    transport = FakeTransport()
    one = joined(hub, transport)
    assert list(hub.connections) == [one.subscriber.connection_id]
    one.end(REMOVED)
    one.end(REMOVED)
    hub.deliver(batch("a"), (0,), Lagging())
    assert transport.sent == b""
    assert not hub.connections
    assert hub.counts.endings == {REMOVED.label: 1}


class TestHeartbeat:
    @pytest.fixture
    async def beating(self, hub: Hub, clock: SteppedClock) -> asyncio.Task[None]:
        task = asyncio.create_task(hub.run_heartbeat())
        await asyncio.sleep(0)
        return task

    async def turn(self, clock: SteppedClock) -> None:
        for _ in range(SLOTS):
            await clock.step()

    async def test_silent_connections_are_ended_and_the_others_pinged(
        self, hub: Hub, clock: SteppedClock, beating: asyncio.Task[None]
    ) -> None:
        answering, silent, stuck = FakeTransport(), FakeTransport(), FakeTransport(room=0)
        alive, silent_one, slow = (joined(hub, transport) for transport in (answering, silent, stuck))
        await self.turn(clock)
        assert clock.slept[0] == 1.0
        assert answering.sent == silent.sent == b"\x89\x00"
        alive.data_received(b"\x8a\x80\0\0\0\0")
        await self.turn(clock)
        assert alive.ending is None
        assert silent_one.ending is NO_PONG
        assert slow.ending is TOO_SLOW
        assert list(hub.connections) == [alive.subscriber.connection_id]
        beating.cancel()
