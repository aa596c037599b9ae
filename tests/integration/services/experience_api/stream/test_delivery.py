"""The stream over real sockets, with the bus in memory: from the first frame to the Close frame."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
import trustme
import uvloop
import websockets

from services.experience_api.hub.close_codes import DRAINING, LOST, TOO_SLOW
from shared.bus.memory import MemoryBus
from tests.integration.services.experience_api.streams import (
    TOPIC,
    RawPeer,
    Reader,
    Stream,
    eventually,
    memory_bus,
    numbered,
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


class TestFirstFrame:
    async def test_has_the_connection_channels_and_cursor(self, stream: Stream) -> None:
        async with websockets.connect(stream.url("channels=orders.eu,orders.us")) as connection:
            first = json.loads(await connection.recv())
        assert first["type"] == "trelay.connected"
        assert first["source"] == "/trelay"
        assert first["specversion"] == "1.0"
        assert first["cursor"]
        assert first["data"] == {
            "connection": str(stream.ids[0]),
            "channels": ["orders.eu", "orders.us"],
            "heartbeat": 25.0,
            "largest_frame": 1_048_576,
        }

    async def test_aiohttp_can_read_it(self, bus: MemoryBus, stream: Stream) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(stream.url(), protocols=["events"]) as peer:
            assert peer.protocol == "events"
            assert (await peer.receive_json())["type"] == "trelay.connected"
            await publish(bus, TOPIC, "orders", range(3))
            assert [(await peer.receive_json())["id"] for _ in range(3)] == numbered("orders", range(3))

    async def test_is_refused_while_the_topic_has_not_been_read(self, bus: MemoryBus) -> None:
        async with streaming(bus, "missing", ready=False) as stream:
            assert stream.delivery.problem
            with pytest.raises(websockets.InvalidStatus, match="503"):
                await websockets.connect(stream.url())

    async def test_requires_a_websocket(self, stream: Stream) -> None:
        async with aiohttp.ClientSession() as session, session.get(stream.url().replace("ws", "http", 1)) as response:
            assert response.status == 400
        assert stream.delivery.counts.connections == 0


async def test_each_subscriber_receives_its_channels_in_order_and_nothing_else(bus: MemoryBus, stream: Stream) -> None:
    async with subscribed(stream) as every, subscribed(stream, "channels=a.*") as some:
        await publish(bus, TOPIC, "b", range(5))
        await publish(bus, TOPIC, "a.x", range(5))
        await publish(bus, TOPIC, "b", range(5, 10))
        await publish(bus, TOPIC, "a.x", range(5, 10))
        assert await some.ids(10) == numbered("a.x", range(10))
        assert sorted(await every.ids(20)) == sorted(numbered("a.x", range(10)) + numbered("b", range(10)))
    counts = stream.delivery.counts
    assert (counts.hub.events, counts.hub.deliveries) == (20, 30)


async def test_the_delay_of_events_is_reported_by_source(bus: MemoryBus, stream: Stream) -> None:
    await publish(bus, TOPIC, "a", range(3))
    await eventually(lambda: stream.delays)
    [(source, seconds)] = stream.delays
    assert source == "test"
    assert seconds > 10**9  # the test's events were read in 1970


async def test_a_thousand_connections(bus: MemoryBus, stream: Stream) -> None:
    loop = asyncio.get_running_loop()
    peers = [(await loop.create_connection(RawPeer, "127.0.0.1", stream.port))[1] for _ in range(1000)]
    await eventually(lambda: stream.delivery.counts.connections == 1000)
    for start in range(0, 100, 20):
        await publish(bus, TOPIC, "a", range(start, start + 20), size=200)
    expected = numbered("a", range(100))
    await eventually(lambda: all(peer.received.endswith(peers[0].received[-100:]) for peer in peers))
    assert all(peer.ids()[1:] == expected for peer in peers)
    for peer in peers:
        peer.transport.abort()
    assert set(await stream.ended(1000)) == {LOST}


async def test_tls(bus: MemoryBus) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with streaming(bus, TOPIC, tls=server) as stream:
        async with subscribed(stream, tls=client) as peer:
            await publish(bus, TOPIC, "a", range(50), size=20_000)
            assert await peer.ids(50) == numbered("a", range(50))
            cursor = peer.cursor
        await publish(bus, TOPIC, "a", range(50, 60))
        async with subscribed(stream, f"cursor={cursor}", tls=client) as peer:
            assert await peer.ids(10) == numbered("a", range(50, 60))


class TestSlowSubscribers:
    async def test_a_blocked_socket_affects_no_other(self, bus: MemoryBus) -> None:
        async def publish_all() -> None:
            for start in range(0, 1000, 100):
                await publish(bus, TOPIC, "a", range(start, start + 100), size=10_000)

        options = {"hub": {"outbox_bytes": 262_144}, "catch_up": {"drain_timeout": 3}}
        async with streaming(bus, TOPIC, options) as stream, subscribed(stream) as first:
            blocked = await raw_socket(stream, window=4096)
            async with subscribed(stream) as last:
                with blocked:
                    ids, others, _ = await asyncio.gather(first.ids(1000), last.ids(1000), publish_all())
                    assert ids == others == numbered("a", range(1000))
                    assert await stream.ended() == [TOO_SLOW]
        assert stream.delivery.counts.hub.lagging >= 1

    async def test_a_slow_reader_receives_everything(self, bus: MemoryBus) -> None:
        options = {"hub": {"outbox_bytes": 262_144}, "history": {"limit_bytes": 2_000_000}}
        async with streaming(bus, TOPIC, options) as stream:
            async with subscribed(stream, max_queue=1) as slow:
                slow.socket.transport.pause_reading()
                for start in range(0, 2000, 100):
                    await publish(bus, TOPIC, "a", range(start, start + 100), size=10_000)
                await eventually(lambda: stream.delivery.counts.hub.events == 2000)
                assert stream.delivery.counts.catching_up == 1
                slow.socket.transport.resume_reading()
                assert await slow.ids(2000) == numbered("a", range(2000))
                await eventually(lambda: not stream.delivery.counts.catching_up)
                await publish(bus, TOPIC, "a", range(2000, 2010))
                assert await slow.ids(10) == numbered("a", range(2000, 2010))
            counts = stream.delivery.counts
            assert counts.hub.lagging >= 1
            assert counts.catch_up.log_reads >= 1  # memory did not reach back far enough
            assert counts.catch_up.gaps == 0


async def test_a_client_that_cannot_take_an_event_is_told_how_to_skip_it_after_the_second_time(
    bus: MemoryBus, stream: Stream
) -> None:
    """Its library accepts 1 MiB, as several do; the event is older than the limit of the entrances."""
    async with subscribed(stream) as peer:
        begin = peer.cursor
    await publish(bus, TOPIC, "a", range(1))
    await publish(bus, TOPIC, "a", range(1, 2), size=1_200_000)
    await publish(bus, TOPIC, "a", range(2, 3))
    await eventually(lambda: stream.delivery.counts.hub.events == 3)
    seen = []
    for _ in range(3):
        async with websockets.connect(stream.url(f"client=demo&cursor={begin}"), max_size=2**20) as socket:
            seen.append([json.loads(frame) async for frame in all_of(socket)])
        await stream.ended(len(seen) + 1)
    assert [[event["type"] for event in events] for events in seen] == [
        ["trelay.connected", "t"],
        ["trelay.connected", "t"],
        ["trelay.connected", "t", "trelay.oversized"],
    ]
    notice = seen[-1][-1]["data"]
    assert (notice["source"], notice["id"]) == ("/sources/test", "a:1")
    assert 1_200_000 < notice["bytes"] < 1_201_000
    async with subscribed(stream, f"client=demo&cursor={notice['skip']}") as peer:
        assert await peer.ids(1) == ["a:2"]


async def all_of(socket: websockets.ClientConnection) -> AsyncIterator[str | bytes]:
    """Yield every frame up to the end, however that comes."""
    with suppress(websockets.ConnectionClosed):
        while True:
            yield await socket.recv()


class TestDrain:
    async def test_every_connection_is_closed_and_new_ones_are_refused(self, bus: MemoryBus, stream: Stream) -> None:
        async with subscribed(stream) as first, subscribed(stream) as second:
            draining = asyncio.create_task(stream.delivery.drain(10))
            for peer in (first, second):
                warning = await peer.next()
                assert warning["type"] == "trelay.draining"
                assert warning["data"] == {"wait": 0.0}
                assert await peer.closed() == (4000, "draining; wait=0.0")
            await draining
        assert await stream.ended(2) == [DRAINING, DRAINING]
        with pytest.raises(websockets.InvalidStatus, match="503"):
            await websockets.connect(stream.url())

    @pytest.mark.parametrize(
        ("options", "longest"),
        [
            ({"spread": 100.0, "reconnects_per_second": 0.1}, 100.0),
            ({"spread": 100.0, "reconnects_per_second": 2}, 10.0),
        ],
        ids=["over the longest time", "at the rate"],
    )
    async def test_waits_are_spread(self, bus: MemoryBus, options: dict[str, float], longest: float) -> None:
        async with streaming(bus, TOPIC, {"drain": options}) as stream:
            peers = [Reader(await websockets.connect(stream.url())) for _ in range(20)]
            await eventually(lambda: stream.delivery.counts.connections == 20)
            await stream.delivery.drain(10)
            waits = {float((await peer.closed())[1].partition("wait=")[2]) for peer in peers}
        assert len(waits) > 10
        assert all(0.0 <= wait <= longest for wait in waits)
        assert max(waits) - min(waits) > longest / 4

    async def test_it_returns_in_time(self, stream: Stream) -> None:
        peer = await raw_socket(stream)
        with peer:
            loop = asyncio.get_running_loop()
            began = loop.time()
            await stream.delivery.drain(0.1)
            assert loop.time() - began < 0.9  # the peer has a second to answer

    async def test_without_connections(self, stream: Stream) -> None:
        await asyncio.wait_for(stream.delivery.drain(20), 60)
