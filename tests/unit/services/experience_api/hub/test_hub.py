import asyncio
from collections.abc import Iterator, Sequence

import pytest

from services.experience_api.hub.close_codes import NO_PONG, REMOVED, TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import SLOTS, HeartbeatOptions
from services.experience_api.hub.hub import Hub, HubOptions
from services.experience_api.hub.outbox import NOT_NOW, Outbox
from services.experience_api.wire.cursor import Vector
from services.experience_api.wire.records import Batch
from shared.runtime.clock import SystemClock
from tests.unit.services.experience_api.hub.connections import Inner, Pipe, connection, subscriber
from tests.unit.services.experience_api.hub.transports import FakeTransport

LIMIT = 262_144


class SteppedClock(SystemClock):
    """Sleeps end when the test lets them."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._steps = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self._steps.acquire()

    async def step(self) -> None:
        """Let one sleep end, and what follows it run."""
        before = len(self.slept)
        self._steps.release()
        while len(self.slept) == before:
            await asyncio.sleep(0)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def hub(clock: SteppedClock) -> Hub:
    return Hub(HubOptions(outbox_bytes=LIMIT, heartbeat=HeartbeatOptions(seconds=16.0)), clock)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


class Behind(list[tuple[Connection, Vector]]):
    """Takes those who fell behind."""

    def __call__(self, connection: Connection, vector: Vector) -> None:
        self.append((connection, vector))


def batch(*channels: str, frames: Sequence[bytes] = ()) -> Batch:
    """A batch whose frames are the channels' own names, in brackets."""
    found = list(frames) or [f"<{channel}>".encode() for channel in channels]
    names = [channel.encode() for channel in channels]
    return Batch(found, names, [0] * len(names), list(range(len(names))), sum(map(len, found)))


def arrived(hub: Hub, transport: FakeTransport, *channels: str) -> Connection:
    one = connection(transport, *channels, gone=hub.leave, limit=LIMIT)
    hub.arrive(one)
    hub.join(one)
    return one


def test_each_gets_what_it_wants_of_a_batch_in_one_write(hub: Hub) -> None:
    every, some, none = FakeTransport(), FakeTransport(), FakeTransport()
    arrived(hub, every, "**")
    arrived(hub, some, "a", "c")
    arrived(hub, none, "z")
    behind = Behind()
    hub.deliver(batch("a", "b", "c", "a"), (0,), behind)
    assert every.sent == b"<a><b><c><a>"
    assert some.sent == b"<a><c><a>"
    assert none.sent == b""
    assert not behind
    assert (hub.counts.batches, hub.counts.events, hub.counts.deliveries) == (1, 4, 7)


def test_what_is_pending_is_not_written_twice(hub: Hub) -> None:
    transport = FakeTransport()
    arrived(hub, transport)
    for _ in range(3):
        hub.deliver(batch("a"), (0,), Behind())
    assert transport.sent == b"<a><a><a>"


def test_one_that_has_arrived_but_not_joined_hears_nothing(hub: Hub) -> None:
    transport = FakeTransport()
    one = connection(transport)
    hub.arrive(one)
    hub.deliver(batch("a"), (0,), Behind())
    assert transport.sent == b""
    assert hub.live() == []
    hub.join(one)
    assert hub.live() == [one]


def test_a_stuck_socket_costs_only_itself(hub: Hub) -> None:
    """The others have every batch by the time the call returns, and nothing was awaited."""
    stuck = FakeTransport(room=0)
    others = [FakeTransport() for _ in range(10)]
    for transport in others[:5]:
        arrived(hub, transport)
    slow = arrived(hub, stuck)
    for transport in others[5:]:
        arrived(hub, transport)
    frame = b"x" * 10_000
    behind = Behind()
    for number in range(100):
        hub.deliver(batch("a", frames=[frame]), (number,), behind)
    assert all(transport.sent == frame * 100 for transport in others)
    # The first that did not fit is the 27th; what it had until then is told, once.
    assert behind == [(slow, (26,))]
    assert stuck.get_write_buffer_size() == 260_000
    assert hub.counts.lagging == 1
    assert slow not in hub.live()


