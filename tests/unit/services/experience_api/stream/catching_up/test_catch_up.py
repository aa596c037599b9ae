import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.close_codes import INTERNAL, TOO_SLOW
from services.experience_api.stream.feed import SHORTER_CHECKS
from services.experience_api.wire.cursor import CursorCodec
from shared.bus.protocol import Outgoing, TopicOptions
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.stream.catching_up.catch_up_parts import (
    ON_THE_BUS,
    TOPIC,
    CongestedTransport,
    FlakyBus,
    Parts,
    append,
)


@pytest.fixture
async def bus() -> FlakyBus:
    bus = FlakyBus()
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=1)])
    async with bus.appender() as appender:
        values = [b'{"id":"0/%d"}' % number for number in range(ON_THE_BUS)]
        await appender.append(TOPIC, [Outgoing(b"a", value) for value in values])
    return bus


@pytest.fixture
async def parts(bus: FlakyBus) -> AsyncIterator[Parts]:
    parts = Parts(bus, CursorCodec(await bus.epoch(TOPIC), 1))
    async with parts.catch_up:
        yield parts


def texts(transport: FakeTransport) -> list[str]:
    """Return what the peer received: ids, and the reasons of gaps."""
    return [
        found["data"]["reason"] if found.get("type") == "trelay.gap" else str(found["id"])
        for found in events(transport.sent)
    ]


def ids(*numbers: int) -> list[str]:
    return [f"0/{number}" for number in range(*numbers)]


