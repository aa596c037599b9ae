"""Compressed events over real sockets, with the clients that subscribers use, and with hostile ones."""

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from services.experience_api.hub.close_codes import PROTOCOL_ERROR, TOO_BIG
from shared.bus.memory import MemoryBus
from tests.integration.services.experience_api.streams import (
    TIMEOUT,
    TOPIC,
    UPGRADE,
    Stream,
    eventually,
    memory_bus,
    numbered,
    publish,
    streaming,
    subscribed,
)
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.wire.masked import masked

OPTIONS = {"compression": {"enabled": True}}
OFFER = "permessage-deflate; client_max_window_bits"


@pytest.fixture
async def bus() -> MemoryBus:
    return await memory_bus()


@pytest.fixture
async def stream(bus: MemoryBus) -> AsyncIterator[Stream]:
    async with streaming(bus, TOPIC, OPTIONS) as stream:
        yield stream


Ids = Callable[[int], Any]
"""Reads so many events; returns their ids."""


@asynccontextmanager
async def by_websockets(stream: Stream, query: str = "", window: int | None = None) -> AsyncIterator[Ids]:
    """Subscribe with the library `websockets`, as it is by default, or with a window of its own."""
    options: dict[str, Any] = (
        {} if window is None else {"extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=window)]}
    )
    async with subscribed(stream, query, compression="deflate" if window is None else None, **options) as reader:
        yield reader.ids


@asynccontextmanager
async def by_aiohttp(stream: Stream, query: str = "") -> AsyncIterator[Ids]:
    """Subscribe with aiohttp's client, which offers compression on request."""
    async with aiohttp.ClientSession() as session, session.ws_connect(stream.url(query), compress=15) as peer:
        assert (await peer.receive_json())["type"] == "trelay.connected"
        assert peer.compress == 15

        async def ids(count: int) -> list[str]:
            return [(await peer.receive_json(timeout=TIMEOUT))["id"] for _ in range(count)]

        yield ids


SUBSCRIBERS: dict[str, Callable[[Stream], AbstractAsyncContextManager[Ids]]] = {
    "websockets": by_websockets,
    "websockets with a small window": lambda stream: by_websockets(stream, window=9),
    "aiohttp": by_aiohttp,
}


@pytest.mark.parametrize("subscriber", SUBSCRIBERS.values(), ids=SUBSCRIBERS)
async def test_clients_read_small_medium_and_large_events(
    bus: MemoryBus, stream: Stream, subscriber: Callable[[Stream], AbstractAsyncContextManager[Ids]]
) -> None:
    async with subscriber(stream) as ids:
        for number, size in enumerate([0, 500, 20_000, 300_000, 500]):
            await publish(bus, TOPIC, "orders", [number], size)
        assert await ids(5) == numbered("orders", range(5))
    counts = stream.delivery.counts.compression
    assert counts.frames == 4, "the smallest event is sent plain"
    assert counts.bytes_after < counts.bytes_before / 10


async def test_each_event_is_compressed_once_for_all(bus: MemoryBus, stream: Stream) -> None:
    async with subscribed(stream) as one, subscribed(stream) as other, subscribed(stream, compression=None) as plain:
        assert stream.delivery.counts.compressed_connections == 2
        await publish(bus, TOPIC, "orders", range(10), 500)
        await publish(bus, TOPIC, "orders", [10], 300_000)
        for reader in (one, other, plain):
            assert await reader.ids(11) == numbered("orders", range(11))
        # Those that resume share what is kept.
        async with subscribed(stream, f"cursor={one.cursor}") as late:
            await publish(bus, TOPIC, "orders", [11], 500)
            assert await late.ids(1) == numbered("orders", [11])
    assert stream.delivery.counts.compression.frames == 12


async def test_events_from_the_log_are_compressed_as_well(bus: MemoryBus) -> None:
    options = {**OPTIONS, "history": {"limit_bytes": 1024}}
    async with streaming(bus, TOPIC, options) as stream:
        async with subscribed(stream) as reader:
            await publish(bus, TOPIC, "orders", [0])
            assert await reader.ids(1) == numbered("orders", [0])
            cursor = reader.cursor
        await publish(bus, TOPIC, "orders", range(1, 200), 2000)
        await publish(bus, TOPIC, "orders", [200], 300_000)
        await eventually(lambda: stream.delivery.counts.hub.events == 201)
        async with subscribed(stream, f"cursor={cursor}") as late:
            assert await late.ids(200) == numbered("orders", range(1, 201))
        assert stream.delivery.counts.catch_up.log_reads > 0
        assert stream.delivery.counts.compression.frames >= 200


async def test_compression_is_off_by_default(bus: MemoryBus) -> None:
    async with streaming(bus, TOPIC) as stream, subscribed(stream) as reader:
        assert reader.socket.protocol.extensions == []
        await publish(bus, TOPIC, "orders", range(3), 500)
        assert await reader.ids(3) == numbered("orders", range(3))


class Peer:
    """A client that sends the bytes of the test."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self.head = b""
        self.received = b""

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._peer, data)

    async def read(self, condition: Callable[[bytes], bool]) -> bytes:
        """Read until a condition holds for what has arrived after the response, or the end."""
        async with asyncio.timeout(TIMEOUT):
            while not condition(self.received):
                chunk = await asyncio.get_running_loop().sock_recv(self._peer, 100_000)
                if not chunk:
                    break
                self.received += chunk
        return self.received

    async def close_code(self) -> int:
        """Read to the end; return the code of the Close frame."""
        received = await self.read(lambda _: False)
        close = received.rindex(b"\x88")
        return int.from_bytes(received[close + 2 : close + 4], "big")


@asynccontextmanager
async def offering(stream: Stream, offer: str, query: str = "") -> AsyncIterator[Peer]:
    """Upgrade with this offer, and read the response and the first frame."""
    with socket.socket() as raw:
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", stream.port))
        peer = Peer(raw)
        header = f"Sec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
        await peer.send(UPGRADE.replace(b"GET /", b"GET /?" + query.encode(), 1).removesuffix(b"\r\n") + header)
        await peer.read(lambda data: b"trelay.connected" in data and data.endswith(b"}}"))
        peer.head, _, peer.received = peer.received.partition(b"\r\n\r\n")
        yield peer


OFFERS = {
    OFFER: b"; client_no_context_takeover\r\n",
    "permessage-deflate; server_max_window_bits=10": b"; server_max_window_bits=10\r\n",
    "permessage-deflate; x, permessage-deflate": b"; client_no_context_takeover\r\n",
    "permessage-deflate; server_max_window_bits=" + "9" * 4000: None,
    'permessage-deflate; ="': None,
    "permessage-deflate; server_max_window_bits=8": None,
}


@pytest.mark.parametrize(("offer", "answer"), OFFERS.items(), ids=map(str, range(len(OFFERS))))
async def test_any_offer_is_accepted_or_declined(
    bus: MemoryBus, stream: Stream, offer: str, answer: bytes | None
) -> None:
    async with offering(stream, offer) as peer:
        assert peer.head.startswith(b"HTTP/1.1 101 ")
        head = peer.head + b"\r\n"
        assert (answer in head) if answer else b"Extensions" not in head
        await publish(bus, TOPIC, "orders", [0], 500)
        received = await peer.read(lambda data: len(events(data)) == 2 if answer else data.endswith(b'"}}'))
        frame = received[-300:] if answer else received
        assert (b"x" * 100 not in frame) if answer else (b"x" * 100 in frame)
        assert [found["id"] for found in events(received)][1:] == numbered("orders", [0])


def compressed(message: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Return the payload of a compressed message (RFC 7692, 7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(message) + compressor.flush(flush)
    return data.removesuffix(b"\x00\x00\xff\xff") if flush == zlib.Z_SYNC_FLUSH else data + b"\x00"


class TestInbound:
    async def test_compressed_messages_arrive(self, stream: Stream) -> None:
        texts = [b"", b"one", b"two" * 1000, "€".encode(), b"last"]
        async with offering(stream, OFFER, "send") as peer:
            for number, text in enumerate(texts):
                flush = zlib.Z_FINISH if number == 2 else zlib.Z_SYNC_FLUSH
                await peer.send(masked(0xC1, compressed(text, flush)))
            data = compressed(b"in fragments" * 10)
            await peer.send(masked(0x41, data[:5]) + masked(0x89, b"!") + masked(0x80, data[5:]))
            await peer.send(masked(0x81, b"plain"))
            await eventually(lambda: stream.inbound[-1:] == [b"plain"])
        assert stream.inbound == [*texts, b"in fragments" * 10, b"plain"]

    async def test_what_grows_above_the_limit_is_closed_as_too_big(self, stream: Stream) -> None:
        bomb = compressed(b"\0" * 200_000_000)
        assert len(bomb) < 262_144
        async with offering(stream, OFFER, "send") as peer:
            await peer.send(masked(0xC2, bomb))
            assert await peer.close_code() == 1009
        assert await stream.ended() == [TOO_BIG]
        assert stream.inbound == []

    async def test_a_consumer_that_may_not_send_is_closed_as_such(self, stream: Stream) -> None:
        async with offering(stream, OFFER) as peer:
            await peer.send(masked(0xC2, compressed(b"\0" * 500_000)))
            assert await peer.close_code() == 4500
        assert len(stream.refused) == 1

    async def test_heartbeats_may_be_compressed(self, stream: Stream) -> None:
        async with offering(stream, OFFER) as peer:
            await peer.send(masked(0xC1, compressed(b'{"type":"trelay.heartbeat"}')) + masked(0x89, b"alive?"))
            assert (await peer.read(lambda data: data.endswith(b"alive?"))).endswith(b"alive?")
        assert stream.refused == []

    @pytest.mark.parametrize(
        "frame",
        [masked(0xC1, b"\xff\xff\xff"), masked(0xC9, b""), masked(0x41, b"a") + masked(0xC0, b"b")],
        ids=["invalid data", "a ping", "a continuation"],
    )
    async def test_what_violates_the_rfc_is_a_protocol_error(self, stream: Stream, frame: bytes) -> None:
        async with offering(stream, OFFER, "send") as peer:
            await peer.send(frame)
            assert await peer.close_code() == 1002
        assert await stream.ended() == [PROTOCOL_ERROR]

    async def test_a_compressed_message_without_agreement_is_a_protocol_error(self, stream: Stream) -> None:
        async with offering(stream, "x-webkit-deflate-frame", "send") as peer:
            await peer.send(masked(0xC1, compressed(b"x")))
            assert await peer.close_code() == 1002