def test_a_batch_above_the_bound_is_left_to_the_log(hub: Hub) -> None:
    transport = FakeTransport()
    one = arrived(hub, transport)
    behind = Behind()
    hub.deliver(batch("a", frames=[b"x" * (LIMIT + 1)]), (3,), behind)
    assert behind == [(one, (3,))]
    assert transport.sent == b""


class TestDirect:
    """The delivery loop writes to descriptors itself; these are real ones."""

    def arrived(self, hub: Hub, transport: FakeTransport, pipe: Pipe) -> Connection:
        outbox = Outbox(transport, pipe.write, LIMIT)
        one = Connection(subscriber(), outbox, transport, Inner(), hub.leave)  # type: ignore[arg-type]
        hub.arrive(one)
        hub.join(one)
        return one

    def test_what_fits_goes_to_the_descriptor(self, hub: Hub, pipe: Pipe) -> None:
        transport = FakeTransport()
        self.arrived(hub, transport, pipe)
        for _ in range(3):
            hub.deliver(batch("a", "b"), (0,), Behind())
        assert pipe.read() == b"<a><b>" * 3
        assert transport.sent == b""

    def test_what_does_not_fit_follows_by_the_transport(self, hub: Hub, pipe: Pipe) -> None:
        transport = FakeTransport(room=0)
        one = self.arrived(hub, transport, pipe)
        frame = b"x" * 50_000
        for _ in range(2):
            hub.deliver(batch("a", frames=[frame]), (0,), Behind())
        assert one.outbox.direct == NOT_NOW
        assert len(pipe.read()) + one.outbox.waiting == 100_000

    def test_a_full_descriptor_loses_nothing(self, hub: Hub, pipe: Pipe) -> None:
        transport = FakeTransport(room=0)
        one = self.arrived(hub, transport, pipe)
        for _ in range(3):
            hub.deliver(batch("a", frames=[b"x" * 32_768]), (0,), Behind())
        assert len(pipe.read()) == 65_536
        assert one.outbox.waiting == 32_768

    def test_one_batch_may_be_written_in_part_and_the_next_waits_its_turn(self, hub: Hub, pipe: Pipe) -> None:
        transport = FakeTransport(room=0)
        self.arrived(hub, transport, pipe)
        hub.deliver(batch("a", frames=[b"x" * 60_000]), (0,), Behind())
        hub.deliver(batch("a", frames=[b"y" * 20_000]), (0,), Behind())
        first = pipe.read()
        hub.deliver(batch("a", frames=[b"z" * 10]), (0,), Behind())
        assert first + transport.buffered == b"x" * 60_000 + b"y" * 20_000 + b"z" * 10


def test_who_has_left_gets_nothing_and_is_counted_by_reason(hub: Hub) -> None:
    transport = FakeTransport()
    one = arrived(hub, transport)
    assert hub.end(one.subscriber.connection_id, REMOVED)
    assert not hub.end(one.subscriber.connection_id, REMOVED)
    hub.deliver(batch("a"), (0,), Behind())
    assert transport.sent == b""
    assert not hub.connections
    assert hub.counts.endings == {REMOVED.name: 1}


class TestHeartbeat:
    @pytest.fixture
    async def beating(self, hub: Hub, clock: SteppedClock) -> asyncio.Task[None]:
        task = asyncio.create_task(hub.keep_heartbeat())
        await asyncio.sleep(0)
        return task

    async def turn(self, clock: SteppedClock) -> None:
        for _ in range(SLOTS):
            await clock.step()

    async def test_the_silent_are_ended_and_the_others_pinged(
        self, hub: Hub, clock: SteppedClock, beating: asyncio.Task[None]
    ) -> None:
        answering, silent, stuck = FakeTransport(), FakeTransport(), FakeTransport(room=0)
        lively, dead, slow = (arrived(hub, transport) for transport in (answering, silent, stuck))
        await self.turn(clock)
        assert clock.slept[0] == 1.0
        assert answering.sent == silent.sent == b"\x89\x00"
        lively.data_received(b"\x8a\x00")
        await self.turn(clock)
        assert lively.ending is None
        assert dead.ending is NO_PONG
        assert slow.ending is TOO_SLOW
        assert list(hub.connections) == [lively.subscriber.connection_id]
        beating.cancel()