async def test_from_memory_in_one_step(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    parts.catch_up.start(one, (25,))
    assert parts.joined == [one]
    assert texts(transport) == ids(25, 30)
    assert (parts.catch_up.counts.started, parts.catch_up.counts.log_reads) == (1, 0)


async def test_from_the_bus_then_from_memory(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    parts.catch_up.start(one, (5,))
    await parts.until_live()
    assert parts.joined == [one]
    assert texts(transport) == ids(5, 30)
    assert parts.catch_up.counts.log_reads == 1


async def test_the_position_is_that_of_what_was_written(parts: Parts, bus: FlakyBus) -> None:
    """Events that were read and not written yet would be lost with a cursor behind them."""
    bus.held.clear()
    transport = FakeTransport()
    one = connection(transport)
    parts.catch_up.start(one, (5,))
    while not bus.reads:
        await asyncio.sleep(0)
    position = parts.catch_up.position(one)
    assert position is not None
    assert (position.cursor, position.live) == (parts.codec.encode((5,)), False)
    caught_up = asyncio.create_task(parts.catch_up.caught_up(one))
    await asyncio.sleep(0)
    assert not caught_up.done()
    bus.held.set()
    await asyncio.wait_for(caught_up, 60)
    assert texts(transport) == ids(5, 30)
    assert parts.catch_up.position(one) is None, "it is live"


async def test_watermarks_wait_for_what_was_read_and_is_not_written(parts: Parts, bus: FlakyBus) -> None:
    await append(bus, ON_THE_BUS, 30)
    parts.restart(30)
    bus.held.clear()
    transport = FakeTransport()
    one = connection(transport)
    parts.catch_up.start(one, (5,))
    while not bus.reads:
        await asyncio.sleep(0)
    one.pause_writing()
    bus.held.set()
    while (found := parts.catch_up.position(one)) is not None and found.lag:
        await asyncio.sleep(0)
    assert (transport.sent, parts.catch_up.is_served(one)) == (b"", False)
    one.resume_writing()
    await parts.until_live()
    assert texts(transport) == ids(5, 30)


async def test_compressed_from_the_bus_then_from_memory(parts: Parts, bus: FlakyBus) -> None:
    fill = b"x" * 1000
    values = [b'{"id":"0/%d","fill":"%b"}' % (number, fill * (100 if number == 35 else 1)) for number in range(30, 40)]
    parts.read_to(40, values)
    transports = [FakeTransport() for _ in range(3)]
    for transport in transports:
        parts.catch_up.start(connection(transport, window=15), (15,))
    assert parts.joined == [], "none is served in one step: a large event takes long"
    await parts.until_live()
    assert len(parts.joined) == 3
    for transport in transports:
        assert texts(transport) == ids(15, 40)
        assert len(transport.sent) < 5000
    assert parts.deflater.counts.frames == 10, "those from memory, once for all; the others are small"


async def test_what_is_read_while_a_large_event_is_compressed_is_not_missed(parts: Parts) -> None:
    large = b'{"id":"0/30","fill":"%b"}' % (b"x" * 500_000)
    parts.read_to(31, [large])
    transport = FakeTransport()
    parts.catch_up.start(connection(transport, window=15), (30,))
    for end in range(32, 36):
        await asyncio.sleep(0)
        parts.read_to(end)
    await parts.until_live()
    assert texts(transport) == ids(30, 35)


async def test_events_removed_by_retention_are_a_gap_that_is_counted(parts: Parts, bus: FlakyBus) -> None:
    bus.delete_records(TOPIC, 0, 15)
    transport = FakeTransport()
    parts.catch_up.start(connection(transport), (5,))
    await parts.until_live()
    assert texts(transport) == ["not-kept", *ids(15, 30)]
    assert parts.catch_up.counts.gaps == 1
    assert parts.catch_up.counts.deliveries == 15  # a gap is not an event


async def test_a_connection_that_is_ahead_waits_for_this_replica(parts: Parts, bus: FlakyBus) -> None:
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"x"}')] * 15)  # up to 35
    bus.unavailable = 2
    transport = FakeTransport()
    one = connection(transport)
    parts.catch_up.start(one, (33,))
    for upto in range(31, 34):
        for _ in range(20):
            await asyncio.sleep(0)
        assert parts.joined == []
        parts.read_to(upto)
    await parts.until_live()
    assert parts.joined == [one]
    assert parts.pauses == 2
    parts.read_to(35)
    assert transport.sent == b""  # the hub writes these to all live connections


async def test_a_cursor_beyond_the_end_of_the_log_is_a_gap_after_some_checks(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    parts.catch_up.start(one, (1000,))
    await parts.until_live()
    assert texts(transport) == ["cursor-ahead"]
    assert parts.joined == [one]
    assert parts.pauses == SHORTER_CHECKS


async def test_a_connection_that_does_not_drain_is_closed(bus: FlakyBus) -> None:
    parts = Parts(bus, CursorCodec(await bus.epoch(TOPIC), 1), drain_timeout=0.01)
    async with parts.catch_up:
        one = connection(FakeTransport(), on_detach=parts.catch_up.cancel)
        one.pause_writing()
        parts.catch_up.start(one, (25,))
        await parts.until_live()
        assert one.ending is TOO_SLOW
        assert parts.joined == []


async def test_nothing_is_buffered_for_a_congested_connection(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    one.pause_writing()
    parts.catch_up.start(one, (5,))
    for _ in range(20):
        await asyncio.sleep(0)
    assert transport.sent == b""
    one.resume_writing()
    await parts.until_live()
    assert texts(transport) == ids(5, 30)


async def test_an_unexpected_error_ends_that_connection_only(
    parts: Parts, bus: FlakyBus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.broken = True
    broken, other = connection(FakeTransport(), on_detach=parts.catch_up.cancel), connection(FakeTransport())
    with caplog.at_level(logging.ERROR):
        parts.catch_up.start(broken, (1000,))
        parts.catch_up.start(other, (5,))
        await parts.until_live()
        while not caplog.text:
            await asyncio.sleep(0)
    assert broken.ending is INTERNAL
    assert parts.joined == [other]
    [failed] = [record for record in caplog.records if record.message == "task failed"]
    assert str(broken.subscriber.connection_id) in failed.task  # type: ignore[attr-defined]


async def test_cancelled_connections_receive_nothing_more(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    parts.catch_up.start(one, (5,))
    assert parts.catch_up.cancel_all() == [one]
    assert parts.catch_up.active == 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert transport.sent == b""
    assert parts.joined == []


async def test_events_that_the_replica_has_lost_are_a_gap_for_a_connection_at_its_head(
    parts: Parts, bus: FlakyBus
) -> None:
    """Retention overtakes the feed while its last events are being sent to a slow subscriber."""
    transport = CongestedTransport()
    transport.connection = one = connection(transport)
    parts.catch_up.start(one, (25,))
    assert (parts.joined, texts(transport)) == ([], ids(25, 30))
    await append(bus, ON_THE_BUS, 45)
    bus.delete_records(TOPIC, 0, 40)
    parts.restart(40)
    one.resume_writing()
    await parts.until_live()
    parts.read_to(45)
    assert texts(transport) == [*ids(25, 30), "not-kept"]
    assert parts.joined == [one]  # the hub writes the rest to all live connections


async def test_a_replay_waits_while_the_bus_is_unavailable(parts: Parts, bus: FlakyBus) -> None:
    bus.unreadable = 3
    transport = FakeTransport()
    one = connection(transport)
    parts.catch_up.start(one, (5,))
    await parts.until_live()
    assert texts(transport) == ids(5, 30)
    assert parts.joined == [one]
    assert parts.pauses == 3


async def test_events_read_during_the_replay_arrive_once_and_in_order(parts: Parts, bus: FlakyBus) -> None:
    """The feed reads further at each step of the replay, while memory drops events."""
    transport = FakeTransport()
    one = connection(transport)
    await append(bus, ON_THE_BUS, 60)
    parts.catch_up.start(one, (5,))
    for upto in range(31, 61):
        parts.read_to(upto)
        await asyncio.sleep(0)
    await parts.until_live()
    live_from = 5 + len(texts(transport))
    assert texts(transport) == ids(5, live_from)
    assert live_from >= 30
    assert parts.joined == [one]


@pytest.mark.parametrize("ahead", [31, 2**63 - 1])
async def test_a_cursor_from_the_future_never_stops_the_stream(parts: Parts, bus: FlakyBus, ahead: int) -> None:
    """It may be forged from another cursor. The next events must arrive."""
    transport = FakeTransport()
    one = connection(transport)
    parts.catch_up.start(one, (ahead,))
    await parts.until_live()
    assert texts(transport) == ["cursor-ahead"]
    assert parts.joined == [one]
    assert parts.codec.decode(events(transport.sent)[0]["cursor"]) == parts.history.head


async def test_a_truncated_log_repeats_nothing(parts: Parts, bus: FlakyBus) -> None:
    """It ends before the cursor and before the history: the feed detects that and reports it."""
    transport = FakeTransport()
    one = connection(transport)
    parts.history.restart(parts.codec, (ON_THE_BUS + 50,))
    parts.catch_up.start(one, (ON_THE_BUS + 5,))
    async with asyncio.timeout(60):
        while parts.pauses < SHORTER_CHECKS:
            await asyncio.sleep(0)
    assert texts(transport) == []
    assert parts.catch_up.cancel_all() == [one]
