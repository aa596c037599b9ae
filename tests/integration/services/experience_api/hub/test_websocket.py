"""Messages of peers, and the ends of connections, over real sockets."""

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
    REMOVED,
    TOO_BIG,
    TOO_MANY_PINGS,
)
from shared.bus.memory import MemoryBus
from tests.integration.services.experience_api.streams import (
    TIMEOUT,
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


class TestMessages:
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
            assert [subscriber.client_id for subscriber in stream.refused] == ["client-2"]
            assert stream.open_ids() == stream.ids[:1]
            await publish(bus, TOPIC, "a", range(1))
            assert await other.ids(1) == ["a:0"]

    async def test_messages_of_a_client_that_may_send_are_passed_on(self, stream: Stream) -> None:
        async with subscribed(stream, "send") as peer:
            await peer.socket.send("text é")
            await peer.socket.send(b"\x00\xff")
            await peer.socket.send(["in ", "pieces"])
            await eventually(lambda: len(stream.inbound) == 3)
        assert stream.inbound == ["text é".encode(), b"\x00\xff", b"in pieces"]

    async def test_a_message_above_the_limit_ends_the_connection(self, stream: Stream) -> None:
        async with subscribed(stream, "send") as peer:
            await peer.socket.send("x" * (256 * 1024 + 1))
            assert await peer.closed() == (1009, TOO_BIG.name)
        assert await stream.ended() == [TOO_BIG]
        assert not stream.inbound
        assert not stream.refused

    async def test_an_unexpected_error_ends_only_that_connection(
        self, bus: MemoryBus, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with streaming(bus, TOPIC) as stream, subscribed(stream, "send") as peer, subscribed(stream) as other:
            stream.inbound = None  # type: ignore[assignment]
            await peer.socket.send("x")
            assert await peer.closed() == (4003, "internal error; wait=5.0")
            assert await stream.ended() == [INTERNAL]
            await publish(bus, TOPIC, "a", range(1))
            assert await other.ids(1) == ["a:0"]
        assert [vars(entry)["connection_id"] for entry in caplog.records if entry.exc_info] == [str(stream.ids[0])]

    async def test_pings_are_answered(self, stream: Stream) -> None:
        async with subscribed(stream) as peer:
            waiting = await peer.socket.ping("hello")
            await asyncio.wait_for(waiting, 60)

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
    async def test_a_flood_of_empty_frames_ends_the_connection_and_affects_no_other(
        self, bus: MemoryBus, stream: Stream, query: str, frame: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A megabyte of them would take a quarter of a million iterations of the loop."""
        async with subscribed(stream) as other:
            peer = await raw_socket(stream, query=query)
            with peer:
                await asyncio.get_running_loop().sock_sendall(peer, frame * 600)
                assert await stream.ended() == [TOO_MANY_PINGS]
                assert [vars(entry)["client_id"] for entry in caplog.records] == ["client-2"]
            await publish(bus, TOPIC, "a", range(1))
            assert await other.ids(1) == ["a:0"]

    async def test_a_reasonable_number_of_pings_is_answered(self, stream: Stream) -> None:
        async with subscribed(stream) as peer:
            for _ in range(100):
                await asyncio.wait_for(await peer.socket.ping(), TIMEOUT)

    async def test_invalid_utf_8_ends_the_connection(self, stream: Stream) -> None:
        async with subscribed(stream, "send") as peer:
            await peer.socket.send(b"\xff", text=True)
            assert await peer.closed() == (1007, "invalid UTF-8")


class TestEndings:
    async def test_a_peer_that_closes(self, stream: Stream) -> None:
        async with subscribed(stream) as peer:
            await peer.socket.close(1001, "bye")
            assert peer.socket.close_code == 1000  # the server's
        assert await stream.ended() == [LEFT]

    async def test_a_peer_that_disconnects(self, stream: Stream) -> None:
        async with subscribed(stream) as peer:
            peer.socket.transport.abort()
            assert await stream.ended() == [LOST]
        assert stream.delivery.counts.connections == 0

    async def test_the_close_frame_has_the_reason(self, stream: Stream) -> None:
        async with subscribed(stream) as peer, subscribed(stream):
            stream.connections[0].end(REMOVED)
            stream.connections[0].end(INTERNAL)
            assert await peer.closed() == (4503, "consumer removed")
        assert stream.endings[0] is REMOVED

    async def test_a_peer_that_answers_no_close_frame_is_dropped(self, stream: Stream) -> None:
        peer = await raw_socket(stream)
        with peer:
            stream.connections[0].end(REMOVED)
            assert await stream.ended() == [REMOVED]

    async def test_a_peer_that_closes_without_reading_frees_its_buffer(self, bus: MemoryBus, stream: Stream) -> None:
        """Otherwise each such connection would keep its descriptor and buffer for any time."""
        peer = await raw_socket(stream, window=4096)
        with peer:
            await publish(bus, TOPIC, "a", range(200), size=50_000)
            await eventually(lambda: stream.delivery.counts.hub.lagging == 1)
            peer.send(b"\x88\x80\0\0\0\0")
            assert await stream.ended() == [LEFT]
            received = 0
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(TIMEOUT):
                with suppress(ConnectionResetError):
                    while found := await loop.sock_recv(peer, 1_000_000):
                        received += len(found)
            assert received < stream.delivery.counts.hub.deliveries * 50_000

    async def test_a_peer_that_answers_pings_responds(self, stream: Stream) -> None:
        peer = await raw_socket(stream)
        with peer:
            async with subscribed(stream):
                assert not await stream.connections[0].responds(0.1)
                assert await stream.connections[1].responds(10)
        await stream.ended(2)
        assert not await stream.connections[1].responds(10)

    async def test_silent_peers_are_closed(self, bus: MemoryBus) -> None:
        options = {"hub": {"heartbeat": {"seconds": 0.4}}}
        async with streaming(bus, TOPIC, options) as stream, subscribed(stream):
            peer = await raw_socket(stream)
            with peer:
                assert await stream.ended() == [NO_PONG]
                assert stream.open_ids() == stream.ids[:1]
