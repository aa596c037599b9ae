"""The stream of one replica on real sockets, without registration, and subscribers that check what they receive."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import websockets
from aiohttp import web
from websockets.asyncio.client import ClientConnection

from services.experience_api.hub.audience import Subscriber, narrow
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.hub.connection import Connection
from services.experience_api.refusals import Refused
from services.experience_api.stream.callbacks import Callbacks, Served
from services.experience_api.stream.control_events import Receipt
from services.experience_api.stream.delivery import Delivery
from services.experience_api.stream.options import DeliveryOptions
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Bus, Outgoing, TopicOptions, Transaction
from shared.events.headers import Provenance
from tests.unit.services.experience_api.events import events

TIMEOUT = 60.0
Event = dict[str, Any]
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass
class Stream:
    """One replica, and what it reported."""

    delivery: Delivery
    port: int = 0
    secure: bool = False
    ids: list[UUID] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    endings: list[CloseReason] = field(default_factory=list)
    refused: list[Subscriber] = field(default_factory=list)
    inbound: list[bytes] = field(default_factory=list)
    delays: list[tuple[str, float]] = field(default_factory=list)

    def url(self, query: str = "") -> str:
        return f"{'wss' if self.secure else 'ws'}://127.0.0.1:{self.port}/?{query}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Admit every request: `send` permits sending, `client` is the client; others are those of the real route."""
        self.ids.append(uuid4())
        interest = narrow(["**"], request.query.get("channels"))
        client_id = request.query.get("client", f"client-{len(self.ids)}")
        who = Subscriber(self.ids[-1], client_id, interest, "send" in request.query)
        try:
            served: Served = await self.delivery.serve(
                request, who, request.query.get("cursor"), ("events",), on_open=self.connections.append
            )
        except Refused as exc:
            return web.Response(status=exc.refusal.status, text=exc.refusal.code)
        self.endings.append(served.reason)
        return served.response

    def open_ids(self) -> list[UUID]:
        """Return the ids of the connections that have not ended."""
        return [found.subscriber.connection_id for found in self.connections if found.ending is None]

    async def ended(self, count: int = 1) -> list[CloseReason]:
        """Wait until so many connections have ended; return why."""
        await eventually(lambda: len(self.endings) >= count)
        return self.endings


TOPIC = "trelay.publish"


async def memory_bus() -> MemoryBus:
    """Return a bus with the publish topic."""
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=4)])
    return bus


@asynccontextmanager
async def streaming(
    bus: Bus,
    topic: str,
    options: dict[str, Any] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    ready: bool = True,
) -> AsyncIterator[Stream]:
    """Run a replica."""

    async def on_inbound(_subscriber: Subscriber, message: bytes) -> Receipt:
        stream.inbound.append(message)
        return Receipt(f"id-{len(stream.inbound)}")

    refused: list[Subscriber] = []
    callbacks = Callbacks(
        on_refused=refused.append,
        on_inbound=on_inbound,
        on_delay=lambda source, seconds: stream.delays.append((source, seconds)),
    )
    settings = DeliveryOptions.model_validate({"drain": {"spread": 0}, "close_timeout": 1, **(options or {})})
    stream = Stream(Delivery(bus, topic, settings, callbacks=callbacks), secure=tls is not None, refused=refused)
    app = web.Application()
    app.router.add_get("/", stream.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    async with stream.delivery:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls, backlog=1024)
        await site.start()
        stream.port = runner.addresses[0][1]
        try:
            if ready:
                await eventually(lambda: stream.delivery.problem is None)
            yield stream
        finally:
            await runner.cleanup()


async def eventually(condition: Any) -> None:
    """Poll until a condition holds."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.005)


def event(channel: str, number: int, size: int = 0) -> Outgoing:
    """Return the event of a channel with this number."""
    head = {
        "specversion": "1.0",
        "id": f"{channel}:{number}",
        "source": "/sources/test",
        "type": "t",
        "channel": channel,
    }
    value = json.dumps({**head, "data": {"n": number, "fill": "x" * size}}).encode()
    return Outgoing(channel.encode(), value, Provenance("test", 0, f"{channel}:{number}").headers())


async def publish(bus: Bus, topic: str, channel: str, numbers: Iterable[int], size: int = 0) -> None:
    """Commit these events of a channel in one transaction."""
    transaction = Transaction()
    for number in numbers:
        transaction.append(topic, *event(channel, number, size))
    async with bus.writer("publisher") as writer:
        await writer.commit(transaction)
    async with bus.writer("publisher"):
        pass  # visible from here on


async def raw_socket(stream: Stream, *, window: int | None = None, query: str = "") -> socket.socket:
    """Return an upgraded socket that sends and reads only what the test does."""
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    if window is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    peer.setblocking(False)
    await loop.sock_connect(peer, ("127.0.0.1", stream.port))
    before = stream.delivery.counts.connections
    await loop.sock_sendall(peer, UPGRADE.replace(b"GET /", b"GET /?" + query.encode(), 1))
    await eventually(lambda: stream.delivery.counts.connections > before)
    return peer


class RawPeer(asyncio.Protocol):
    """A cheap peer: stores the bytes, and decodes them on request."""

    def __init__(self) -> None:
        self.received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's class does not derive from it
        self.transport.write(UPGRADE)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def ids(self) -> list[str]:
        """Return the ids of all events, including the first frame."""
        _, _, frames = self.received.partition(b"\r\n\r\n")
        return [found["id"] for found in events(frames)]


class Reader:
    """The client's end of a connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.cursor = ""

    async def next(self) -> Event:
        """Return the next event of any type."""
        async with asyncio.timeout(TIMEOUT):
            found: Event = json.loads(await self.socket.recv())
        self.cursor = found.get("cursor", self.cursor)
        return found

    async def ids(self, count: int) -> list[str]:
        """Return the ids of the next events."""
        return [(await self.next())["id"] for _ in range(count)]

    async def closed(self) -> tuple[int, str]:
        """Read to the end; return the code and the reason of the Close frame."""
        try:
            async with asyncio.timeout(TIMEOUT):
                while True:
                    await self.socket.recv()
        except websockets.ConnectionClosed as exc:
            return (exc.rcvd.code, exc.rcvd.reason) if exc.rcvd else (1006, "")


@asynccontextmanager
async def subscribed(
    stream: Stream, query: str = "", *, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[Reader]:
    """Connect, and consume the first frame."""
    async with websockets.connect(stream.url(query), ssl=tls, max_size=None, **options) as socket:
        reader = Reader(socket)
        first = await reader.next()
        assert first["type"] == "trelay.connected", first
        yield reader
        socket.transport.abort()  # closing would wait until everything is read


def numbered(channel: str, numbers: Iterable[int]) -> list[str]:
    """Return the ids of these events."""
    return [f"{channel}:{number}" for number in numbers]
