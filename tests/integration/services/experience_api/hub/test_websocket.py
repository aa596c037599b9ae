"""What peers send, and how connections end, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import uvloop

from services.experience_api.hub.close_codes import (
    INTERNAL,
    LEFT,
    LOST,
    MAY_NOT_SEND,
    NO_PONG,
    PROTOCOL_ERROR,
    REMOVED,
    TOO_BIG,
    TOO_MANY_PINGS,
)
from shared.bus.memory import MemoryBus
from tests.integration.services.experience_api.streams import (
    PATIENCE,
    TOPIC,
    Stream,
    eventually,
    memory_bus,
    publish,
    raw_socket,
    streaming,
    subscribed,
)

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def bus() -> MemoryBus:
    return await memory_bus()


@pytest.fixture
async def stream(bus: MemoryBus) -> AsyncIterator[Stream]:
    async with streaming(bus, TOPIC) as stream:
        yield stream


class TestWhatPeersSend:
    @pytest.mark.parametrize("message", ["hello", "", b"\x00\xff", "x" * 5000, ["in ", "pieces"]])
    async def test_a_consumer_that_sends_is_refused_and_reported(
        self, bus: MemoryBus, stream: Stream, message: str | bytes | list[str]
    ) -> None:
        async with subscribed(stream) as other, subscribed(stream) as peer:
            await peer.socket.send(message)
            refused = await peer.next()
            assert refused["type"] == "trelay.refused"
            assert refused["data"] == {"detail": "consumers may not send"}
            assert await peer.closed() == (4500, "consumers may not send")
            assert await stream.ended() == [MAY_NOT_SEND]
            assert [who.client_id for who in stream.refused] == ["client-2"]
            assert list(stream.delivery.connections) == stream.ids[:1]
            await publish(bus, TOPIC, "a", range(1))
            assert await other.ids(1) == ["a:0"]

    async def test_a_client_that_may_send_is_heard(self, stream: Stream) -> None:
        async with subscribed(stream, "send") as peer:
            await peer.socket.send("text é")
            await peer.socket.send(b"\x00\xff")
            await peer.socket.send(["in ", "pieces"])
            await eventually(lambda: len(stream.inbound) == 3)
        assert stream.inbound == ["text é".encode(), b"\x00\xff", b"in pieces"]

    async def test_it_may_not_send_more_than_the_limit(self, stream: Stream) -> None:
        async with subscribed(stream, "send") as peer:
            await peer.socket.send("x" * (256 * 1024 + 1))
            assert await peer.closed() == (1009, TOO_BIG.name)
        assert await stream.ended() == [TOO_BIG]
        assert not stream.inbound
        assert not stream.refused

    async def test_a_fault_of_ours_ends_only_that_connection(
        self, bus: MemoryBus, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with streaming(bus, TOPIC) as stream, subscribed(stream, "send") as peer, subscribed(stream) as other:
            stream.inbound = None  # type: ignore[assignment]
            await peer.socket.send("x")
            assert await peer.closed() == (4003, "internal error; wait=5.0")
            assert await stream.ended() == [INTERNAL]
            await publish(bus, TOPIC, "a", range(1))
            assert await other.ids(1) == ["a:0"]
        assert str(stream.ids[0]) in caplog.text

    async def test_pings_are_answered(self, stream: Stream) -> None:
        async with subscribed(stream) as peer:
            waiting = await peer.socket.ping("hello")
            await asyncio.wait_for(waiting, 10)

    @pytest.mark.parametrize(
        ("query", "frame"),
        [
            ("", b"\x89\x80\0\0\0\0"),
            ("", b"\x89\x81\0\0\0\0x"),
            ("", b"\x8a\x80\0\0\0\0"),
            ("send", b"\x81\x80\0\0\0\0"),
        ],
        ids=["pings", "pings with data", "pongs", "empty messages"],
    )
    async def test_who_floods_with_nothing_is_sent_away_and_the_others_go_on(
        self, bus: MemoryBus, stream: Stream, query: str, frame: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A megabyte of them would be a quarter of a million turns of our loop."""
        async with subscribed(stream) as other:
            peer = await raw_socket(stream, query=query)
            with peer:
                await asyncio.get_running_loop().sock_sendall(peer, frame * 600)
                assert await stream.ended() == [TOO_MANY_PINGS]
                assert "client-2" in caplog.text
            await publish(bus, TOPIC, "a", range(1))
            assert await other.ids(1) == ["a:0"]

    async def test_who_pings_as_often_as_anybody_needs_is_answered(self, stream: Stream) -> None:
        async with subscribed(stream) as peer:
            for _ in range(100):
                await asyncio.wait_for(await peer.socket.ping(), PATIENCE)

    @pytest.mark.parametrize(
        "frame",
        [
            b"\x81\x05hello",  # not masked
            b"\x83\x80\0\0\0\0",  # an opcode that means nothing
            b"\xc1\x81\0\0\0\0x",  # compressed, which was not agreed on
            b"\x09\x80\0\0\0\0",  # a ping in pieces
            b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126,  # a ping that is too long
            b"\x80\x80\0\0\0\0",  # a continuation of nothing
        ],
    )
    async def test_frames_against_the_standard_end_the_connection(self, stream: Stream, frame: bytes) -> None:
        peer = await raw_socket(stream)
        with peer:
            peer.send(frame)
            assert (await stream.ended())[0] in {PROTOCOL_ERROR, MAY_NOT_SEND}

    async def test_text_that_is_not_utf_8(self, stream: Stream) -> None:
        async with subscribed(stream, "send") as peer:
            await peer.socket.send(b"\xff", text=True)
            assert await peer.closed() == (1007, "text that is not UTF-8")


