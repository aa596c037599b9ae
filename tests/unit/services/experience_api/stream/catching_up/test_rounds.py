"""Connections with conflation: their pace, their cursors, their memory, and their changes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.experience_api.hub.audience import interest_in
from services.experience_api.hub.connection import Connection
from services.experience_api.stream.control_events import LOG_CUT
from services.experience_api.stream.replay import Progress, Replay
from services.experience_api.wire.cursor import CursorCodec
from shared.bus.protocol import Outgoing, TopicOptions
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.records import record
from tests.unit.services.experience_api.stream import test_broadcast
from tests.unit.services.experience_api.stream.catching_up.catch_up_parts import ON_THE_BUS, TOPIC, FlakyBus, Parts

HALF = interest_in(["**"], conflate=0.5)


def value(offset: int, subjects: int = 3, fill: int = 0) -> bytes:
    fields = b'{"id":"0/%d","channel":"a","source":"/s","subject":"%d","fill":"%b"}'
    return fields % (offset, offset % subjects, b"x" * fill)


def texts(transport: FakeTransport) -> list[str]:
    return [
        found["data"]["reason"] if found.get("type") == "trelay.gap" else str(found.get("type", found["id"]))
        for found in events(transport.sent)
    ]


async def turns(number: int = 30) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def conflated(transport: FakeTransport, interest: object = HALF) -> Connection:
    one = connection(transport)
    one.subscriber = replace(one.subscriber, interest=interest)  # type: ignore[arg-type]
    return one


class Live(test_broadcast.Parts):
    """The parts between a feed and its subscribers; events have one of three subjects."""

    def deliver(self, *offsets: int) -> None:
        for batch in self.encoder.batches([record("a", offset, value=value(offset)) for offset in offsets]):
            self.broadcast.deliver(batch)

    def begin(self, transport: FakeTransport, cursor: str | None = None) -> Connection:
        one = conflated(transport)
        one._on_detach = self.broadcast.remove
        self.hub.add(one)
        self.broadcast.start(one, cursor)
        return one


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    parts = Live()
    async with parts.catch_up:
        yield parts


@pytest.fixture
async def bus() -> FlakyBus:
    bus = FlakyBus()
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=1)])
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", value(number)) for number in range(ON_THE_BUS)])
    return bus


class TestLive:
    async def test_the_first_event_comes_at_once_and_then_the_latest_of_each_time(self, live: Live) -> None:
        transport = FakeTransport()
        live.begin(transport)
        await turns()
        live.deliver(0, 1, 3)
        await turns()
        assert texts(transport) == ["trelay.connected", "0/1", "0/3"]
        live.deliver(4)
        live.deliver(5, 6, 7)
        await turns()
        live.clock.pass_time(0.49)
        await turns()
        assert texts(transport)[3:] == []
        live.clock.pass_time(0.02)
        await turns()
        assert texts(transport)[3:] == ["0/5", "0/6", "0/7"]
        live.clock.pass_time(10)
        await turns()
        live.deliver(8)
        await turns()
        assert texts(transport)[6:] == ["0/8"]
        assert live.catch_up.counts.conflated == 2

    async def test_the_hub_does_not_know_of_it(self, live: Live) -> None:
        one = live.begin(FakeTransport())
        await turns()
        assert live.hub.live() == []
        assert (live.catch_up.conflated, live.catch_up.active) == (1, 0)
        position = live.broadcast.position(one)
        assert (position.lag, position.live) == (0, True)
        live.deliver(0)
        assert live.broadcast.position(one).lag == 1

    async def test_a_cursor_names_what_was_written(self, live: Live) -> None:
        transport = FakeTransport()
        live.deliver(0, 1, 2, 3)
        live.begin(transport, test_broadcast.cursor(1))
        found = events(transport.sent)[1:]
        assert [(each["id"], each["cursor"]) for each in found] == [
            (f"0/{offset}", test_broadcast.cursor(offset + 1)) for offset in (1, 2, 3)
        ]

    async def test_a_slow_reader_gets_the_latest_and_no_longer_queue(self, live: Live) -> None:
        transport = FakeTransport()
        one = live.begin(transport)
        await turns()
        live.deliver(0)
        await turns()
        one.pause_writing()
        for offset in range(1, 1000):
            live.deliver(offset)
            live.clock.pass_time(1)
            await turns(1)
        await turns()
        assert len(texts(transport)) <= 6, "at most the round that was taken when it paused"
        one.resume_writing()
        await turns()
        assert texts(transport)[-3:] == ["0/997", "0/998", "0/999"]
        assert len(texts(transport)) <= 9

    async def test_connections_take_the_same_round_once(self, live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
        transports = [FakeTransport() for _ in range(5)]
        for transport in transports:
            live.begin(transport)
        await turns()
        live.deliver(0)
        await turns()
        takes: list[int] = []
        take = Replay.take

        def counted(replay: Replay, budget: int) -> tuple[list[bytes], Progress]:
            takes.append(budget)
            return take(replay, budget)

        monkeypatch.setattr(Replay, "take", counted)
        live.deliver(1, 2, 4, 5)
        live.clock.pass_time(1)
        await turns()
        assert [texts(transport) for transport in transports] == [["trelay.connected", "0/0", "0/4", "0/5"]] * 5
        assert len(takes) == 1
        assert live.catch_up.counts.conflated == 10
        live.deliver(6)
        live.clock.pass_time(1)
        await turns()
        assert all(texts(transport)[-1] == "0/6" for transport in transports)
        assert len(takes) == 2

    async def test_it_is_served_once_the_latest_events_are_written(self, live: Live) -> None:
        rounds: list[Connection] = []
        live.catch_up._on_round = rounds.append
        one = live.begin(FakeTransport())
        await turns()
        assert live.broadcast.is_live(one), "there is nothing that it has not received"
        live.deliver(0)
        assert not live.broadcast.is_live(one)
        await turns()
        assert live.broadcast.is_live(one)
        assert rounds == [one]
        live.deliver(1)
        live.clock.pass_time(1)
        one.pause_writing()
        await turns()
        assert not live.broadcast.is_live(one), "it was taken for it, and waits until it reads on"
        one.resume_writing()
        await turns()
        assert live.broadcast.is_live(one)

    @pytest.mark.parametrize("reason", [LOG_CUT])
    async def test_it_goes_on_after_a_gap(self, live: Live, reason: str) -> None:
        transport = FakeTransport()
        live.begin(transport)
        await turns()
        live.history.restart(test_broadcast.CODEC, (50,))
        live.broadcast.on_gap(reason, "cut")
        live.encoder = type(live.encoder)(test_broadcast.CODEC, (50,))
        live.deliver(50, 51)
        await turns()
        assert texts(transport) == ["trelay.connected", reason, "0/50", "0/51"]


class TestChanges:
    async def test_a_connection_that_rests_changes_at_once(self, live: Live) -> None:
        transport = FakeTransport()
        one = live.begin(transport)
        await turns()
        live.deliver(0)
        await turns()
        live.deliver(1, 3)
        made = live.broadcast.subscribe(one, interest_in(["b"], conflate=0.5), "requested")
        assert made.result() == test_broadcast.CODEC.encode((1,)), "after what was written"
        again = live.broadcast.subscribe(one, HALF, "requested")
        assert again.done(), "also before its new task has begun"
        live.clock.pass_time(1)
        await turns()
        assert texts(transport) == [
            "trelay.connected", "0/0", "trelay.subscribed", "trelay.subscribed", "0/1", "0/3"
        ]  # fmt: skip

    async def test_conflation_ends_and_begins(self, live: Live) -> None:
        transport = FakeTransport()
        one = live.begin(transport)
        await turns()
        live.deliver(0)
        await turns()
        live.deliver(1, 4)
        _ = live.broadcast.subscribe(one, interest_in(["**"]), "requested")
        await turns()
        assert live.hub.live() == [one]
        live.deliver(2, 5)
        assert texts(transport)[2:] == ["trelay.subscribed", "0/1", "0/4", "0/2", "0/5"]
        _ = live.broadcast.subscribe(one, HALF, "requested")
        assert live.hub.live() == []
        live.deliver(6, 9, 12)
        await turns()
        assert texts(transport)[7:] == ["trelay.subscribed", "0/12"]


class TestFromTheLog:
    @pytest.fixture
    async def parts(self, bus: FlakyBus) -> AsyncIterator[Parts]:
        parts = Parts(bus, CursorCodec(await bus.epoch(TOPIC), 1))
        async with parts.catch_up:
            yield parts

    async def test_only_the_latest_of_the_log_and_of_memory(self, parts: Parts) -> None:
        parts.read_to(33, [value(number) for number in (30, 31, 32)])
        transport = FakeTransport()
        parts.catch_up.start(conflated(transport), (5,))
        await parts.until_live()
        await turns()
        # Those of memory up to 29 have no subject.
        assert texts(transport) == [*(f"0/{number}" for number in range(20, 30)), "0/30", "0/31", "0/32"]
        assert parts.joined == []

    async def test_removed_events_are_a_gap(self, parts: Parts, bus: FlakyBus) -> None:
        bus.delete_records(TOPIC, 0, 15)
        transport = FakeTransport()
        parts.catch_up.start(conflated(transport), (5,))
        await parts.until_live()
        assert texts(transport)[:4] == ["not-kept", "0/17", "0/18", "0/19"]
        assert parts.catch_up.counts.deliveries == 13  # a gap is not an event

    async def test_while_the_bus_is_away_a_round_waits(self, parts: Parts, bus: FlakyBus) -> None:
        bus.unreadable = 3
        transport = FakeTransport()
        parts.catch_up.start(conflated(transport), (5,))
        await parts.until_live()
        assert texts(transport)[:3] == ["0/17", "0/18", "0/19"]
        assert parts.pauses == 3

    async def test_a_round_that_is_full_is_written_before_the_next(self, bus: FlakyBus) -> None:
        parts = Parts(bus, CursorCodec(await bus.epoch(TOPIC), 1), round_bytes=1)
        async with parts.catch_up:
            parts.read_to(60, [value(number, subjects=1000, fill=100) for number in range(30, 60)])
            transport = FakeTransport()
            parts.catch_up.start(conflated(transport), (ON_THE_BUS,))
            await turns()
            assert texts(transport) == [f"0/{number}" for number in range(20, 60)]

    async def test_a_connection_that_is_far_back_gets_on(self, parts: Parts, bus: FlakyBus) -> None:
        bus.unreadable = 10**9
        transport = FakeTransport()
        one = conflated(transport)
        parts.catch_up.start(one, (5,))
        await turns()
        bus.unreadable = 0
        for _ in range(40):
            parts.clock.pass_time(11)
            await turns(1)
        await parts.until_live()
        assert texts(transport)[-1] == "0/29"
        assert one.ending is None