class TestEndings:
    async def test_a_peer_that_leaves(self, stream: Stream) -> None:
        async with subscribed(stream) as peer:
            await peer.socket.close(1001, "bye")
            assert peer.socket.close_code == 1000  # what came back
        assert await stream.ended() == [LEFT]

    async def test_a_peer_that_vanishes(self, stream: Stream) -> None:
        async with subscribed(stream) as peer:
            peer.socket.transport.abort()
            assert await stream.ended() == [LOST]
        assert not stream.delivery.connections

    async def test_one_that_is_ended_is_told_why(self, stream: Stream) -> None:
        async with subscribed(stream) as peer, subscribed(stream):
            assert stream.delivery.end(stream.ids[0], REMOVED)
            assert not stream.delivery.end(stream.ids[0], REMOVED)
            assert await peer.closed() == (4503, "consumer removed")
        assert stream.endings[0] is REMOVED

    async def test_one_that_answers_no_close_frame_is_dropped(self, stream: Stream) -> None:
        peer = await raw_socket(stream)
        with peer:
            stream.delivery.end(stream.ids[0], REMOVED)
            assert await stream.ended() == [REMOVED]

    async def test_one_that_leaves_without_reading_what_waits_for_it_leaves_nothing_here(
        self, bus: MemoryBus, stream: Stream
    ) -> None:
        """Else each connection that does so would keep its descriptor, and what waits, for as long as it likes."""
        peer = await raw_socket(stream, window=4096)
        with peer:
            await publish(bus, TOPIC, "a", range(200), size=50_000)
            await eventually(lambda: stream.delivery.counts.hub.lagging == 1)
            peer.send(b"\x88\x80\0\0\0\0")
            assert await stream.ended() == [LEFT]
            received = 0
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(PATIENCE):
                with suppress(ConnectionResetError):
                    while found := await loop.sock_recv(peer, 1_000_000):
                        received += len(found)
            assert received < stream.delivery.counts.hub.deliveries * 50_000

    async def test_who_answers_a_ping(self, stream: Stream) -> None:
        peer = await raw_socket(stream)
        with peer:
            async with subscribed(stream):
                assert not await stream.delivery.answers(stream.ids[0], 0.1)
                assert await stream.delivery.answers(stream.ids[1], 10)
        await stream.ended(2)
        assert not await stream.delivery.answers(stream.ids[1], 10)

    async def test_the_silent_are_closed(self, bus: MemoryBus) -> None:
        options = {"hub": {"heartbeat": {"seconds": 0.4}}}
        async with streaming(bus, TOPIC, options) as stream, subscribed(stream):
            peer = await raw_socket(stream)
            with peer:
                assert await stream.ended() == [NO_PONG]
                assert list(stream.delivery.connections) == stream.ids[:1]
